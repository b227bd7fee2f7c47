"""Services: enabled, started, restarted when their configuration is newer; and left alone when all is right."""

from __future__ import annotations

import pytest
from fake_hosts import Facts, Hosts, fact, run
from pyinfra.api import OperationError

from kubestage.facts.units import UnitStates
from kubestage.operations import systemd

CONFIG = {"containerd.service": ["/etc/containerd/config.toml"], "docker.service": ["/etc/docker/daemon.json"]}


def unit(
    name: str,
    load: str = "loaded",
    file: str = "enabled",
    active: str = "active",
    started: str = "Tue 2026-11-24 15:00:00.000000 UTC",
    newest: str = "",
    reload: str = "no",
) -> list[str]:
    """What UnitStates prints of a unit; all is right with it unless said otherwise."""
    return [
        f"LoadState={load}",
        f"ActiveState={active}",
        f"UnitFileState={file}",
        f"ActiveEnterTimestamp={started}",
        f"NeedDaemonReload={reload}",
        f"Newest={newest}",
        f"Unit={name}",
    ]


GOOD = unit("docker.service")
BEFORE, AFTER = "1795532399.5", "1795532400.25"  # 2026-11-24 15:00:00 UTC is 1795532400


def services(containerd: list[str]) -> list[str]:
    facts = {fact(UnitStates, units=CONFIG): [*containerd, *GOOD]}
    return run(systemd.services, facts, units=CONFIG)


@pytest.mark.parametrize(
    ("containerd", "commands"),
    [
        (unit("containerd.service"), []),
        (unit("containerd.service", newest=BEFORE), []),
        (unit("containerd.service", newest=AFTER), ["systemctl restart containerd.service"]),
        (unit("containerd.service", active="inactive"), ["systemctl restart containerd.service"]),
        (unit("containerd.service", active="failed", newest=AFTER), ["systemctl restart containerd.service"]),
        (unit("containerd.service", active="inactive", started=""), ["systemctl restart containerd.service"]),
        (unit("containerd.service", file="disabled"), ["systemctl enable --quiet containerd.service"]),
        (unit("containerd.service", file="static"), []),
        (unit("containerd.service", reload="yes"), ["systemctl daemon-reload", "systemctl restart containerd.service"]),
        (
            unit("containerd.service", file="disabled", active="inactive", reload="yes"),
            [
                "systemctl daemon-reload",
                "systemctl enable --quiet containerd.service",
                "systemctl restart containerd.service",
            ],
        ),
    ],
    ids=["right", "older file", "newer file", "stopped", "failed", "never", "disabled", "static", "reload", "all"],
)
def test_services(containerd: list[str], commands: list[str]) -> None:
    assert services(containerd) == commands


def test_all_of_them_in_one_command() -> None:
    facts = {
        fact(UnitStates, units=CONFIG): [
            *unit("containerd.service", active="inactive"),
            *unit("docker.service", newest=AFTER),
        ]
    }
    assert run(systemd.services, facts, units=CONFIG) == ["systemctl restart docker.service containerd.service"]


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
    return run(systemd.first_present, facts, units=CLOCKS)


class TestFirstPresent:
    def test_the_first_runs(self) -> None:
        assert first_present(*unit(CLOCKS[0]), *unit(CLOCKS[1], active="inactive")) == []

    @pytest.mark.parametrize("wrong", [{"active": "inactive"}, {"file": "disabled"}], ids=str)
    def test_the_first_does_not_run(self, wrong: dict[str, str]) -> None:
        commands = first_present(*unit(CLOCKS[0], **wrong), *unit(CLOCKS[1]))
        assert commands == ["systemctl enable --quiet --now chrony.service"]

    def test_the_first_is_not_here(self) -> None:
        commands = first_present(*unit(CLOCKS[0], load="not-found"), *unit(CLOCKS[1], active="inactive"))
        assert commands == ["systemctl enable --quiet --now systemd-timesyncd.service"]

    def test_none_is_here(self) -> None:
        assert first_present(*unit(CLOCKS[0], load="not-found"), *unit(CLOCKS[1], load="masked")) == []
