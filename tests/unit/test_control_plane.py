"""What hosts ask the control plane alike is asked once, as long as it holds; an API that is silent is waited for."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any

import pytest
from fake_hosts import Hosts, RecordingConnector, answer, fact
from pyinfra import host
from pyinfra.api import OperationError, StringCommand
from pyinfra.api.operation import operation
from pyinfra.connectors.util import CommandOutput, OutputLine
from sample_cluster import GROUPS, hosts_data
from sample_reports import bare
from sample_reports import control_plane as control_plane_report

from kubestage.checks.cluster_hosts import leader
from kubestage.checks.load import load
from kubestage.cluster import connections, control_plane
from kubestage.cluster.control_plane import ControlPlane
from kubestage.facts.host_report import parse
from kubestage.facts.kubernetes import Nodes

NAMES = ["cp1", "cp2", "cp3"]
WORKERS = [f"w{number}" for number in range(30)]


@operation()
def asking(speaker: ControlPlane, change: bool = False) -> Generator[StringCommand, None, None]:
    speaker.ask(Nodes)
    if change:
        yield StringCommand("change")
    else:
        host.noop("asked")


def cluster() -> Hosts:
    facts = {fact(Nodes): ['{"items": []}']}
    return Hosts({"cp1": facts, **{name: {} for name in WORKERS}})


def asked(hosts: Hosts) -> int:
    return hosts.everything("cp1").count(fact(Nodes))


def prepare(hosts: Hosts, **arguments: Any) -> None:
    for name in WORKERS:
        hosts.prepare(name, asking, speaker=hosts.speaker, **arguments)


def test_asked_once_in_the_preparation_and_once_at_work() -> None:
    hosts = cluster()
    prepare(hosts)
    prepare(hosts)
    assert asked(hosts) == 1
    hosts.execute()
    assert asked(hosts) == 2


def test_asked_anew_once_something_was_changed() -> None:
    hosts = cluster()
    prepare(hosts, change=True)
    prepare(hosts)
    prepare(hosts)
    hosts.execute()
    assert asked(hosts) == 3  # in the preparation, by the operation that changes, and by those after it together


def test_another_question_is_another() -> None:
    hosts = cluster()
    answers = [hosts.speaker.ask(Nodes), hosts.speaker.ask(Nodes, fresh=True)]
    assert answers == [{}, {}]
    assert asked(hosts) == 2


def test_one_speaker_a_run() -> None:
    hosts = cluster()
    assert control_plane.of_run(hosts.state, ["cp1"], 0) is hosts.speaker
    assert cluster().speaker is not hosts.speaker


class Silent:
    """A control plane whose API answers from the `after`th question of the execution on."""

    def __init__(self, after: int, fails: bool = False) -> None:
        self.hosts = cluster()
        self.left, self.fails = after, fails
        connector = self.hosts["cp1"].connector
        assert isinstance(connector, RecordingConnector)
        connector._lookup_response = self._answer  # type: ignore[method-assign]

    def _answer(self, command_str: str) -> tuple[bool, CommandOutput]:
        self.left -= self.hosts.state.is_executing
        line = "unknown connection refused" if self.left >= 0 else '{"items": []}'
        return not self.fails, CommandOutput([OutputLine("stdout", printed) for printed in answer([line])])


def test_a_silent_one_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_plane, "_AGAIN_S", 0.01)
    silent = Silent(after=3)
    speaker = control_plane.of_run(silent.hosts.state, ["cp1"], timeout_s=60)
    prepare(silent.hosts)  # nobody waits in the preparation
    assert asked(silent.hosts) == 1
    silent.hosts.execute()
    assert asked(silent.hosts) == 5
    assert speaker.ask(Nodes) == {}


def test_one_that_stays_silent_ends_the_run_once_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_plane, "_AGAIN_S", 0.01)
    silent = Silent(after=1000000)
    control_plane.of_run(silent.hosts.state, ["cp1"], timeout_s=0.1)
    prepare(silent.hosts)
    with pytest.raises(
        OperationError, match="cp1: for 0 s the API server gave no answer: connection refused\nSee there"
    ):
        silent.hosts.execute()
    assert asked(silent.hosts) < 15  # not 30 times a wait
    with pytest.raises(OperationError, match="gave no answer"):
        silent.hosts.speaker.ask(Nodes)


def test_a_host_that_can_not_be_asked_is_not_one_without_nodes() -> None:
    silent = Silent(after=1000000, fails=True)
    prepare(silent.hosts)
    with pytest.raises(OperationError, match="cp1: for 0 s the API server gave no answer"):
        silent.hosts.execute()
    assert silent.hosts["cp1"] in silent.hosts.state.active_hosts  # it is not the one whose operation fails


def test_what_is_made_once() -> None:
    hosts = Hosts({"cp1": {}}, {"cp1": {"mint": ["token"], "fail": {"success": False}}})
    assert [hosts.speaker.run_once("mint"), hosts.speaker.run_once("mint")] == [(True, "token")] * 2
    assert [hosts.speaker.run_once("fail")[0], hosts.speaker.run_once("fail")[0]] == [False] * 2
    assert hosts.commands("cp1") == ["mint", "fail"]


REPORTS = {
    "answers": control_plane_report(),
    "silent": control_plane_report().replace("cluster known", "cluster unknown refused"),
    "blank": bare(11),
}


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (["blank", "blank", "blank"], "cp1"),
        (["blank", "answers", "answers"], "cp2"),
        (["silent", "blank", "answers"], "cp3"),
        (["blank", "silent", "silent"], "cp2"),
        (["", "blank", "silent"], "cp3"),
        (["", "blank", "blank"], "cp1"),
    ],
)
def test_the_one_that_answers_speaks(found: list[str], wanted: str) -> None:
    cluster = replace(load(hosts_data(), GROUPS), groups={"control_plane": NAMES}, raw={name: {} for name in NAMES})
    lines = {name: REPORTS[which].splitlines() for name, which in zip(NAMES, found, strict=True) if which}
    reports = {name: parse(said, 0, 0) for name, said in lines.items()}
    assert leader(cluster, reports) == wanted


def test_the_next_one_is_asked_where_one_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = Hosts({"cp1": {}, "cp2": {fact(Nodes): ['{"items": []}']}})
    monkeypatch.setattr(connections, "lost", lambda host: "cp1 is gone" if host.name == "cp1" else "")
    speaker = control_plane.of_run(hosts.state, ["cp1", "cp2"], timeout_s=0)
    assert speaker.ask(Nodes) == {} and speaker.name == "cp2"


def test_none_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = Hosts({"cp1": {}, "cp2": {}})
    monkeypatch.setattr(connections, "lost", lambda host: f"{host.name} is gone")
    with pytest.raises(OperationError, match="cp2 is gone"):
        control_plane.of_run(hosts.state, ["cp1", "cp2"], timeout_s=0).ask(Nodes)
