"""A backup put back: etcd's data and the keys before `kubeadm init`, which keeps what it finds; the images last.

https://etcd.io/docs/v3.6/op-guide/recovery/: the revision jumps, so that nobody who watched the cluster as it was goes
on with what is no more.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Generator
from pathlib import Path

from pyinfra import host
from pyinfra.api import FunctionCommand, OperationError

from kubestage.backups.age import sealing
from kubestage.backups.archive import CLUSTER, REGISTRY, SNAPSHOT, Archive
from kubestage.cluster.answers import ask
from kubestage.cluster.operation import operation
from kubestage.cluster.shell import call, run_on, send
from kubestage.facts.files import Missing
from kubestage.facts.kubernetes import Kubeadm
from kubestage.kubernetes import (
    KUBEADM_CERTIFICATES,
    KUBEADM_CONFIG,
    KUBECTL,
    PLATFORM_NAMESPACE,
    PULL,
    RESTORED,
    RESTORING,
)
from kubestage.operations.nodes import deleting
from kubestage.render.volume_pod import MOUNTED, pod
from kubestage.stacks.registry import CLAIM, NAMESPACE, VOLUME_POD

BUMP = 1_000_000_000  # more revisions than a cluster makes between a backup and its end
_IMAGES = f"{RESTORING}/{REGISTRY}"  # there until they are in the registry
_OPENED = "read -r identity && printf '%s\\n' \"$identity\" | age --decrypt -i - "


@operation()
def data(archive: Archive, identity: Path) -> Generator[FunctionCommand, None, None]:
    """Have what the backup holds on this host, until it is where it belongs: the registry's images stay encrypted."""
    if ask(Kubeadm).initialized and (archive.blobs is None or ask(Missing, paths=[_IMAGES])):
        host.noop("the backup is restored")
        return
    yield call(_send, archive, identity)


_keys: dict[str, str] = {}  # host -> the identity for what this run has sent it


def _send(archive: Archive, identity: Path) -> None:
    made, _ = run_on(host, f"umask 077 && mkdir -p {RESTORING}")
    with tempfile.TemporaryDirectory() as folder:
        copies = {file: Path(folder) / file.name for file in archive.files}
        sealed = subprocess.run(sealing(identity, copies), capture_output=True, text=True, check=False)
        if sealed.returncode:
            raise OperationError(sealed.stderr.strip())
        _keys[host.name] = sealed.stdout.strip()
        for copy in copies.values():
            send(host, copy, f"{RESTORING}/{copy.name}")
    opened, _ = run_on(
        host,
        f"umask 077 && rm -rf {RESTORING}/data && mkdir {RESTORING}/data && "
        f"{{ {_OPENED}{RESTORING}/{CLUSTER} || rm -rf {RESTORING}/data; }} | tar -C {RESTORING}/data -xf - && "
        f"cd {RESTORING}/data && sha256sum --check --status sums",
        stdin=f"{_keys[host.name]}\n",
    )
    if not (made and opened):
        raise OperationError(f"{host.name}: what was sent to {RESTORING} does not open there; is the disk full?")


def before_init(name: str, address: str) -> str:
    """What `kubeadm init` is to find on the host of that name and private address (sh)."""
    peer = f"https://{address}:2380"
    return f"""\
(
    set -e
    umask 077
    image=$(kubeadm config images list --config {KUBEADM_CONFIG} | grep /etcd:)
    {PULL} $image >/dev/null
    rm -rf {RESTORING}/etcd
    ctr --namespace k8s.io containers delete kubestage-restore >/dev/null 2>&1 || true
    ctr --namespace k8s.io run --rm --mount type=bind,src={RESTORING},dst={RESTORING},options=rbind:rw \\
        $image kubestage-restore etcdutl snapshot restore {RESTORING}/data/{SNAPSHOT} --data-dir {RESTORING}/etcd \\
        --name {name} --initial-cluster {name}={peer} --initial-advertise-peer-urls {peer} \\
        --bump-revision {BUMP} --mark-compacted </dev/null
    mkdir -p -m 700 /var/lib/etcd
    rm -rf /var/lib/etcd/member
    mv {RESTORING}/etcd/member /var/lib/etcd/
    mkdir -p -m 755 {KUBEADM_CERTIFICATES}
    cp -r {RESTORING}/data/pki/. {KUBEADM_CERTIFICATES}
    chmod 644 {KUBEADM_CERTIFICATES}/*.crt {KUBEADM_CERTIFICATES}/etcd/*.crt {KUBEADM_CERTIFICATES}/sa.pub
) || exit
"""


def after_init(archive: Archive, name: str) -> str:
    """What the cluster is to forget before others join: nodes that are not there any more, with their pods (sh).

    Static pods of control planes of before are among them, by which kubeadm would look for members of etcd.
    """
    others = [node for node in archive.nodes if node != name]
    forgotten = "".join(f"{KUBECTL} {deleting(node)} || exit\n" for node in others)
    return (
        f"{forgotten}{KUBECTL} annotate --overwrite namespace {PLATFORM_NAMESPACE} {RESTORED}={archive.mark} || exit\n"
        f"rm -rf {RESTORING}/data {RESTORING}/etcd {RESTORING}/{CLUSTER}\n"
        f"rmdir --ignore-fail-on-non-empty {RESTORING}\n"
    )


@operation()
def images(image: str) -> Generator[FunctionCommand, None, None]:
    """Put the registry's images back into its volume, wherever that lies now; `image`: of the pod that writes them."""
    if ask(Missing, paths=[_IMAGES]):
        host.noop("the registry's images are restored, or not in the backup")
        return
    yield call(_put_back, image)


def _put_back(image: str) -> None:
    registry = f"{KUBECTL} -n {NAMESPACE}"
    writer = json.dumps(pod(VOLUME_POD, NAMESPACE, CLAIM, image, beside="registry"))
    ended = f"{registry} delete pod {VOLUME_POD} --ignore-not-found --wait"
    ready, said = run_on(
        host,
        f"{ended} && {registry} create -f - && "
        f"{registry} wait --for=condition=Ready pod/{VOLUME_POD} --timeout 120s 2>&1",
        stdin=writer,
    )
    if ready:
        ready, said = run_on(
            host,
            f"{{ {_OPENED}{_IMAGES} || touch {RESTORING}/failed; }} | "
            f"{registry} exec -i {VOLUME_POD} -- tar -C {MOUNTED} -xf - 2>&1 && "
            f"! [ -e {RESTORING}/failed ] && {ended} && rm -rf {RESTORING}",
            stdin=f"{_keys[host.name]}\n",
        )
    if not ready:
        raise OperationError(f"{host.name}: the registry's images could not be put back: {said}")
