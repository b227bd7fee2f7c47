"""The kubelet: running with what is on disk, and waited for after a restart."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_hosts import fact, run
from stub_programs import calls, run_with

from kubestage.facts.units import UnitStates
from kubestage.operations import kubelet

CONFIG = "/etc/kubernetes/kubelet.conf.d/kubestage.conf"
STARTED = 1795532400  # 2026-11-24 15:00:00 UTC


def commands(written: float = STARTED - 1, active: str = "active") -> list[str]:
    state = [
        "LoadState=loaded",
        f"ActiveState={active}",
        "UnitFileState=enabled",
        "ActiveEnterTimestamp=Tue 2026-11-24 15:00:00.000000 UTC",
        "NeedDaemonReload=no",
        f"Newest={written}",
        "Unit=kubelet.service",
    ]
    facts = {fact(UnitStates, units={"kubelet.service": [CONFIG]}): state}
    return run(kubelet.running, facts, configuration=[CONFIG])


def test_it_runs_with_its_settings() -> None:
    assert commands() == []


@pytest.mark.parametrize("restart", [commands(written=STARTED + 1), commands(active="activating")])
def test_a_restart_is_waited_for(restart: list[str]) -> None:
    first, wait = restart
    assert first == "systemctl restart kubelet.service"
    assert wait.startswith("timeout 60 sh -c ")


@pytest.mark.parametrize(("line", "runs"), [("0100007F:2808 00000000:0000 0A", True), ("0100007F:2808 x 01", False)])
def test_what_it_waits_for(tmp_path: Path, line: str, runs: bool) -> None:
    (tmp_path / "proc/net").mkdir(parents=True)
    (tmp_path / "proc/net/tcp").write_text(f"   0: {line} 00000000:00000000\n")
    wait = commands(written=STARTED + 1)[1].replace("timeout 60", "timeout 0.5")
    result = run_with(tmp_path, wait, {"journalctl": "echo unknown field >&2"}, moved=("/proc/net",))
    assert result.returncode == (0 if runs else 1)
    assert (calls(tmp_path) == []) is runs
    assert ("does not run 60 s later" in result.stderr) is not runs
