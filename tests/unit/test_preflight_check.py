"""check(): every host is asked once, at the same time, and all problems come together."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import gevent
import pytest
from fake_hosts import answer, asked
from pyinfra.api.config import Config
from pyinfra.api.connect import connect_all
from pyinfra.api.exceptions import ConnectError, PyinfraError
from pyinfra.api.host import Host
from pyinfra.api.inventory import Inventory
from pyinfra.api.state import State
from pyinfra.connectors.fake import FakeConnector
from pyinfra.context import ctx_state
from pyinfra.context import state as proxy
from sample_cluster import GROUPS, ROOT, hosts_data
from sample_reports import BARE, bare, control_plane, member

from kubestage.checks import preflight

NUMBERS = {"cp1": 11, "w1": 12, "w2": 13}


TRIED = answer(["tried"])  # nothing is in the way to other hosts


def make_state(
    answers: dict[str, Any],
    settings: dict[str, Any] | None = None,
    limit: list[str] | None = None,
    delay: float = 0.0,
    tried: dict[str, list[str]] | None = None,
    images: Any = None,
) -> State:
    """A connected State of fake hosts that answer every command so.

    But for what they have `tried` of each other, and what mirrors have said of `images`.
    """
    data = hosts_data(settings)
    names = [
        (
            name,
            {
                **own,
                "fake_responses": {
                    "perl - ": (tried or {}).get(name, TRIED),
                    "IMAGE URL-OF-MANIFEST": images or [],
                    "": answers[name],
                },
                "fake_delay": delay,
                "fake_delay_jitter": 0,
            },
        )
        for name, own in data.items()
    ]
    groups: dict[str, Any] = {group: (members, {}) for group, members in GROUPS.items()}
    inventory = Inventory((names, {}), **groups, lab=(list(data), {}))  # type: ignore[no-untyped-call]
    for host in inventory:
        host.connector_cls = FakeConnector
    config = Config()  # type: ignore[no-untyped-call]
    state = State(inventory, config, initial_limit=[inventory.get_host(name) for name in limit] if limit else None)
    connect_all(state)
    return state


def executed(state: State) -> dict[str, int]:
    commands = {}
    for host in state.inventory:
        assert isinstance(host.connector, FakeConnector)
        assert all(asked(command) for command in host.connector.executed_commands)
        commands[host.name] = len(host.connector.executed_commands)
    return commands


def last_command(host: Host) -> str:
    assert isinstance(host.connector, FakeConnector)
    command = host.connector.executed_commands[-1]
    return command if isinstance(command, str) else command.get_raw_value()


def fresh() -> dict[str, Any]:
    return {name: stamped(bare(number)) for name, number in NUMBERS.items()}


def stamped(text: str, ahead_s: float = 0) -> list[str]:
    """The answer's lines, by a clock that is so much ahead of ours."""
    now = f"{time.time() + ahead_s:.2f}"
    printed = text.replace("begin 1000.25", f"begin {now}").replace("end 1000.75", f"end {now}")
    return answer(printed.splitlines())


def test_good_hosts() -> None:
    state = make_state(fresh())
    checked = preflight.check(state)
    assert checked.cluster.nodes == ["cp1", "w1", "w2"]
    assert set(checked.reports) == {"cp1", "w1", "w2"}
    assert checked.addresses == {"cp1": "10.0.0.11", "w1": "10.0.0.12", "w2": "10.0.0.13"}
    assert 6443 in checked.reserved_ports and 22 not in checked.reserved_ports
    assert checked.inventory == "lab"
    assert executed(state) == {"cp1": 2, "w1": 2, "w2": 2}  # what each is, and what it reaches of the others


def test_hosts_that_have_joined_are_asked_once() -> None:
    answers = {"cp1": stamped(control_plane()), "w1": stamped(member(12, "w1")), "w2": stamped(member(13, "w2"))}
    state = make_state(answers)
    preflight.check(state)
    assert executed(state) == {"cp1": 1, "w1": 1, "w2": 1}


def test_what_is_in_the_way_between_hosts() -> None:
    answers = {"cp1": stamped(control_plane()), "w1": stamped(member(12, "w1")), "w2": stamped(bare(13))}
    state = make_state(answers, tried={"w1": answer(["failed udp 8472 10.0.0.13 no answer", "tried"])})
    with pytest.raises(preflight.PreflightError, match=r"w1: UDP port = 8472: the pod network of w2 \(10.0.0.13\)"):
        preflight.check(state)
    assert executed(state) == {"cp1": 2, "w1": 2, "w2": 2}
    commands = {host.name: last_command(host) for host in state.inventory}
    assert " 10.0.0.13/tcp:10250,udp:8472/tcp:6443,tcp:10250 " in commands["cp1"]
    assert " 10.0.0.13 10 tcp:10250,udp:8472 10.0.0.11/" in commands["w2"]


def test_a_dashboard_that_mirrors_refuse() -> None:
    """Told with all else that takes a question of its own; the others have the same mirrors, and are not asked."""
    settings = {"mirror": "aliyun", "dashboard": {"flavour": "kube-web-view"}}
    image = "docker.io/hjacobs/kube-web-view:21.2.0"
    urls = ("https://docker.m.daocloud.io", "https://docker.1ms.run", "https://registry-1.docker.io")
    said = [f"image {image} {url}/v2/hjacobs/kube-web-view/manifests/21.2.0 403  Forbidden" for url in urls]
    tried = {"w1": answer(["failed udp 8472 10.0.0.13 no answer", "tried"])}
    state = make_state(fresh(), settings, tried=tried, images=answer(said))
    with pytest.raises(preflight.PreflightError, match=r"(?s)2 problems.*UDP port = 8472.*kube_web_view_image = "):
        preflight.check(state)
    assert executed(state) == {"cp1": 3, "w1": 2, "w2": 2}
    assert f"ask {image} {urls[0]}/v2/hjacobs/kube-web-view/manifests/21.2.0 " in last_command(
        state.inventory.get_host("cp1")
    )


@pytest.mark.parametrize("silent", [[], {"success": False, "stderr": "gone"}], ids=["none", "rc"])
def test_what_mirrors_refuse_is_not_known(silent: Any) -> None:
    state = make_state(fresh(), {"mirror": "aliyun"}, images=silent)
    preflight.check(state)
    assert state.failed_hosts == set()


@pytest.mark.parametrize(
    "silent", [answer(["sh: 1: perl: not found"]), [], {"success": False, "stderr": "gone"}], ids=["perl", "none", "rc"]
)
def test_hosts_that_can_not_try_each_other_are_warned_of(silent: Any, caplog: pytest.LogCaptureFixture) -> None:
    state = make_state(fresh(), tried={"w1": silent})
    with caplog.at_level("WARNING", logger="pyinfra"):
        preflight.check(state)
    assert "w1: it was not tried what it can reach of the other hosts: " in caplog.text
    assert state.failed_hosts == set()


def test_problems_of_two_hosts_come_in_one_error() -> None:
    answers = fresh()
    answers["w1"] = stamped(bare(12).replace("cpus 2", "cpus 1"))
    answers["w2"] = stamped(bare(13).replace("os debian|12", "os debian|10"))
    state = make_state(answers)
    with pytest.raises(PyinfraError) as caught:
        preflight.check(state)
    message = str(caught.value)
    assert message.startswith("Preflight: 2 problems. Nothing was changed.\n")
    assert "w1: cpus = '1': too little" in message
    assert "w2: os = 'debian 10': the operating system is not supported" in message
    assert message.count("\n    -> ") == 2
    assert executed(state) == {"cp1": 1, "w1": 1, "w2": 1}


def test_wrong_settings_are_told_before_any_host_is_asked() -> None:
    state = make_state(fresh(), {"pod_cidr": "10.96.0.0/16", "cluster_domain": "-"})
    with pytest.raises(preflight.PreflightError) as caught:
        preflight.check(state)
    assert [problem.setting for problem in caught.value.problems] == ["cluster_domain", "pod_cidr"]
    assert str(caught.value).startswith("Settings: 2 problems. Nothing was changed.\n")
    assert executed(state) == {"cp1": 0, "w1": 0, "w2": 0}


def test_all_hosts_code_shares_one_check() -> None:
    state = make_state(fresh(), delay=0.05)
    # As pyinfra does it: a greenlet a host, in a pool with no room to spare.
    results = [state.pool.spawn(preflight.check, state) for _ in state.inventory]
    gevent.joinall(results, timeout=10)
    first = results[0].get(block=False)
    assert all(result.get(block=False) is first for result in results)
    assert executed(state) == {"cp1": 2, "w1": 2, "w2": 2}


def test_all_hosts_code_shares_one_failure() -> None:
    state = make_state({**fresh(), "w1": stamped(bare(12).replace("cpus 2", "cpus 1"))})
    for _ in range(2):
        with pytest.raises(preflight.PreflightError, match="w1: cpus"):
            preflight.check(state)
    assert executed(state) == {"cp1": 1, "w1": 1, "w2": 1}


def test_by_the_proxy_that_deploy_code_has() -> None:
    state = make_state(fresh())
    with ctx_state.use(state):
        assert preflight.check(proxy) is preflight.check(state)


def test_limit_asks_the_control_plane_as_well() -> None:
    answers = {"cp1": stamped(control_plane()), "w1": stamped(member(12, "w1")), "w2": ["nonsense"]}
    state = make_state(answers, limit=["w1"])
    checked = preflight.check(state)
    assert set(checked.reports) == {"cp1", "w1"}
    assert executed(state) == {"cp1": 1, "w1": 1, "w2": 0}


def test_limit_still_validates_the_settings_of_all() -> None:
    state = make_state(fresh(), limit=["w1"])
    state.inventory.get_host("w2").data.node_taints = ["x"]
    with pytest.raises(preflight.PreflightError, match=r"w2: node_taints\.0 = 'x': not a taint"):
        preflight.check(state)


def test_a_control_plane_that_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    state = make_state({**fresh(), "w1": stamped(member(12, "w1"))}, limit=["w1"])
    cp1 = state.inventory.get_host("cp1")

    def refuse() -> None:
        raise ConnectError("Could not connect (timed out)")

    monkeypatch.setattr(cp1.connector, "connect", refuse)
    with pytest.raises(preflight.PreflightError) as caught:
        preflight.check(state)
    assert len(caught.value.problems) == 1  # w1 is not called a stranger for it
    assert "cp1: it can't be reached: Could not connect (timed out)" in str(caught.value)
    assert "whatever --limit says" in str(caught.value)


@pytest.mark.parametrize(
    "answer",
    [
        {"success": False, "stderr": "sudo: a password is required"},
        [],
        answer(["uid 0"]),
        answer(["begin 1", "garbage", "end 2"]),
        answer(BARE.splitlines())[:-2],
    ],
    ids=["sudo", "silence", "too little", "garbage", "cut off"],
)
def test_a_host_without_a_good_answer(answer: Any) -> None:
    state = make_state({**fresh(), "w1": answer, "w2": stamped(bare(13).replace("cpus 2", "cpus 1"))})
    with pytest.raises(preflight.PreflightError) as caught:
        preflight.check(state)
    assert [problem.where for problem in caught.value.problems] == ["w1", "w2"]
    assert "gave no answer that makes sense" in str(caught.value)
    assert state.failed_hosts == set()


def test_an_api_that_does_not_answer_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    unknown = control_plane().replace("cluster known", "cluster unknown connection refused")
    workers = {"w1": stamped(member(12, "w1")), "w2": stamped(member(13, "w2"))}
    with caplog.at_level("WARNING", logger="pyinfra"):
        preflight.check(make_state({"cp1": stamped(unknown), **workers}))
    assert "NodePorts in use were not compared" in caplog.text and "connection refused" in caplog.text


def ahead(seconds: float) -> dict[str, Any]:
    """Fresh hosts whose clocks are that much ahead of ours."""
    return {name: stamped(bare(number), seconds) for name, number in NUMBERS.items()}


@pytest.mark.parametrize(("seconds", "said"), [(7200, r"7[12]\d\d s behind"), (-7200, r"7[12]\d\d s ahead of")])
def test_this_machine_s_clock_is_compared_too(seconds: float, said: str) -> None:
    with pytest.raises(preflight.PreflightError) as caught:
        preflight.check(make_state(ahead(seconds)))
    (problem,) = caught.value.problems
    assert problem.where == "this machine" and re.search(f"{said} most hosts", problem.reason)


def test_this_machine_s_clock_is_a_little_off(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("WARNING", logger="pyinfra"):
        preflight.check(make_state(ahead(60)))
    said = r"This machine's clock is (5[5-9]|60) s behind most hosts', which is more than max_clock_skew_s = 5"
    assert re.search(said, caplog.text)


def test_one_host_s_clock_is_not_this_machine_s(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(preflight.PreflightError) as caught, caplog.at_level("WARNING", logger="pyinfra"):
        preflight.check(make_state({**fresh(), "w1": ahead(7200)["w1"]}))
    assert [problem.where for problem in caught.value.problems] == ["w1"]
    assert "This machine" not in caplog.text


def test_a_login_that_prints_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """It is in no answer, and so no reason to stop."""
    answers = {name: [line for line in lines if line not in ("Welcome", "Goodbye")] for name, lines in fresh().items()}
    answers["w1"] = ["Welcome to w1,", "a host of " + "very " * 30 + "good will", "", *answers["w1"], "", "Goodbye"]
    with caplog.at_level("WARNING", logger="pyinfra"):
        preflight.check(make_state(answers))
    (told,) = [record.getMessage() for record in caplog.records if "prints" in record.getMessage()]
    assert told.startswith("w1: its login prints 'Welcome to w1, a host of very very")
    assert "good will" not in told and "~/.bashrc" in told and "ForceCommand" in told


FLAGS = pytest.mark.parametrize("flags", [["-y"], ["--dry"], ["--dry", "--json"], ["-y", "--json"]], ids=" ".join)

# pyinfra's own command line, with hosts that answer from a file instead of over SSH.
COMMAND_LINE = """\
from pyinfra_cli.main import main
from pyinfra.api import inventory
from pyinfra.connectors.fake import FakeConnector
connectors = inventory.get_execution_connectors()
inventory.get_execution_connectors = lambda: {**connectors, "ssh": FakeConnector}
main()
"""
DEPLOY = """\
from pyinfra import logger, state
from pyinfra.operations import server
from kubestage.checks import preflight
checked = preflight.check(state)
logger.info(f"checked {checked.inventory}: {checked.cluster.nodes}")
server.shell("true")
"""


def command_line(
    folder: Path, answers: dict[str, Any], flags: list[str], **settings: Any
) -> subprocess.CompletedProcess[str]:
    """Run pyinfra on a deploy file that checks and then has one operation."""
    hosts = {
        name: {
            "ssh_hostname": f"10.0.0.{number}",
            "fake_responses": {"perl - ": TRIED, "": answers[name]},
            "fake_delay": 0,
        }
        for name, number in NUMBERS.items()
    }
    inventory = {group: [(name, hosts[name]) for name in names] for group, names in GROUPS.items()}
    (folder / "pyinfra_on_fake_hosts.py").write_text(COMMAND_LINE)
    (folder / "deploy.py").write_text(DEPLOY)
    (folder / "testing.py").write_text("\n".join(f"{group} = {members!r}" for group, members in inventory.items()))
    (folder / "group_data").mkdir()
    (folder / "group_data" / "all.py").symlink_to(ROOT / "group_data" / "all.py")
    own = {"fake_delay_jitter": 0, **settings}
    (folder / "group_data" / "testing.py").write_text("\n".join(f"{name} = {value!r}" for name, value in own.items()))
    return subprocess.run(
        [sys.executable, "pyinfra_on_fake_hosts.py", "testing.py", "deploy.py", *flags],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYINFRA_PROGRESS": "off"},
        capture_output=True,
        text=True,
        check=False,  # the exit code is what is tested
        stdin=subprocess.DEVNULL,
        timeout=60,
    )


@FLAGS
def test_command_line_goes_on_when_all_is_well(flags: list[str], tmp_path: Path) -> None:
    result = command_line(tmp_path, fresh(), flags)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("checked testing: ['cp1', 'w1', 'w2']") == 3


@FLAGS
def test_command_line_stops_at_problems_of_hosts(flags: list[str], tmp_path: Path) -> None:
    answers = {name: [line.replace("cpus 2", "cpus 1") for line in lines] for name, lines in fresh().items()}
    result = command_line(tmp_path, answers, flags)
    assert result.returncode == 1
    assert "Preflight: 3 problems. Nothing was changed." in result.stderr
    assert all(f"{name}: cpus = '1': too little" in result.stderr for name in NUMBERS)
    assert "Traceback" not in result.stderr and "checked" not in result.stderr


@FLAGS
def test_command_line_stops_at_wrong_settings(flags: list[str], tmp_path: Path) -> None:
    result = command_line(tmp_path, fresh(), flags, pod_cidr="10.96.0.0/16", domian="x")
    assert result.returncode == 1
    assert "Settings: 2 problems. Nothing was changed." in result.stderr
    assert "all hosts: pod_cidr = '10.96.0.0/16': it overlaps service_cidr" in result.stderr
    assert "all hosts: domian = 'x': no such setting; did you mean \"domain\"?" in result.stderr
    assert "Traceback" not in result.stderr and "checked" not in result.stderr
