"""Hosts taken out of their cluster; of those that can't be reached, what the cluster has of them."""

from __future__ import annotations

from pyinfra import host, logger, state

from kubestage.checks import removal
from kubestage.cluster.phase import PODS, phase
from kubestage.cluster.plan import HostPlan
from kubestage.cluster.unreached import is_unreached
from kubestage.operations import etcd, kubeadm, nodes, storage
from tasks.preflight import planned, targeted


def check() -> HostPlan:
    """This host's plan; raises with all that is in the way of its leaving."""
    return planned(removal.check(state), leaving=targeted())


@phase("Drain", look_at=PODS)
def drain(plan: HostPlan) -> None:
    """One after the other: what leaves one must not come to the next one's place for nothing."""
    if not plan.checked.tells:
        return
    nodes.cordon(control_plane=plan.speaker, names=plan.targeted, name="No new pods")
    if not is_unreached(host):  # nobody there could end a pod, and its Node may be called Ready for a while yet
        nodes.no_pods(
            control_plane=plan.speaker,
            node=plan.name,
            timeout_s=plan.settings.timeout_s(300),
            name="No pods",
            _serial=True,
        )


@phase(
    "Leave",
    look_at="`/var/log/kubestage-leave.log` on the host",
    goes_on="`kubeadm reset`, in the unit kubestage-leave",
)
def leave(plan: HostPlan) -> None:
    """A host of the control plane serves no API any more before its member of etcd leaves; the dead leave first.

    As long as they are members, they count among those of which most have to answer.
    """
    if not plan.checked.tells:
        return
    if plan.is_control_plane and is_unreached(host):
        _no_member(plan, "No dead member of etcd")
    elif plan.is_control_plane:
        server = f"{plan.address}:{plan.settings.api_port}"
        kubeadm.no_api_server(server=server, name="No API server", _serial=True)
        _no_member(plan, "No member of etcd")
    if not is_unreached(host):
        kubeadm.no_membership(name="Of no cluster", _serial=True)


def _no_member(plan: HostPlan, name: str) -> None:
    if plan.name in plan.addresses:
        etcd.no_member(control_plane=plan.speaker, address=plan.address, name=name, _serial=True)


@phase("Cluster", look_at=PODS)
def forget(plan: HostPlan) -> None:
    """What the cluster keeps of the host."""
    if not plan.checked.tells:
        return
    nodes.no_node(control_plane=plan.speaker, node=plan.name, name="No Node")
    storage.no_volumes(control_plane=plan.speaker, node=plan.name, name="No volumes")


def tell(plan: HostPlan) -> None:
    """What is left to do, and can't be done by a run: the inventory is the user's."""
    if plan.acts_for_all:
        inventory = f"inventory/{plan.checked.inventory}.py"
        logger.info(
            f"Then take {', '.join(plan.targeted)} out of {inventory}, and give: pyinfra {inventory} deploy.py"
            " -- it takes their names from the other hosts. While a host is in the inventory, that has it join again"
        )
