"""A pod that has a volume and does nothing, in which programs read or write the volume: images may have none."""

from __future__ import annotations

from typing import Any

USER = 65532  # as whom the platform's own pods write
MOUNTED = "/data"


def pod(name: str, namespace: str, claim: str, image: str, node: str = "", beside: str = "") -> dict[str, Any]:
    """Its object. `image`: one with a shell and tar. `node`: where it has to run; `beside`: or beside that app."""
    affinity = {
        "podAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [
                {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": beside}}}
            ]
        }
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            **({"nodeSelector": {"kubernetes.io/hostname": node}} if node else {}),
            **({"affinity": affinity} if beside else {}),
            "tolerations": [{"operator": "Exists", "effect": "NoSchedule"}],
            "securityContext": {
                "runAsUser": USER,
                "runAsGroup": USER,
                "fsGroup": USER,
                "runAsNonRoot": True,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "volume",
                    "image": image,
                    "command": ["sleep", "86400"],
                    "volumeMounts": [{"name": "volume", "mountPath": MOUNTED}],
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
            "volumes": [{"name": "volume", "persistentVolumeClaim": {"claimName": claim}}],
        },
    }
