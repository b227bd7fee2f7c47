"""Puts down what a run does, as pyinfra tells of it by its callbacks (pyinfra 3.10, api/state.py)."""

from __future__ import annotations

from typing import Any

from pyinfra.api import Host
from pyinfra.api.state import BaseStateCallback, State

from kubestage.output.printer import Printer
from kubestage.output.record import CONNECT, PREFLIGHT, Outcome, Record, Step, split


class Watch(BaseStateCallback):
    """Fills `record`, and has what is done printed."""

    def __init__(self, record: Record, printer: Printer) -> None:
        self.record = record
        self._printer = printer
        self._connect = record.step(CONNECT)
        self._preflight = record.step(PREFLIGHT)
        self._steps: dict[str, Step] = {}  # by pyinfra's hash of the operation
        self._told: set[Step] = set()
        self._said: dict[str, list[str]] = {}

    def said(self, host: str, words: str) -> None:
        """What a host has complained of in its present operation, as pyinfra prints it."""
        # pyinfra's count of the commands before the one that failed is no complaint.
        self._said.setdefault(host, []).extend(
            line for line in words.splitlines() if not line.startswith("Error: executed ")
        )

    def complaints(self) -> dict[str, list[str]]:
        """Host -> its complaints that no operation has failed by, so far; they are handed out once."""
        said, self._said = self._said, {}
        return said

    def ready(self) -> None:
        """All hosts have been looked at; what comes now changes them."""
        for host in self.record.at_work(self._preflight):
            self._preflight.end(host, self.record.now(), Outcome.SAME)

    def tell_changes(self, state: State) -> None:
        """Print the changes of what did not come to its end everywhere."""
        for op_hash in self._steps:
            self.operation_end(state, op_hash)

    # mypy takes pyinfra's callbacks for functions; it calls them on what it was given, so methods do as well.

    def host_before_connect(self, state: State, host: Host) -> None:  # type: ignore[override]
        if not self._preflight.began:  # a run may connect to a host later on, and again
            self._connect.began[host.name] = self.record.now()

    def host_connect(self, state: State, host: Host) -> None:  # type: ignore[override]
        if self._preflight.began:
            return
        self._connect.end(host.name, self.record.now(), Outcome.SAME)
        if len(self._connect.ended) == len(self.record.hosts):
            self._preflight.began.update(dict.fromkeys(self.record.hosts, self.record.now()))

    def host_connect_error(self, state: State, host: Host, error: Any) -> None:  # type: ignore[override]
        if self._preflight.began:
            return
        self._connect.end(host.name, self.record.now(), Outcome.FAILED)
        self._connect.said[host.name] = self._said.pop(host.name, [])

    def operation_host_start(self, state: State, host: Host, op_hash: Any) -> None:  # type: ignore[override]
        if op_hash not in state.ops[host]:
            return  # pyinfra tells of every host, also of those that don't have the operation
        self.ready()
        if op_hash not in self._steps:
            self._steps[op_hash] = self.record.step(*split(", ".join(state.get_op_meta(op_hash).names)))
        self._steps[op_hash].began[host.name] = self.record.now()

    def operation_host_success(  # type: ignore[override]
        self, state: State, host: Host, op_hash: Any, retry_count: int = 0
    ) -> None:
        self._steps[op_hash].end(host.name, self.record.now(), Outcome.SAME)
        self._warn(host)

    def operation_host_error(  # type: ignore[override]
        self, state: State, host: Host, op_hash: Any, retry_count: int = 0, max_retries: int = 0
    ) -> None:
        step = self._steps[op_hash]
        if state.get_op_data_for_host(host, op_hash).global_arguments["_ignore_errors"]:
            self.operation_host_success(state, host, op_hash)
            return
        step.end(host.name, self.record.now(), Outcome.FAILED)
        step.said[host.name] = self._said.pop(host.name, [])
        self._printer.failed(step, host.name)

    def operation_end(self, state: State, op_hash: Any) -> None:  # type: ignore[override]
        """Only now pyinfra knows whether an operation has changed anything."""
        step = self._steps.get(op_hash)
        if step is None or step in self._told:
            return
        self._told.add(step)
        for name in self.record.of(step, Outcome.SAME):
            meta = state.ops[state.inventory.get_host(name)][op_hash].operation_meta
            if meta.is_complete() and meta.did_change():
                step.outcomes[name] = Outcome.CHANGED
        self._printer.changed(step)

    def _warn(self, host: Host) -> None:
        for words in self._said.pop(host.name, ()):
            self._printer.warn(f"{host.name}: {words}")


def planned(state: State, hosts: list[str]) -> dict[str, list[str]]:
    """Host -> the operations that would change something on it, in the order of the run, once pyinfra has looked."""
    order = state.get_op_order()  # type: ignore[no-untyped-call]
    found = {}
    for name in hosts:
        operations = state.ops[state.inventory.get_host(name)]
        found[name] = [
            ", ".join(state.get_op_meta(op_hash).names)
            for op_hash in order
            if op_hash in operations and operations[op_hash].operation_meta.will_change
        ]
    return found
