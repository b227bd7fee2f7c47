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
    removed, said = control_plane.run(removal(member.number))
    if not removed:
        raise OperationError(
            f"{control_plane.name}: etcd did not give up its member {member.name or 'without a name'} at "
            f"{member.address}: {said or 'no answer'}: most of its members have to answer for that. "
            f"See there: {etcdctl('endpoint health --cluster')}"
        )


def removal(number: str) -> str:
    """The command that removes the member of that number; what etcd says is its output where it does not.

    Right after another one has left, etcd has to find a leader, and wants those that are left to have been connected
    for 5 s (etcd 3.6, server.go, HealthInterval): until then it calls itself unhealthy, or does not answer.
    """
    return f"""(
    for try in $(seq 12); do
        said=$({etcdctl(f"member remove {number}")} 2>&1) && exit
        case $said in
            *'member not found'*) exit 0 ;;  # by a try that was not answered
            *'unhealthy cluster'* | *'deadline exceeded'* | *leader*) sleep 5 ;;
            *) break ;;
        esac
    done
    printf '%s\\n' "$said" | tail -n 1
    exit 1
)"""


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
