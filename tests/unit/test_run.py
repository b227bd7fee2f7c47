"""A run's phases, and those of them that a person asks for."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_runs import run
from pyinfra.api.exceptions import PyinfraError

from kubestage.cluster.phase import Phase
from kubestage.cluster.run import chosen

PHASES = [Phase(title, lambda plan: None, "") for title in ("Host", "Control plane", "Join")]
INVENTORY = 'hosts = [("@fake/cp1", {"fake_delay": 0, "fake_delay_jitter": 0})]\n'
DEPLOY = """\
from types import SimpleNamespace
from pyinfra.operations import server
from kubestage.cluster.phase import phase
from kubestage.cluster.run import run

@phase("First", look_at="")
def first(plan):
    server.shell("first")

@phase("Second", look_at="")
def second(plan):
    server.shell("second")

run([first, second], check=lambda: SimpleNamespace(acts_for_all=True), end=lambda plan: server.shell("end"))
"""


@pytest.mark.parametrize(
    ("given", "titles"),
    [
        ({}, ["Host", "Control plane", "Join"]),
        ({"only": "join, control plane"}, ["Control plane", "Join"]),
        ({"skip": "Control plane"}, ["Host", "Join"]),
        ({"only": "Host,Join", "skip": "Host"}, ["Join"]),
        ({"only": ""}, None),
        ({"only": "Host", "skip": "host"}, None),
        ({"domain": "lab.test"}, ["Host", "Control plane", "Join"]),
    ],
)
def test_chosen(given: dict[str, str], titles: list[str] | None) -> None:
    if titles is None:
        with pytest.raises(PyinfraError, match="that leaves no phase\n    -> name one of: Host, Control plane, Join"):
            chosen(PHASES, given)
    else:
        assert [phase.title for phase in chosen(PHASES, given)] == titles


@pytest.mark.parametrize("word", ["only", "skip"])
def test_a_phase_that_is_not_known(word: str) -> None:
    with pytest.raises(PyinfraError) as raised:
        chosen(PHASES, {word: "Host,Controlplane"})
    assert str(raised.value) == (
        f"--data {word}=Host,Controlplane: there is no phase 'Controlplane'; did you mean \"Control plane\"?\n"
        "    -> this run has: Host, Control plane, Join"
    )


def ran(folder: Path, *flags: str) -> tuple[int, str, list[str]]:
    """The exit code, what was printed, and the commands that a host was given."""
    done = run(folder, INVENTORY, DEPLOY, "-vv", *flags)
    commands = [line.rpartition(" ")[2].strip("'\"") for line in done.stderr.splitlines() if ">>> " in line]
    return done.returncode, done.stderr, commands


def test_a_whole_run(tmp_path: Path) -> None:
    code, printed, commands = ran(tmp_path)
    assert (code, commands) == (0, ["first", "second", "end"]) and "left out" not in printed


def test_only_some_phases(tmp_path: Path) -> None:
    code, printed, commands = ran(tmp_path, "--data", "only=second")
    assert (code, commands) == (0, ["second"])
    assert "As asked for, left out: First;" in printed


def test_no_such_phase(tmp_path: Path) -> None:
    code, printed, commands = ran(tmp_path, "--data", "skip=Third")
    assert (code, commands) == (1, []) and "there is no phase 'Third'" in printed and "Traceback" not in printed
