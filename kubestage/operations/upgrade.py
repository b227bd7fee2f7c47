"""A cluster's hosts brought to another version of Kubernetes, each by kubeadm; what is done already is not done again.

https://kubernetes.io/docs/tasks/administer-cluster/kubeadm/kubeadm-upgrade/. The next step follows from what is there
alone: a run that was killed goes on.
"""

from __future__ import annotations

import shlex
from collections.abc import Generator, Mapping, Sequence
from typing import Any

from pyinfra import host
from pyinfra.api import FunctionCommand, OperationError, StringCommand

from kubestage.cluster.answers import ask
from kubestage.cluster.control_plane import ControlPlane
from kubestage.cluster.operation import operation
from kubestage.cluster.shell import call
from kubestage.facts.etcd import etcdctl
from kubestage.facts.files import Missing
from kubestage.facts.kubernetes import ImagesPresent, Nodes
from kubestage.facts.unknown import Unknown
from kubestage.facts.versions import Versions
from kubestage.host_file import HostFile
from kubestage.kubernetes import BEFORE_UPGRADE, KUBECTL, PULL, UPGRADE_CONFIG, UPGRADE_UNIT
from kubestage.operations.apt import Source, pinned_packages
from kubestage.operations.files import put
from kubestage.operations.nodes import drain
from kubestage.operations.transient import in_unit

UPGRADING = "kubestage/upgrading"  # annotation of a Node that a run has cordoned, and is to uncordon


@operation()
def images(version: str, control_plane: bool) -> Generator[StringCommand, None, None]:
    """Pull ahead what the host will run of `version`, as its kubeadm names it; on a worker not the control plane's."""
    which = "." if control_plane else "kube-proxy|coredns|pause"
    listed = f"kubeadm config images list --kubernetes-version {version} | grep -E '{which}'"
    proxy = f"registry.k8s.io/kube-proxy:v{version}"
    if (not control_plane and proxy in ask(ImagesPresent)) or ask(Versions).apiserver == version:
        host.noop("images are there")
        return
    yield StringCommand(
        f"for image in $({listed}); do",
        f"{PULL} $image >/dev/null || exit; done",
    )


@operation()
def snapshot(version: str) -> Generator[StringCommand, None, None]:
    """Keep etcd's data as it is before the upgrade to `version`, on this host, for root alone; once."""
    path = f"{BEFORE_UPGRADE}/etcd-before-{version}.db"
    if ask(Versions).apiserver == version or not ask(Missing, paths=[path]):
        host.noop("the snapshot is there")
        return
    inside = "/var/lib/etcd/kubestage-snapshot.db"  # a folder that etcd's container has
    yield StringCommand(
        f"umask 077 && mkdir -p {BEFORE_UPGRADE} && rm -f {inside} {inside}.part &&",
        f"{etcdctl(f'snapshot save {inside}')} >/dev/null 2>&1 && mv {inside} {path}.new && sync {path}.new &&",
        f"mv {path}.new {path}",
    )


@operation()
def node(
    control_plane: ControlPlane,
    kubeadm: str,
    configuration: str,
    version: str,
    packages: Mapping[str, str],
    entries: Sequence[Source],
    timeout_s: int,
) -> Generator[StringCommand | FunctionCommand, None, None]:
    """Bring this host to `version`: what kubeadm does first, then, with no pod of others on it, its kubelet.

    `kubeadm`: "apply" on the first of the control plane, else "node"; `configuration`: its UpgradeConfiguration.
    `packages`: kubelet and kubectl -> version. A node that was cordoned before stays so; one that a run has cordoned is
    open again in the end, also where something fails.
    """
    there, nodes = ask(Versions), control_plane.ask(Nodes)
    own: Mapping[str, Any] = {} if isinstance(nodes, Unknown) else nodes.get(host.name, {})
    running = own.get("status", {}).get("nodeInfo", {}).get("kubeletVersion", "").removeprefix("v")
    of_control_plane = there.apiserver != ""
    is_left = UPGRADING in own.get("metadata", {}).get("annotations", {})
    programs_wait = of_control_plane and there.apiserver != version
    kubelet_waits = there.kubelet != version or running != version
    if not (programs_wait or kubelet_waits or is_left):
        host.noop(f"runs {version}")
        return
    if not host.state.is_executing:
        yield StringCommand(f"kubeadm upgrade {kubeadm}")
        return
    if programs_wait or (kubelet_waits and not of_control_plane):
        yield put([HostFile(UPGRADE_CONFIG, configuration, mode="600")])
        words = f"apply --yes --config {UPGRADE_CONFIG}" if kubeadm == "apply" else f"node --config {UPGRADE_CONFIG}"
        yield in_unit(UPGRADE_UNIT, f"kubeadm upgrade {words}", lines=40)
    if not kubelet_waits and not is_left:
        return
    opens = is_left or not own.get("spec", {}).get("unschedulable")
    try:
        if kubelet_waits:
            if opens:
                yield control_plane.command(
                    f"{KUBECTL} annotate --overwrite node {host.name} {UPGRADING}={version} && "
                    f"{KUBECTL} cordon {host.name} >/dev/null"
                )
            yield control_plane.command(drain(host.name, timeout_s))
            yield from pinned_packages._inner(packages=packages, entries=entries, timeout_s=timeout_s)
            yield StringCommand("systemctl daemon-reload && systemctl restart kubelet")
            yield call(_await, control_plane, host.name, version, timeout_s)
    finally:  # pyinfra closes an operation that has failed
        if opens:
            control_plane.run(f"{KUBECTL} uncordon {host.name} && {KUBECTL} annotate node {host.name} {UPGRADING}-")


def _await(control_plane: ControlPlane, name: str, version: str, timeout_s: int) -> None:
    """Until the kubelet of this version has told that it runs, and the node is Ready."""
    condition = shlex.quote(f"{{.status.nodeInfo.kubeletVersion}}=v{version}")
    runs, _ = control_plane.run(
        f"{KUBECTL} wait --for=jsonpath={condition} --timeout={timeout_s}s node/{name} && "
        f"{KUBECTL} wait --for=condition=Ready --timeout={timeout_s}s node/{name}"
    )
    if not runs:
        raise OperationError(
            f"{name}: the kubelet {version} was started, and its node is not Ready {timeout_s} s later. "
            "See there: journalctl -u kubelet"
        )
