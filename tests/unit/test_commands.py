"""`python -m kubestage`: what a person is told who has mistyped something."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from sample_cluster import ROOT


def command(*words: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, as it puts gevent underneath."""
    argv = [sys.executable, "-m", "kubestage", *words]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("word", ["status", "dashboard-token"])
def test_no_such_inventory(word: str) -> None:
    done = command(word, "inventory/nowhere.py")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "inventory/nowhere.py: there is no such file\n    -> name one: INVENTORY=inventory/NAME.py\n"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("control_plane = [", "SyntaxError: "),
        ("raise RuntimeError('no network')", "RuntimeError: no network"),
        ("control_plane = [('cp1', 5)]", "TypeError: "),
        ("workers = ()", "IndexError: "),
    ],
    ids=["syntax", "raises", "data", "empty tuple"],
)
def test_an_inventory_that_can_not_be_read(tmp_path: Path, content: str, reason: str) -> None:
    path = tmp_path / "broken.py"
    path.write_text(content)
    done = command("status", str(path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"{path}: it can't be read: {reason}")
    assert done.stderr.endswith("inventory/static.example.py shows how\n")


def test_no_cluster_yet() -> None:
    done = command("status", "inventory/static.example.py")
    assert (done.returncode, done.stdout) == (1, "")
    assert "a run makes it, and has not yet\n    -> pyinfra inventory/static.example.py deploy.py" in done.stderr


def test_no_such_command() -> None:
    done = command("state", "inventory/lab.py")
    assert done.returncode == 2
    assert "invalid choice: 'state'" in done.stderr
