"""What a long step shows while it runs, and what it says when it fails."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

TICK_S = 10.0  # between two signs of life where the output is not a terminal
TERMINAL_TICK_S = 0.5
ERROR_LINES = 15  # of a failed command's log, in its error message

_lock = threading.Lock()
_running: list[object] = []  # the steps under way; only the newest one shows its time
_position = threading.local()  # .text: which of how many the steps of this thread belong to


class StepFailed(Exception):
    """A step of the lab failed; the message says which, why, and the command to go on with."""


def resume_command() -> str:
    """The command that goes on after a failure: what the user typed (KUBESTAGE_COMMAND, set by the Makefile)."""
    return os.environ.get("KUBESTAGE_COMMAND") or shlex.join(["python", "-m", "lab", *sys.argv[1:]])


def _say(text: str, *, end: str = "\n") -> None:
    with _lock:
        sys.stderr.write(f"\r\033[K{text}{end}" if sys.stderr.isatty() else f"{text}{end}")
        sys.stderr.flush()


@contextmanager
def counted(number: int, total: int) -> Iterator[None]:
    """Begin the titles of all steps in this thread with "7 of 21: "."""
    _position.text = f"{number} of {total}: "
    try:
        yield
    finally:
        _position.text = ""


@contextmanager
def step(title: str) -> Iterator[None]:
    """Show `title` at once, how long it has taken at least every 10 s, and its time at the end (on stderr)."""
    title = getattr(_position, "text", "") + title
    terminal = sys.stderr.isatty()
    begin = time.monotonic()
    done = threading.Event()
    me = object()

    def tick() -> None:
        while not done.wait(TERMINAL_TICK_S if terminal else TICK_S):
            if _running and _running[-1] is me:
                _say(f"{title} ... {time.monotonic() - begin:.0f} s", end="" if terminal else "\n")

    _say(f"{title} ...", end="" if terminal else "\n")
    _running.append(me)
    ticker = threading.Thread(target=tick, daemon=True)
    ticker.start()
    outcome = "failed after "
    try:
        yield
        outcome = ""
    finally:
        done.set()
        ticker.join()
        _running.remove(me)
        _say(f"{title}  {outcome}{time.monotonic() - begin:.1f} s")


def last_lines(log: Path, since: int = 0, count: int = ERROR_LINES) -> str:
    """The last lines of a log, from byte `since` on, that are not blank; empty if there is none."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(since, stream.seek(0, os.SEEK_END) - 65536))
            text = stream.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join([line for line in text.splitlines() if line.strip()][-count:])


def failure(title: str, reason: str, log: Path, since: int = 0) -> StepFailed:
    """The error of a step whose output lies in `log`, from byte `since` on: its last lines, and how to go on."""
    return StepFailed(
        f"{title}: {reason}\n{last_lines(log, since) or '(it printed nothing)'}\n"
        f"The whole output is in {log}\nTo go on once that is mended: {resume_command()}"
    )


def run(
    argv: Sequence[str | Path],
    *,
    log: Path,
    title: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> None:
    """Run a command under `step(title)` with its output appended to `log`; StepFailed if it can't start or fails.

    `env` is added to the environment of this process.
    """
    words = [str(word) for word in argv]
    log.parent.mkdir(parents=True, exist_ok=True)
    with step(title), log.open("ab") as stream:
        stream.write(f"\n$ {shlex.join(words)}\n".encode())
        stream.flush()
        since = stream.tell()
        try:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *words],  # however this process ends, the command does not go on
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                cwd=cwd,
                close_fds=False,  # it inherits lab.cache's lock
            )
        except OSError as error:
            raise failure(title, f"it can't be started: {error}", log, since) from error
        try:
            code = process.wait()
        finally:
            if process.poll() is None:  # interrupted: leave nothing behind that still writes
                process.terminate()
                process.wait()
        if code:
            reason = f"exit code {code}" if code > 0 else f"killed by signal {-code}"
            raise failure(title, f"{words[0]} failed, {reason}", log, since)
