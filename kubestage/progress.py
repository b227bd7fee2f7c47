"""A run's signs of life: of its own pyinfra says when an operation begins, and when a host has done it."""

from __future__ import annotations

import time
from typing import Any

import gevent
from pyinfra import logger
from pyinfra.api import Host
from pyinfra.api.state import BaseStateCallback, State

EVERY_S = 10.0

_at_work: set[str] = set()  # the hosts that have not done the operation yet
_tickers: list[gevent.Greenlet] = []


class Progress(BaseStateCallback):
    """Prints every 10 s how long an operation has taken so far, and the hosts that are still at it."""

    @staticmethod
    def operation_start(state: State, op_hash: Any) -> None:
        title = ", ".join(state.get_op_meta(op_hash).names)
        _tickers.append(gevent.spawn(_tick, title, time.monotonic()))

    @staticmethod
    def operation_host_start(state: State, host: Host, op_hash: Any) -> None:
        if op_hash in state.ops[host]:  # others are told of it as well
            _at_work.add(host.name)

    @staticmethod
    def operation_host_success(state: State, host: Host, op_hash: Any, retry_count: int = 0) -> None:
        _at_work.discard(host.name)

    @staticmethod
    def operation_host_error(
        state: State, host: Host, op_hash: Any, retry_count: int = 0, max_retries: int = 0
    ) -> None:
        _at_work.discard(host.name)

    @staticmethod
    def operation_end(state: State, op_hash: Any) -> None:
        _tickers.pop().kill()


def _tick(title: str, begin: float) -> None:
    while True:
        gevent.sleep(EVERY_S)
        logger.info(f"    {title} ... {time.monotonic() - begin:.0f} s ({', '.join(sorted(_at_work))})")


def show(state: State) -> None:
    """Have this run print them; once, by whichever host is the first to ask for it."""
    if not any(isinstance(handler, Progress) for handler in state.callback_handlers):
        state.add_callback_handler(Progress())  # type: ignore[no-untyped-call]
