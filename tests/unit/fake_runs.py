"""Whole runs by pyinfra's own command line, on the fake hosts of its @fake connector."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

from sample_cluster import ROOT

CONFIG = """\
from kubestage.output.hook import begin
from pyinfra import config

config.FAIL_PERCENT = 0
begin()
"""


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYINFRA_PROGRESS": "off", "COLUMNS": "100", "TERM": "xterm"}


def command(folder: Path, inventory: str, deploy: str, *flags: str) -> list[str]:
    """`pyinfra hosts.py deploy.py FLAGS`, to be run in `folder`, where these two files' content is put."""
    (folder / "hosts.py").write_text(inventory)
    (folder / "deploy.py").write_text(deploy)
    return [sys.executable, "-m", "pyinfra", "hosts.py", "deploy.py", *flags]


def _run(argv: list[str], folder: Path, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv,
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,  # with its output, a failure is easier to understand
        input=given,
        start_new_session=True,  # getpass() would find the terminal of a person who runs the tests
        timeout=300,  # where the machine is busy
    )


def run(folder: Path, inventory: str, deploy: str, *flags: str) -> subprocess.CompletedProcess[str]:
    """`pyinfra -y FLAGS` in `folder`, with its own output (on stderr), without a terminal."""
    return _run(command(folder, inventory, deploy, "-y", *flags), folder)


def printed_by_run(folder: Path, inventory: str, deploy: str, *flags: str) -> str:
    """What run() prints; it has to go well."""
    result = run(folder, inventory, deploy, *flags)
    assert result.returncode == 0, result.stderr
    return result.stderr


def run_with_our_output(
    folder: Path, inventory: str, deploy: str, *flags: str, config: str = CONFIG, given: str = ""
) -> subprocess.CompletedProcess[str]:
    """`pyinfra FLAGS` in a pipe; `given` is its input."""
    (folder / "config.py").write_text(config)
    return _run(command(folder, inventory, deploy, *flags), folder, given)


def seen_on_a_terminal(folder: Path, inventory: str, deploy: str, *flags: str, typed: str = "") -> str:
    """All that a terminal gets of such a run, control characters included; it has to go well."""
    (folder / "config.py").write_text(CONFIG)
    ours, its = pty.openpty()
    process = subprocess.Popen(
        command(folder, inventory, deploy, *flags), cwd=folder, env=environment(), stdin=its, stdout=its, stderr=its
    )
    os.close(its)
    os.write(ours, typed.encode())
    seen = b""
    while True:
        try:
            seen += os.read(ours, 4096)
        except OSError:  # nobody has its end open any more
            break
    os.close(ours)
    assert process.wait() == 0, seen.decode()
    return seen.decode()
