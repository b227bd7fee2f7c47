"""Processes of the lab: found by their control group, ended by their pid, and waited for."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path

GONE_WITHIN_S = 20.0


def parse_namespace_pids(status: str) -> list[int]:
    """The pids of a process from the reader's namespace inwards (NSpid in proc_pid_status(5))."""
    line = next((line for line in status.splitlines() if line.startswith("NSpid:")), "NSpid:")
    return [int(word) for word in line.split()[1:]]


def leader(pids: Iterable[int]) -> int | None:
    """The process among `pids` that is PID 1 of a host: the first of a namespace right below ours."""
    depth = len(_namespace_pids("self")) + 1
    for pid in pids:
        inner = _namespace_pids(str(pid))
        if len(inner) == depth and inner[-1] == 1:
            return pid
    return None


def starter(pids: Iterable[int]) -> int | None:
    """The systemd-nspawn among `pids`."""
    return next((pid for pid in pids if _read(f"{pid}/comm").strip() == "systemd-nspawn"), None)


def with_argument(*beginnings: str) -> list[int]:
    """The processes that have an argument which begins with one of `beginnings`."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [
        pid
        for pid in sorted(pids)
        if any(word.startswith(beginnings) for word in _read(f"{pid}/cmdline").split("\0")) and pid != os.getpid()
    ]


def end(pid: int, number: int = signal.SIGKILL, within_s: float = GONE_WITHIN_S) -> bool:
    """Send a signal and wait until the process is gone; False if it outlives the deadline."""
    with contextlib.ExitStack() as stack:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            return True
        stack.callback(os.close, handle)
        try:
            signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            return True
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        if not poll.poll(within_s * 1000):
            return False
        # Its parent may be this process: then it is a zombie in our control group until it is waited for.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
    return True


def wait_until(condition: Callable[[], bool], within_s: float, every_s: float = 0.02) -> bool:
    """Poll `condition` until it is true; False if it is not within the deadline."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(every_s)
    return True


def _namespace_pids(pid: str) -> list[int]:
    return parse_namespace_pids(_read(f"{pid}/status"))


def _read(name: str) -> str:
    try:
        return Path("/proc", name).read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
