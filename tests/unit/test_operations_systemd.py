"""Services: enabled, started, restarted when they run with an old configuration; left alone when all is right."""

from __future__ import annotations

from typing import Any

import pytest
from fake_hosts import Facts, Hosts, Replies, fact, most_at_once, run
from pyinfra.api import OperationError
from pyinfra.api.exceptions import PyinfraError

from kubestage.facts.files import Missing
from kubestage.facts.units import UnitStates
from kubestage.operations import systemd

CONFIG = {"containerd.service": ["/etc/containerd/config.toml"], "docker.service": ["/etc/docker/daemon.json"]}


def unit(
    name: str,
    load: str = "loaded",
    file: str = "enabled",
    active: str = "active",
    stale: bool = False,
    reload: str = "no",
) -> list[str]:
    """What UnitStates prints of a unit; all is right with it unless said otherwise."""
    return [
        f"LoadState={load}",
        f"ActiveState={active}",
        f"UnitFileState={file}",
        f"NeedDaemonReload={reload}",
        *(["Stale=yes"] if stale else []),
        f"Unit={name}",
    ]


GOOD = unit("docker.service")
RESTART = "systemctl daemon-reload && systemctl restart containerd.service"


def services(containerd: list[str]) -> list[str]:
    facts = {fact(UnitStates, units=CONFIG): [*containerd, *GOOD]}
    return run(systemd.services, facts, units=CONFIG)


@pytest.mark.parametrize(
    ("containerd", "commands"),
    [
        (unit("containerd.service"), []),
        (unit("containerd.service", stale=True), [RESTART]),
        (unit("containerd.service", active="inactive"), [RESTART]),
        (unit("containerd.service", active="failed", stale=True), [RESTART]),
        (unit("containerd.service", file="disabled"), ["systemctl enable --quiet containerd.service"]),
        (unit("containerd.service", file="static"), []),
        (unit("containerd.service", reload="yes"), [RESTART]),
        (
            unit("containerd.service", file="disabled", active="inactive", reload="yes"),
            [
                "systemctl enable --quiet containerd.service",
                RESTART,
            ],
        ),
    ],
    ids=["right", "stale", "stopped", "failed", "disabled", "static", "reload", "all"],
)
def test_services(containerd: list[str], commands: list[str]) -> None:
    assert services(containerd) == commands


@pytest.mark.parametrize(
    ("containerd", "command"),
    [
        (unit("containerd.service", stale=True), RESTART.replace("restart", "reload-or-restart")),
        (unit("containerd.service", active="inactive"), RESTART.replace("restart", "reload-or-restart")),
        (unit("containerd.service", reload="yes"), RESTART),  # a new unit file is of no use to a process that runs
        ([], None),
    ],
)
def test_those_that_reload(containerd: list[str], command: str | None) -> None:
    facts = {fact(UnitStates, units=CONFIG): [*(containerd or unit("containerd.service")), *GOOD]}
    assert run(systemd.services, facts, units=CONFIG, reloads=True) == ([command] if command else [])


def test_all_of_them_in_one_command() -> None:
    facts = {
        fact(UnitStates, units=CONFIG): [
            *unit("containerd.service", active="inactive"),
            *unit("docker.service", stale=True),
        ]
    }
    assert run(systemd.services, facts, units=CONFIG) == [
        "systemctl daemon-reload && systemctl restart containerd.service docker.service"
    ]


class TestOneHostAfterTheOther:
    NAMES = ("w1", "w2", "w3")
    RESTART = "systemctl daemon-reload && systemctl restart containerd.service docker.service"

    def hosts(self, replies: Replies | None = None, active: str = "active") -> Hosts:
        """All of them run what is not on disk, or don't run."""
        units = [line for name in CONFIG for line in unit(name, active=active, stale=True)]
        facts = {key: {fact(UnitStates, units=CONFIG): units} for key in self.NAMES}
        hosts = Hosts(facts, dict.fromkeys(self.NAMES, replies or {}), {"fake_delay": 0.03})
        for name in self.NAMES:
            hosts.prepare(name, systemd.services, units=CONFIG)
        return hosts

    def test_a_restart_of_what_runs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        hosts = self.hosts()
        assert most_at_once(hosts, "systemctl restart", monkeypatch) == 1
        assert {name: hosts.commands(name) for name in self.NAMES} == {key: [self.RESTART] for key in self.NAMES}

    def test_a_start_of_what_does_not_run(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert most_at_once(self.hosts(active="inactive"), "systemctl restart", monkeypatch) == 3

    def test_none_is_restarted_after_a_failure(self) -> None:
        hosts = self.hosts({"systemctl restart": {"success": False}})
        with pytest.raises(PyinfraError) as error:
            hosts.execute()
        (first,) = (name for name in self.NAMES if hosts.commands(name))
        assert f"not restarted here, as that has failed on {first}" in str(error.value)


@pytest.mark.parametrize("load", ["not-found", "masked", "bad-setting"])
def test_unit_that_can_not_be_used(load: str) -> None:
    """It may come with a package of this very run: only when it is missing then is it an error."""
    hosts = Hosts({"w1": {fact(UnitStates, units=CONFIG): [*unit("containerd.service", load=load), *GOOD]}})
    hosts.prepare("w1", systemd.services, units=CONFIG)
    with pytest.raises(OperationError, match="w1: systemd has no usable unit containerd") as error:
        hosts.execute()
    assert "`systemctl status containerd.service`" in str(error.value)
    assert hosts.commands("w1") == []


CLOCKS = ("chrony.service", "systemd-timesyncd.service")


def first_present(*lines: str) -> list[str]:
    facts: Facts = {fact(UnitStates, units={name: () for name in CLOCKS}): lines}
    return run(systemd.first_service, facts, units=CLOCKS)


class TestFirstPresent:
    def test_the_first_runs(self) -> None:
        assert first_present(*unit(CLOCKS[0]), *unit(CLOCKS[1], active="inactive")) == []

    @pytest.mark.parametrize("wrong", [{"active": "inactive"}, {"file": "disabled"}], ids=str)
    def test_the_first_does_not_run(self, wrong: dict[str, Any]) -> None:
        commands = first_present(*unit(CLOCKS[0], **wrong), *unit(CLOCKS[1]))
        assert commands == ["systemctl enable --quiet --now chrony.service"]

    def test_the_first_is_not_here(self) -> None:
        commands = first_present(*unit(CLOCKS[0], load="not-found"), *unit(CLOCKS[1], active="inactive"))
        assert commands == ["systemctl enable --quiet --now systemd-timesyncd.service"]

    def test_none_is_here(self) -> None:
        assert first_present(*unit(CLOCKS[0], load="not-found"), *unit(CLOCKS[1], load="masked")) == []


FILES = ["/etc/systemd/system/x.timer", "/etc/systemd/system/x.service"]


@pytest.mark.parametrize("missing", [[], FILES[:1]])
def test_a_unit_that_is_not_to_be_there(missing: list[str]) -> None:
    facts: Facts = {fact(Missing, paths=FILES): missing}
    (command,) = run(systemd.no_unit, facts, unit="x.timer", files=FILES)
    assert "systemctl disable --quiet --now x.timer" in command
    assert command.endswith(f"rm -f {' '.join(sorted(set(FILES) - set(missing)))} && systemctl daemon-reload")


def test_a_unit_that_is_gone() -> None:
    assert run(systemd.no_unit, {fact(Missing, paths=FILES): FILES}, unit="x.timer", files=FILES) == []
