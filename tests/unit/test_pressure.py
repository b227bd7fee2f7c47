"""A node that is short of something is named in one line: by status, and by a run that waits in vain."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from stub_programs import run_with

from kubestage.facts.pressure import Left, by_summary, pressures, told
from kubestage.operations.explained import or_explained

GIB = 2**30
MEMORY = {"availableBytes": 90 * 2**20, "workingSetBytes": 3910 * 2**20, "usageBytes": 1}


def disk(free: int, whole: int, inodes: tuple[int, int] = (900, 1000)) -> dict[str, Any]:
    """As stats/summary has it: sizes in GiB here."""
    return {
        "time": "2026-11-26T01:00:00Z",
        "availableBytes": free * GIB,
        "capacityBytes": whole * GIB,
        "usedBytes": 7,
        "inodesFree": inodes[0],
        "inodes": inodes[1],
        "inodesUsed": 1,
    }


def summary(fs: dict[str, Any], images: dict[str, Any]) -> dict[str, Any]:
    """In the order of the kubelet's own answer (1.36)."""
    node = {
        "nodeName": "w1",
        "systemContainers": [{"name": "kubelet", "memory": {"availableBytes": 1, "workingSetBytes": 1}}],
        "startTime": "2026-11-26T01:00:00Z",
        "cpu": {"usageNanoCores": 1},
        "memory": MEMORY,
        "network": {"name": "", "interfaces": [{"name": "eth0"}]},
        "fs": fs,
        "runtime": {"imageFs": images, "containerFs": images},
        "rlimit": {"maxpid": 4000, "curproc": 3999},
    }
    return {"node": node, "pods": [{"podRef": {"name": "a"}, "memory": {"availableBytes": 2}, "volume": [{"fs": {}}]}]}


ONE_DISK = summary(disk(14, 200), disk(14, 200))
KINDS = {
    "one disk": (ONE_DISK, "DiskPressure", "w1: DiskPressure: 7 % of the images' disk free (14.0 of 200.0 GiB)"),
    "two disks": (
        summary(disk(80, 100), disk(10, 100)),
        "DiskPressure",
        "w1: DiskPressure: 10 % of the images' disk free (10.0 of 100.0 GiB), "
        "80 % of the pods' disk free (80.0 of 100.0 GiB)",
    ),
    "inodes": (
        summary(disk(50, 100, (30, 1000)), disk(50, 100, (30, 1000))),
        "DiskPressure",
        "w1: DiskPressure: 50 % of the images' disk free (50.0 of 100.0 GiB), "
        "3 % of the inodes of the images' disk free (30 of 1000)",
    ),
    "memory": (ONE_DISK, "MemoryPressure", "w1: MemoryPressure: 2 % of its memory free (0.1 of 3.9 GiB)"),
    "process ids": (ONE_DISK, "PIDPressure", "w1: PIDPressure: 0 % of its process ids free (1 of 4000)"),
    "no account": ({}, "DiskPressure", "w1: DiskPressure"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_by_the_kubelets_account(kind: str) -> None:
    account, pressure, line = KINDS[kind]
    assert told("w1", pressure, by_summary(pressure, account)) == line


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("indent", [None, 1])
def test_in_a_hosts_shell(tmp_path: Path, kind: str, indent: int | None) -> None:
    """Instead of the explanation, and only where a node is short of something."""
    account, pressure, line = KINDS[kind]
    (tmp_path / "summary").write_text(json.dumps(account, indent=indent, separators=None if indent else (",", ":")))
    kubectl = (
        f'case "$*" in *"get nodes"*) printf "cp1 Ready\\nw1 {pressure} Ready\\n" ;; '
        f"*/api/v1/nodes/w1/proxy/stats/summary*) cat {tmp_path}/summary ;; *) exit 1 ;; esac"
    )
    result = run_with(tmp_path, "false " + or_explained("echo much more"), {"kubectl": kubectl})
    assert (result.returncode, result.stderr, result.stdout) == (1, f"{line}\n", "")


@pytest.mark.parametrize("nodes", ['printf "cp1 Ready\\nw1\\n"', "exit 1"], ids=["none is short", "no API"])
def test_what_else_may_be_wrong_is_explained(tmp_path: Path, nodes: str) -> None:
    result = run_with(tmp_path, "false " + or_explained("echo much; echo more"), {"kubectl": nodes})
    assert (result.returncode, result.stderr, result.stdout) == (1, "much\nmore\n", "")
    assert run_with(tmp_path, "true " + or_explained("echo more"), {"kubectl": nodes}).returncode == 0


def test_pressures() -> None:
    conditions = [("MemoryPressure", "False"), ("DiskPressure", "True"), ("PIDPressure", "Unknown"), ("Ready", "True")]
    assert pressures(conditions) == ["DiskPressure"]


def test_nothing_at_all() -> None:
    assert str(Left("its disk", 0, 0)) == "0 % of its disk free (0.0 of 0.0 GiB)"
