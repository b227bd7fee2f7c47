"""Whole runs by pyinfra's own command line, on the fake hosts of its @fake connector."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from sample_cluster import ROOT


def printed_by_run(folder: Path, inventory: str, deploy: str, *flags: str) -> str:
    """What `pyinfra -y FLAGS` prints (stderr) of a run in `folder` by these two files' content; it has to go well."""
    (folder / "hosts.py").write_text(inventory)
    (folder / "deploy.py").write_text(deploy)
    result = subprocess.run(
        [sys.executable, "-m", "pyinfra", "hosts.py", "deploy.py", "-y", *flags],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYINFRA_PROGRESS": "off"},
        capture_output=True,
        text=True,
        check=False,  # with its output, a failure is easier to understand
        stdin=subprocess.DEVNULL,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    return result.stderr
