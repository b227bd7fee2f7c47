"""A pod of nobody special, with a volume on one node."""

from __future__ import annotations

_MANIFEST = """\
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: @NAME@}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 1Mi}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: @NAME@}
spec:
  selector: {matchLabels: {app: @NAME@}}
  template:
    metadata: {labels: {app: @NAME@}}
    spec:
      nodeSelector: {kubernetes.io/hostname: @NODE@}
      securityContext: {runAsUser: 65532}
      containers:
        - name: @NAME@
          image: docker.io/library/busybox:1.35.0
          command: [sh, -c, 'trap exit TERM; date >/volume/note; sleep 3600 & wait']
          volumeMounts: [{name: volume, mountPath: /volume}]
      volumes:
        - name: volume
          persistentVolumeClaim: {claimName: @NAME@}
"""


def notes_on(node: str, name: str) -> str:
    """Its manifest: a Deployment of that name with its claim. It writes the file "note" into the volume."""
    return _MANIFEST.replace("@NAME@", name).replace("@NODE@", node)
