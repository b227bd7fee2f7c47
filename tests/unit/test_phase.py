"""Phases: pyinfra's own command line keeps their order across hosts, and a barrier is never a change."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fake_runs import printed_by_run

from kubestage import phase

INVENTORY = """\
hosts = [(f"@fake/{name}", {"fake_delay": 0, "fake_delay_jitter": 0}) for name in ("cp1", "w1", "w2")]
"""
# The control plane has more to do in the first phase than the workers, who come first by the number of operations.
DEPLOY = """\
from pathlib import Path
from pyinfra import host
from pyinfra.operations import server
from kubestage.phase import phase, report_times

@phase("First")
def first(name):
    if name == "@fake/cp1":
        server.shell("first a")
        server.shell("first b")
        server.shell("first c")

@phase("Second")
def second(name):
    if name != "@fake/cp1":
        server.shell("second")

@phase("Third")
def third(name):
    if name == "@fake/cp1":
        server.shell("third")

first(host.name)
second(host.name)
third(host.name)
if host.name == "@fake/cp1":
    report_times(kept=Path("kept/times"))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("phase")


@pytest.fixture(scope="module")
def output(folder: Path) -> str:
    """What `pyinfra -y -vv` prints of a run on fake hosts; commands are printed as "[@fake/w1] >>> command"."""
    return printed_by_run(folder, INVENTORY, DEPLOY, "-vv")


def test_order_across_hosts(output: str) -> None:
    commands = re.findall(r">>> .*?((?:first|second|third)(?: [abc])?)\W*$", output, re.MULTILINE)
    assert commands == ["first a", "first b", "first c", "second", "second", "third"]


def test_a_barrier_is_never_a_change(output: str) -> None:
    for title in ("First", "Second", "Third"):
        _, _, after = output.partition(f"--> Starting operation: {title} | done everywhere")
        barrier, _, _ = after.partition("-->")
        assert barrier.count("No changes") == 3 and barrier.count("noop: end of") == 3, barrier


def test_times_are_printed_in_the_order_of_the_run_and_kept(output: str, folder: Path) -> None:
    line = r"^ *((?:First|Second|Third) +\d+\.\d s)"
    printed = re.findall(line, output, re.MULTILINE)
    assert [each.split()[0] for each in printed] == ["First", "Second", "Third"]
    assert re.findall(line, (folder / "kept" / "times").read_text(), re.MULTILINE) == printed


def test_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phase, "_begin", 10.0)
    monkeypatch.setattr(phase, "_ended", {"First": 12.5, "Second": 13.0})
    assert phase.times() == {"First": 2.5, "Second": 0.5}
