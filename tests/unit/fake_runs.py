"""Whole runs by pyinfra's own command line, on the fake hosts of its @fake connector."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from sample_cluster import ROOT


def run(folder: Path, inventory: str, deploy: str, *flags: str) -> subprocess.CompletedProcess[str]:
    """`pyinfra -y FLAGS` in `folder`, by these two files' content, without a terminal. It prints to stderr."""
    (folder / "hosts.py").write_text(inventory)
    (folder / "deploy.py").write_text(deploy)
    return subprocess.run(
        [sys.executable, "-m", "pyinfra", "hosts.py", "deploy.py", "-y", *flags],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYINFRA_PROGRESS": "off"},
        capture_output=True,
        text=True,
        check=False,  # with its output, a failure is easier to understand
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # getpass() would find the terminal of a person who runs the tests
        timeout=180,
    )


def printed_by_run(folder: Path, inventory: str, deploy: str, *flags: str) -> str:
    """What run() prints; it has to go well."""
    result = run(folder, inventory, deploy, *flags)
    assert result.returncode == 0, result.stderr
    return result.stderr
