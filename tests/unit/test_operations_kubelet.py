"""The kubelet: running with what is on disk, and waited for after a restart."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_hosts import fact, run
from stub_programs import calls, run_with

from kubestage.facts.units import UnitStates
from kubestage.operations import kubelet

CONFIG = "/etc/kubernetes/kubelet.conf.d/kubestage.conf"


def commands(stale: bool = False, active: str = "active") -> list[str]:
    state = [
        "LoadState=loaded",
        f"ActiveState={active}",
        "UnitFileState=enabled",
        "NeedDaemonReload=no",
        *(["Stale=yes"] if stale else []),
        "Unit=kubelet.service",
    ]
    facts = {fact(UnitStates, units={"kubelet.service": [CONFIG]}): state}
    return run(kubelet.service, facts, configuration=[CONFIG], timeout_s=60)


def test_it_runs_with_its_settings() -> None:
    assert commands() == []


@pytest.mark.parametrize("restart", [commands(stale=True), commands(active="activating")])
def test_a_restart_is_waited_for(restart: list[str]) -> None:
    (command,) = restart
    assert command.startswith("systemctl daemon-reload && systemctl restart kubelet.service && { timeout 60 sh -c ")


@pytest.mark.parametrize(("line", "runs"), [("0100007F:2808 00000000:0000 0A", True), ("0100007F:2808 x 01", False)])
def test_what_it_waits_for(tmp_path: Path, line: str, runs: bool) -> None:
    (tmp_path / "proc/net").mkdir(parents=True)
    (tmp_path / "proc/net/tcp").write_text(f"   0: {line} 00000000:00000000\n")
    (command,) = commands(stale=True)
    programs = {"journalctl": "echo unknown field >&2", "systemctl": ""}
    result = run_with(tmp_path, command.replace("timeout 60", "timeout 0.5"), programs, moved=("/proc/net",))
    assert result.returncode == (0 if runs else 1)
    assert ("journalctl" not in " ".join(calls(tmp_path))) is runs
    assert ("does not run 60 s later" in result.stderr) is not runs
