"""The members of etcd, as a run keeps them beside what kubeadm does."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra import host
from pyinfra.api import FunctionCommand, OperationError

from kubestage.cluster.control_plane import ControlPlane
from kubestage.cluster.operation import operation
from kubestage.cluster.shell import call
from kubestage.facts.etcd import EtcdMembers, Member, etcdctl
from kubestage.facts.unknown import Unknown


def remove(control_plane: ControlPlane, member: Member) -> None:
    """Have etcd forget a member; it answers only while most of the others do."""
    removed, _ = control_plane.run(etcdctl(f"member remove {member.number}"))
    if not removed:
        raise OperationError(
            f"{control_plane.name}: etcd did not give up its member {member.name or 'without a name'} at "
            f"{member.address}: most of its members have to answer for that. "
            f"See there: {etcdctl('endpoint health --cluster')}"
        )


def members(control_plane: ControlPlane) -> tuple[Member, ...]:
    """Those of now; of an etcd that does not answer, OperationError."""
    known = control_plane.ask(EtcdMembers, fresh=True)
    if isinstance(known, Unknown):
        raise OperationError(f"{control_plane.name}: etcd does not tell its members: {known.reason}")
    return known


@operation()
def no_member(control_plane: ControlPlane, address: str) -> Generator[FunctionCommand, None, None]:
    """Make etcd have no member at this address."""
    known = control_plane.ask(EtcdMembers)
    found = [] if isinstance(known, Unknown) else [member for member in known if member.address == address]
    for member in found:
        yield call(remove, control_plane, member)
    if not found:
        host.noop(f"etcd has no member at {address}")
