"""A script in a transient unit, run with programs that stand in for systemd's."""

from __future__ import annotations

import subprocess
from pathlib import Path

from stub_programs import calls, run_with

from kubestage.operations.transient import in_unit

MOVED = ("/var/log/", "/etc/kubernetes/kubestage")
DONE = "/etc/kubernetes/kubestage/done"
START = 'for file; do :; done; sh "$file" > @FOLDER@/var/log/own.log 2>&1'


def go(folder: Path, script: str, active: str = "exit 3", *, done: str = DONE) -> subprocess.CompletedProcess[str]:
    programs = {"systemctl": active, "systemd-run": START.replace("@FOLDER@", str(folder)), "sleep": ""}
    return run_with(folder, in_unit("own", "", done).get_raw_value(), programs, MOVED, given=script)


def told(folder: Path) -> list[str]:
    return [call.split()[0] for call in calls(folder)]


def test_success(tmp_path: Path) -> None:
    result = go(tmp_path, f"""echo "it's" '$HOME'; touch {tmp_path}{DONE}""")
    assert (result.returncode, result.stderr) == (0, "")
    assert told(tmp_path) == ["systemctl", "systemd-run"]
    assert (tmp_path / "var/log/own.log").read_text() == "it's $HOME\n"
    assert (tmp_path / "etc/kubernetes/kubestage/own.sh").stat().st_mode & 0o777 == 0o600


def test_failure_shows_the_log(tmp_path: Path) -> None:
    result = go(tmp_path, "echo 'port 6443 is in use'; exit 1")
    assert result.returncode == 1
    assert result.stderr.splitlines()[0] == "port 6443 is in use"
    assert "own failed; all of its output:" in result.stderr


def test_a_running_one_is_waited_for(tmp_path: Path) -> None:
    """Active twice, then no more; what the unit did meanwhile is what counts."""
    active = f"test $(grep -c systemctl {tmp_path}/calls) -lt 3 && exit 0; touch {tmp_path}{DONE}; exit 3"
    assert go(tmp_path, "exit 1", active).returncode == 0
    assert told(tmp_path) == ["systemctl", "systemctl", "sleep", "systemctl"]


def test_without_a_sign_the_script_comes_after_a_running_one(tmp_path: Path) -> None:
    active = f"test $(grep -c systemctl {tmp_path}/calls) -lt 3 && exit 0; exit 3"
    assert go(tmp_path, "exit 0", active, done="").returncode == 0
    assert told(tmp_path) == ["systemctl", "sleep", "systemctl", "sleep", "systemctl", "systemd-run"]
    assert go(tmp_path, "exit 7", done="").returncode == 1
