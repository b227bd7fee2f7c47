"""What is done on one host of a run after the other, where each decides by itself whether it has to be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

from gevent.lock import BoundedSemaphore
from pyinfra.api import Host, OperationError
from pyinfra.api.state import State


class _Turns:
    """One host after the other, and none after one that has failed."""

    def __init__(self) -> None:
        self._lock = BoundedSemaphore()
        self._at_work = ""

    @contextmanager
    def turn(self, name: str, done: str) -> Iterator[None]:
        with self._lock:
            if self._at_work:
                raise OperationError(f"{name}: not {done} here, as that has failed on {self._at_work}")
            self._at_work = name
            yield
            self._at_work = ""


_turns: WeakKeyDictionary[State, dict[str, _Turns]] = WeakKeyDictionary()


@contextmanager
def turn(host: Host, done: str) -> Iterator[None]:
    """The time in which it is the turn of `host` for what is `done` ("restarted"); a failure to leave it is its own."""
    with _turns.setdefault(host.state, {}).setdefault(done, _Turns()).turn(host.name, done):
        yield
