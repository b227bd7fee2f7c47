"""One lab a machine, and one command at a time that changes it."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.definition import BRIDGE, state_dir
from lab.progress import StepFailed

LOCK = Path(f"/run/{BRIDGE}.lock")  # never removed: that would be a race
OWNER = Path(f"/run/{BRIDGE}.state")  # holds the folder of the lab that runs; gone after `down`


@contextmanager
def held(waits: bool = False) -> Iterator[None]:
    """Hold the lab for this process; if it is in use, wait, or StepFailed at once with who holds it."""
    with LOCK.open("a+") as lock:  # not inherited: a host must not go on holding it
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
        except BlockingIOError:
            lock.seek(0)
            raise StepFailed(
                f"The lab is in use by process {lock.read().strip() or '(just starting)'}.\n"
                "Wait until it has finished, then give the command again."
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}: {' '.join(sys.argv)}\n")
        lock.flush()
        try:
            yield
        finally:
            lock.truncate(0)


def check_owner() -> None:
    """StepFailed if the lab that is up on this machine is another cache's."""
    other = OWNER.read_text().strip() if OWNER.exists() else str(state_dir())
    if other != str(state_dir()) and Path(other).exists():
        raise StepFailed(
            f"Another lab is up on this machine, and its hosts are in {other}.\n"
            f"End it first: KUBESTAGE_CACHE={Path(other).parent} python -m lab down"
        )


def claim() -> None:
    """Make the machine's lab this cache's; StepFailed if another cache's is up."""
    check_owner()
    OWNER.write_text(f"{state_dir()}\n")


def release() -> None:
    OWNER.unlink(missing_ok=True)
