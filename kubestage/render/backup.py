"""How a host makes a backup of the cluster, by a run or by a timer of its own; see kubestage/backups/archive.py."""

from __future__ import annotations

import json
import shlex

from kubestage.backups.archive import CLUSTER, REGISTRY, SNAPSHOT, SUMS
from kubestage.facts.answers import filled
from kubestage.facts.etcd import etcdctl, in_etcd
from kubestage.host_file import HostFile
from kubestage.kubernetes import (
    BACKED_UP,
    BACKUP_TIME,
    BACKUP_UNIT,
    BACKUPS,
    ENCRYPTION,
    KUBEADM_CERTIFICATES,
    KUBECTL,
    OURS,
    PLATFORM_NAMESPACE,
)
from kubestage.render.volume_pod import MOUNTED, pod
from kubestage.settings import ClusterSettings
from kubestage.stacks.registry import BLOBS, CLAIM, CLEANUP, NAMES, NAMESPACE, VOLUME_POD

TIMER, _SERVICE = "kubestage-backups.timer", "kubestage-backups.service"
_FILE = f"{OURS}/backups.sh"
TIMER_FILES = (f"/etc/systemd/system/{TIMER}", f"/etc/systemd/system/{_SERVICE}", _FILE)

_INSIDE = "/var/lib/etcd/kubestage-backup.db"  # a folder that etcd's container has
FOLDERS = "[0-9]*Z"  # how backups' folders are named

_SCRIPT = r"""
set -eu
umask 077
export LC_ALL=C
making=@BACKUPS@/.making
data=$making/data out=$making/out
mkdir -p @BACKUPS@
exec 9>/run/kubestage-backup.lock
flock 9  # a timer's may be at work
rm -rf $making
mkdir -p $data/pki $data/encryption $out
end() {
    rm -rf $making @INSIDE@ @INSIDE@.part
    @RESUME@
}
trap end EXIT

sealed() {  # FILE COMMAND...: what the command prints, for the recipients alone
    file=$1
    shift
    { "$@" || touch $making/failed; } | age @RECIPIENTS@ -o $file
    ! [ -e $making/failed ]
}

@REGISTRY@
rm -f @INSIDE@ @INSIDE@.part
@SAVE@ >&2
@STATUS@ > $data/snapshot.json
mv @INSIDE@ $data/@SNAPSHOT@
@KUBECTL@ get nodes -o json > $data/nodes.json
@KUBECTL@ get persistentvolumes -o json > $data/volumes.json
@KUBECTL@ -n kube-system get configmap kubeadm-config -o jsonpath='{.data.ClusterConfiguration}' > $data/kubeadm.yaml
# What kubeadm makes once for a cluster: all other certificates and keys are made of these.
(cd @PKI@ && cp --parents ca.crt ca.key front-proxy-ca.crt front-proxy-ca.key etcd/ca.crt etcd/ca.key sa.* $data/pki)
if [ -d @ENCRYPTION@ ]; then cp @ENCRYPTION@/* $data/encryption; fi
(cd $data && find . -type f ! -name sums -exec sha256sum {} + > $making/sums && mv $making/sums .)
sealed $out/@CLUSTER@ tar -C $data -cf - .
(cd $out && sha256sum -- *.age > @SUMS@)
now=$(date -u +@TIME@)
sync -f $out
mv $out @BACKUPS@/$now
@KUBECTL@ annotate --overwrite namespace @NAMESPACE@ @BACKED_UP@=$now >&2
ls -d @BACKUPS@/@FOLDERS@ | head -n -@KEEP@ | xargs -r rm -rf
"""

# While a cleanup deletes blobs, a copy would lack some.
_REGISTRY = r"""
registry() { @KUBECTL@ -n @REGISTRY_NAMESPACE@ "$@"; }
cleanup() { registry patch cronjob @CLEANUP@ --patch "{\"spec\":{\"suspend\":$1}}" >&2; }
reader() { registry delete pod @POD@ --ignore-not-found --wait >&2; }
cleanup true
for second in $(seq 600); do
    [ -n "$(registry get pods -l app=@CLEANUP@ --field-selector status.phase=Running -o name)" ] || break
    sleep 1
done
reader
registry create -f - >&2 <<'END'
@MANIFEST@
END
registry wait --for=condition=Ready pod/@POD@ --timeout 120s >&2
images() {
    registry exec @POD@ -- sh -c '
        cd @MOUNTED@ || exit
        for folder in @NAMES@ @BLOBS@; do if [ -e $folder ]; then set -- "$@" $folder; fi; done
        [ $# -gt 0 ] || set -- .
        exec tar -cf - "$@"' sh 2>$making/said && return
    # An upload that ended meanwhile is of no image yet: tar goes on, and says so in the end.
    if ! grep -q 'error exit delayed' $making/said; then cat $making/said >&2; return 1; fi
    ! grep -vE '/_uploads/|error exit delayed|^command terminated' $making/said >&2
}
sealed $out/@FILE@ images
sha256sum < $out/@FILE@ | cut -c1-64 > $data/registry.sha256
"""


def script(settings: ClusterSettings) -> str:
    """What makes a backup into a folder of its own in BACKUPS, and leaves the last ones there (sh)."""
    registry = settings.backup_registry and "registry" in settings.stacks
    images = filled(
        _REGISTRY,
        {
            "CLEANUP": CLEANUP,
            "REGISTRY_NAMESPACE": NAMESPACE,
            "POD": VOLUME_POD,
            "MANIFEST": json.dumps(pod(VOLUME_POD, NAMESPACE, CLAIM, settings.busybox_image, beside="registry")),
            "MOUNTED": MOUNTED,
            "NAMES": NAMES,
            "BLOBS": BLOBS,
            "FILE": REGISTRY,
            "KUBECTL": KUBECTL,
        },
    )
    return filled(
        _SCRIPT,
        {
            "REGISTRY": images if registry else "",
            "RESUME": "cleanup false; reader" if registry else "",
            "RECIPIENTS": " ".join(f"-r {shlex.quote(each)}" for each in settings.backup_recipients),
            "SAVE": etcdctl(f"snapshot save {_INSIDE}"),
            "STATUS": in_etcd(f"etcdutl snapshot status {_INSIDE} --write-out json"),
            "INSIDE": _INSIDE,
            "SNAPSHOT": SNAPSHOT,
            "CLUSTER": CLUSTER,
            "SUMS": SUMS,
            "PKI": KUBEADM_CERTIFICATES,
            "ENCRYPTION": ENCRYPTION,
            "BACKUPS": BACKUPS,
            "NAMESPACE": PLATFORM_NAMESPACE,
            "BACKED_UP": BACKED_UP,
            "TIME": BACKUP_TIME,
            "FOLDERS": FOLDERS,
            "KEEP": str(settings.backup_keep),
            "KUBECTL": KUBECTL,
        },
    )


def timer(settings: ClusterSettings) -> list[HostFile]:
    """The files of TIMER_FILES. A backup that was due while the host was off is made when it is up again."""
    log = f"/var/log/{BACKUP_UNIT}.log"
    contents = (
        f"[Unit]\nDescription=Backups of the cluster\n\n[Timer]\nOnCalendar={settings.backup_schedule}\n"
        "Persistent=true\n\n[Install]\nWantedBy=timers.target\n",
        "[Unit]\nDescription=A backup of the cluster\n\n[Service]\nType=oneshot\n"
        f"ExecStart=/bin/sh {_FILE}\nStandardOutput=truncate:{log}\nStandardError=append:{log}\n",
        script(settings),
    )
    return [HostFile(path, content) for path, content in zip(TIMER_FILES, contents, strict=True)]
