"""Phases: pyinfra's own command line keeps their order across hosts, and a barrier is never a change."""

from __future__ import annotations

import re

import pytest
from fake_runs import printed_by_run

INVENTORY = """\
hosts = [(f"@fake/{name}", {"fake_delay": 0, "fake_delay_jitter": 0}) for name in ("cp1", "w1", "w2")]
"""
# The control plane has more to do in the first phase than the workers, who come first by the number of operations; and
# all phases have theirs at the same line, as tasks in files of their own may: pyinfra goes by lines' numbers alone.
DEPLOY = """\
from types import SimpleNamespace
from pyinfra import host
from pyinfra.operations import server
from kubestage.cluster.phase import phase
from kubestage.cluster.run import run

def does(control_plane, workers):
    def task(plan):
        for command in host.loop(control_plane if plan.name == "@fake/cp1" else workers):
            server.shell(command)
    return task

run(
    [
        phase("First", look_at="")(does(["first a", "first b", "first c"], [])),
        phase("Second", look_at="")(does([], ["second"])),
        phase("Third", look_at="")(does(["third"], [])),
    ],
    check=lambda: SimpleNamespace(name=host.name),
    end=lambda plan: None,
)
"""


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What `pyinfra -y -vv` prints of a run on fake hosts; commands are printed as "[@fake/w1] >>> command"."""
    return printed_by_run(tmp_path_factory.mktemp("phase"), INVENTORY, DEPLOY, "-vv")


def test_order_across_hosts(output: str) -> None:
    commands = re.findall(r">>> .*?((?:first|second|third)(?: [abc])?)\W*$", output, re.MULTILINE)
    assert commands == ["first a", "first b", "first c", "second", "second", "third"]


def test_a_barrier_is_never_a_change(output: str) -> None:
    for title in ("First", "Second", "Third"):
        _, _, after = output.partition(f"--> Starting operation: {title} | done everywhere")
        barrier, _, _ = after.partition("-->")
        assert barrier.count("No changes") == 3 and barrier.count("noop: end of") == 3, barrier
