"""Hosts of a run that can't be reached, where that is no reason not to go on: they may be what it is about.

pyinfra 3.10 drops a host to which it can't connect, and a run of no other hosts ends there (pyinfra/api/connect.py).
"""

from __future__ import annotations

from typing import Any

from pyinfra.api import Host
from pyinfra.api.exceptions import ConnectError
from pyinfra.api.state import BaseStateCallback, State
from pyinfra.connectors.util import CommandOutput, OutputLine

RUNS = ("remove.py",)  # the files of runs that go on without


def allow(state: State) -> None:
    """Have the run keep those of its hosts that can't be reached. Before it connects."""
    state.add_callback_handler(_Kept())  # type: ignore[no-untyped-call]


def is_unreached(host: Host) -> bool:
    """Whether it is one of those: whatever it is told fails."""
    return isinstance(host.connector, _Unreached)


class _Kept(BaseStateCallback):
    def host_connect_error(self, state: State, host: Host, error: ConnectError) -> None:  # type: ignore[override]
        if state.is_host_in_limit(host):  # one that is asked for others is needed
            host.connector = _Unreached(str(error))  # type: ignore[assignment]
            host.connected = True


class _Unreached:
    """In the place of the host's connector."""

    handles_execution = True

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def run_shell_command(self, *command: Any, **arguments: Any) -> tuple[bool, CommandOutput]:
        return False, CommandOutput([OutputLine("stderr", f"it can't be reached: {self._reason}")])

    def disconnect(self) -> None:
        """There is nothing to end."""
