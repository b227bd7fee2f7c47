"""Who speaks for the cluster: what a run asks and tells the control plane on behalf of any host."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, TypeVar

import gevent
from gevent.lock import BoundedSemaphore
from pyinfra import logger
from pyinfra.api import FactBase, FunctionCommand, Host, OperationError, StringCommand
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.state import BaseStateCallback, State

from kubestage.cluster import connections
from kubestage.cluster.answers import ask
from kubestage.cluster.shell import command_on, connect, run_on
from kubestage.facts.unknown import Unknown

ANSWERS_WITHIN_S = 60  # an API server that starts anew, with its flags changed, is silent for 20 s
_AGAIN_S = 1.0

T = TypeVar("T")


class ControlPlane:
    """Asks the control plane of a run's cluster, and runs commands there; one for all hosts of the run.

    What all hosts ask alike is asked once and shared: until something was changed by the run, and never beyond the
    preparation, after which a person may have taken a while to say yes.
    """

    def __init__(self, hosts: Sequence[Host], timeout_s: float = ANSWERS_WITHIN_S) -> None:
        """`hosts`: those of its own that are in the cluster; the first is asked, the next one when it is lost.

        `timeout_s`: how long the API may be silent while the run works, before the run gives up.
        """
        self._host, *self._others = hosts
        self._timeout_s = timeout_s
        self._locks: defaultdict[Any, BoundedSemaphore] = defaultdict(BoundedSemaphore)
        self._answers: dict[Any, Any] = {}
        self._made: dict[str, tuple[bool, str]] = {}
        self._host.state.add_callback_handler(_Changes(self))  # type: ignore[no-untyped-call]

    @property
    def name(self) -> str:
        """The name of the host that is asked, for messages."""
        return self._host.name

    def ask(self, kind: type[FactBase[T | Unknown]], fresh: bool = False, **arguments: Any) -> T | Unknown:
        """The fact, `fresh` or as another host of this run has got it.

        Unknown is for the preparation alone, in which nobody waits; while the run works, one that stays silent ends it.
        """
        if connections.is_closed():  # before anything that gives way to others
            return ask(kind, of=self._host, **arguments)
        executing = self._host.state.is_executing
        key = (executing, kind, repr(sorted(arguments.items())))
        with self._locks[key]:
            if fresh or key not in self._answers:
                try:
                    self._answers[key] = (
                        self._waited(kind, fresh, arguments) if executing else self._asked(kind, fresh, arguments)
                    )
                except PyinfraError as error:
                    self._answers[key] = error  # the others need not wait as long once more
            answer: T | Unknown | PyinfraError = self._answers[key]
        if isinstance(answer, PyinfraError):
            raise answer
        return answer

    def forget(self) -> None:
        """Ask anew whatever is asked from now on."""
        self._answers.clear()

    def _asked(self, kind: type[FactBase[T | Unknown]], fresh: bool, arguments: dict[str, Any]) -> T | Unknown:
        while True:
            connect(self._host)
            answer = ask(kind, of=self._host, fresh=fresh, **arguments)
            if not (isinstance(answer, Unknown) and (reason := connections.lost(self._host))):
                return answer
            if not self._others:
                raise OperationError(reason)
            logger.warning(f"{reason}; {self._others[0].name} is asked instead")
            self._host = self._others.pop(0)

    def _waited(self, kind: type[FactBase[T | Unknown]], fresh: bool, arguments: dict[str, Any]) -> T:
        begin = time.monotonic()
        while isinstance(answer := self._asked(kind, fresh, arguments), Unknown):
            fresh = True
            if time.monotonic() - begin > self._timeout_s:
                raise OperationError(
                    f"{self.name}: for {self._timeout_s:.0f} s the API server gave no answer"
                    f"{answer.reason and f': {answer.reason}'}\n"
                    f"See there: systemctl status kubelet ; ls /var/log/pods/kube-system_kube-apiserver*"
                )
            gevent.sleep(_AGAIN_S)
        return answer

    def run(self, command: str, stdin: str = "") -> tuple[bool, str]:
        """Run it there: whether it succeeded, and its standard output. Nothing is printed or logged."""
        return run_on(self._host, command, stdin)

    def run_once(self, command: str) -> tuple[bool, str]:
        """As run(), for what all hosts of a run share: the first who wants it has it run."""
        with self._locks[command]:
            if command not in self._made:
                self._made[command] = self.run(command)
            return self._made[command]

    def command(self, command: str) -> StringCommand | FunctionCommand:
        """What an operation yields to have it run there, whichever host the operation is of."""
        return command_on(self._host, command)


class _Changes(BaseStateCallback):
    """Tells when an operation has changed something on any host."""

    def __init__(self, speaker: ControlPlane) -> None:
        self.speaker = speaker

    def operation_end(self, state: State, op_hash: str) -> None:  # type: ignore[override]
        metas = (operations[op_hash].operation_meta for operations in state.ops.values() if op_hash in operations)
        if any(meta.is_complete() and (meta.did_change() or meta.did_error()) for meta in metas):
            self.speaker.forget()


def of_run(state: State, names: Sequence[str], timeout_s: float) -> ControlPlane:
    """The run's one; `names`: those of its control plane hosts that are in the cluster, or are to be."""
    known = (handler.speaker for handler in state.callback_handlers if isinstance(handler, _Changes))
    return next(known, None) or ControlPlane([state.inventory.get_host(name) for name in names], timeout_s)
