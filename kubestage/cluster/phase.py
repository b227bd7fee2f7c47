"""A phase of a run: its operations on every host, then a barrier.

pyinfra keeps no order between operations on different hosts; an operation that every host has, at the end of each
phase, makes one (pyinfra 3.10, api/state.py, get_op_order).
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass

from pyinfra import host
from pyinfra.api import StringCommand
from pyinfra.api.deploy import deploy
from pyinfra.api.operation import operation

from kubestage.cluster.plan import HostPlan

BARRIER = "done everywhere"  # the last operation of each phase

# Where to look when a phase has failed, where several have it in common.
SYSTEM = "the apt or systemctl error in the output; `journalctl -u containerd -u docker` on the host"
FILES = "the message names the file"
PODS = (
    "`make status`; `kubectl describe pods -n NAMESPACE` is in the output. An object that is called invalid has "
    "something that was added by hand and can't stand beside the manifest: delete the object, and run again"
)

Task = Callable[[HostPlan], None]


@dataclass(frozen=True)
class Phase:
    """A task, and what a person is told of it. Called with a host's plan it gives the host its operations.

    `look_at`: where, when it has failed. `goes_on`: what does so on the hosts by itself when a run is ended in it.
    """

    title: str
    task: Task
    look_at: str
    goes_on: str = ""

    def __call__(self, plan: HostPlan) -> None:
        @deploy(self.title)
        def named() -> None:
            self.task(plan)

        named()
        _barrier(title=self.title, name=f"{self.title} | {BARRIER}")


PHASES: dict[str, Phase] = {}  # by title, of all tasks that have been imported


@operation()
def _barrier(title: str) -> Generator[StringCommand, None, None]:
    """Never a change."""
    host.noop(f"end of {title}")
    return
    yield


def phase(title: str, look_at: str, goes_on: str = "") -> Callable[[Task], Phase]:
    """Make a task a phase; see Phase."""

    def made(task: Task) -> Phase:
        return PHASES.setdefault(title, Phase(title, task, look_at, goes_on))

    return made
