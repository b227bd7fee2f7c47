"""A phase of a run: its operations on every host, then a barrier, then a line with its time.

pyinfra keeps no order between operations on different hosts; an operation that every host has, at the end of each
phase, makes one (pyinfra 3.10, api/state.py, get_op_order).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from functools import wraps
from pathlib import Path

from pyinfra import host, logger
from pyinfra.api import StringCommand
from pyinfra.api.deploy import deploy
from pyinfra.api.operation import operation

from kubestage.local_file import save
from kubestage.plan import HostPlan

TIMES = "phase-times"  # the file beside the kubeconfig

Task = Callable[[HostPlan], None]

_begin = time.monotonic()
_ended: dict[str, float] = {}  # phase -> when its barrier was reached, in the order of the run


@operation()
def _barrier(title: str) -> Generator[StringCommand, None, None]:
    """Never a change. The first host to come here marks the end of the phase for all of them."""
    if host.state.is_executing and title not in _ended:
        _ended[title] = time.monotonic()
    host.noop(f"end of {title}")
    return
    yield


def times() -> dict[str, float]:
    """Seconds that each phase took, in the order of the run; the first one holds what came before it as well."""
    result, previous = {}, _begin
    for title, end in _ended.items():
        result[title] = end - previous
        previous = end
    return result


def phase(title: str) -> Callable[[Task], Task]:
    """Make a task a phase called `title`."""

    def decorate(task: Task) -> Task:
        @wraps(task)
        def wrapped(plan: HostPlan) -> None:
            @deploy(title)
            def named() -> None:
                task(plan)

            named()
            _barrier(title=title, name=f"{title} | done everywhere")

        return wrapped

    return decorate


@operation()
def report_times(kept: Path) -> Generator[StringCommand, None, None]:
    """Print the phases and their times from whichever host has this operation, and keep them for `make status`."""
    if host.state.is_executing:
        lines = [f"{title:<24}{seconds:7.1f} s" for title, seconds in times().items()]
        for line in lines:
            logger.info(f"    {line}")
        save(kept, "".join(f"{line}\n" for line in lines))
    host.noop("times printed")
    return
    yield
