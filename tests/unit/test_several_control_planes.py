"""Several control plane hosts: who leads, who is of the cluster, what is refused, and what a run gives each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sample_cluster import NO_SPEAKER, group_data
from sample_reports import OTHER_CA, bare, control_plane, inline, member

from kubestage.checks.cluster_hosts import ClusterHosts
from kubestage.checks.load import load
from kubestage.checks.preflight import RULES, WARNINGS, Checked
from kubestage.checks.warnings import volumes_out_of_reach
from kubestage.cluster.plan import HostPlan
from kubestage.facts.host_report import HostReport, Node, Volume, parse
from kubestage.kubernetes import RESET
from kubestage.render import kubeadm
from kubestage.settings import SettingsError
from kubestage.stacks.catalogue import chosen

NUMBERS = {"cp1": 11, "cp2": 21, "cp3": 31, "w1": 12}
GROUPS = {"control_plane": ["cp1", "cp2", "cp3"], "workers": ["w1"]}


def host_data(number: int) -> dict[str, Any]:
    return {**group_data(), "ssh_hostname": f"10.0.0.{number}", "ssh_user": "root", "_sudo": False}


def of_control_plane(name: str, *, leads: bool = False, silent: bool = False, ca: str = "") -> HostReport:
    text = control_plane(name=name, number=NUMBERS[name])
    if silent:
        text = text.replace("cluster known", "cluster unknown refused")
    if ca:
        text = text.replace(next(line for line in text.splitlines() if line.startswith("admin_ca")), f"admin_ca {ca}")
    return replace(parse(text.splitlines(), 1000.0, 1001.0), leads=leads)


def blank(name: str) -> HostReport:
    return parse(bare(NUMBERS[name]).splitlines(), 1000.0, 1001.0)


def worker(name: str) -> HostReport:
    return parse(member(NUMBERS[name], name).splitlines(), 1000.0, 1001.0)


def hosts(groups: Mapping[str, list[str]] = GROUPS, /, **reports: HostReport) -> ClusterHosts:
    names = [name for group in groups.values() for name in group]
    return ClusterHosts(load({name: host_data(NUMBERS[name]) for name in names}, groups), reports)


def told(found: ClusterHosts) -> list[str]:
    return [str(problem) for rule in RULES for problem in rule(found)]


@pytest.mark.parametrize(
    ("reports", "leader"),
    [
        ({}, "cp1"),
        ({"cp1": blank("cp1"), "cp2": of_control_plane("cp2")}, "cp2"),
        ({"cp1": of_control_plane("cp1", silent=True), "cp2": of_control_plane("cp2")}, "cp2"),
        ({"cp1": of_control_plane("cp1"), "cp2": of_control_plane("cp2", leads=True)}, "cp2"),
        ({"cp1": of_control_plane("cp1", leads=True), "cp2": of_control_plane("cp2", leads=True)}, "cp1"),
        ({"cp1": of_control_plane("cp1", leads=True, silent=True), "cp2": of_control_plane("cp2")}, "cp2"),
        ({"cp1": replace(of_control_plane("cp1"), initialized=False), "cp2": of_control_plane("cp2")}, "cp2"),
        ({"cp1": blank("cp1"), "cp2": of_control_plane("cp2", silent=True)}, "cp2"),
    ],
    ids=["no cluster", "rebuilt", "silent", "led before", "both led", "led, silent", "half joined", "all silent"],
)
def test_who_leads(reports: dict[str, HostReport], leader: str) -> None:
    assert hosts(**reports).leader == leader


def test_those_that_are_to_join_are_fine() -> None:
    found = hosts(cp1=of_control_plane("cp1"), cp2=blank("cp2"), cp3=blank("cp3"), w1=worker("w1"))
    assert told(found) == []
    assert [name for name in found.reports if found.is_member(name)] == ["cp1", "w1"]


def test_what_a_join_that_was_ended_has_left_is_fine() -> None:
    """The next join mends it."""
    half = replace(of_control_plane("cp2"), initialized=False)
    found = hosts(cp1=of_control_plane("cp1"), cp2=half)
    assert told(found) == []
    assert not found.is_member("cp2")


def test_what_somebody_else_has_begun_there_is_refused() -> None:
    found = hosts(cp1=of_control_plane("cp1"), cp2=replace(blank("cp2"), debris=True))
    (problem,) = told(found)
    assert "cp2" in problem and "not made by kubestage" in problem


def test_the_control_plane_of_another_cluster_is_refused() -> None:
    found = hosts(cp1=of_control_plane("cp1"), cp2=of_control_plane("cp2", ca=inline(OTHER_CA)))
    (problem,) = told(found)
    assert "cp2" in problem and "of the control plane of another cluster than cp1" in problem and RESET in problem


def test_a_worker_can_not_become_one() -> None:
    found = hosts(cp1=of_control_plane("cp1"), cp2=worker("cp2"))
    (problem,) = told(found)
    assert "it is a worker of this cluster" in problem and "put it back into workers" in problem


def test_one_can_not_become_a_worker() -> None:
    groups = {"control_plane": ["cp1"], "workers": ["cp2"]}
    (problem,) = told(hosts(groups, cp1=of_control_plane("cp1"), cp2=of_control_plane("cp2")))
    assert "it is of this cluster's control plane" in problem and "put it back into control_plane" in problem


@pytest.mark.parametrize(("number", "warned"), [(1, False), (2, True), (3, False)])
def test_an_even_number_is_warned_of(number: int, warned: bool) -> None:
    groups = {"control_plane": ["cp1", "cp2", "cp3"][:number], "workers": ["w1"]}
    found = hosts(groups, cp1=of_control_plane("cp1"))
    lines = [line for warning in WARNINGS for line in warning(found)]
    assert any("Take one more, or one less" in line for line in lines) == warned


def test_they_have_one_version() -> None:
    data = {name: host_data(NUMBERS[name]) for name in NUMBERS}
    data["cp2"]["kubernetes_version"] = "1.35.1"
    with pytest.raises(SettingsError) as error:
        load(data, GROUPS)
    assert "all hosts of the control plane have one version; cp1 has" in str(error.value)


def plan(name: str, **reports: HostReport) -> HostPlan:
    found = hosts(**reports)
    addresses = {each: f"10.0.0.{number}" for each, number in NUMBERS.items()}
    members = frozenset(filter(found.is_member, reports))
    checked = Checked(found.cluster, reports, addresses, (), members, "lab")
    return HostPlan(name, checked, tuple(NUMBERS), NO_SPEAKER, Path("kubeconfig"))


def test_who_joins() -> None:
    known = {"cp1": of_control_plane("cp1"), "cp2": of_control_plane("cp2"), "cp3": blank("cp3"), "w1": blank("w1")}
    assert [name for name in known if plan(name, **known).joins_control_plane] == ["cp3"]


def test_the_first_of_a_new_cluster_does_not_join() -> None:
    known = {name: blank(name) for name in NUMBERS}
    assert [name for name in known if plan(name, **known).joins_control_plane] == ["cp2", "cp3"]


def test_nobody_is_sent_to_one_that_has_not_joined() -> None:
    known = {"cp1": of_control_plane("cp1"), "cp2": blank("cp2"), "w1": worker("w1")}  # cp3 was not asked
    found = plan("w1", **known)
    assert found.api_servers() == ["10.0.0.11", "10.0.0.31"]
    assert found.api_servers(joined=["cp2"]) == ["10.0.0.11", "10.0.0.21", "10.0.0.31"]


def test_nobody_waits_for_a_stack_whose_volume_is_out_of_reach() -> None:
    first = of_control_plane("cp1")
    assert first.cluster
    nodes = {"cp1": Node("10.0.0.11", True), "cp2": Node("10.0.0.21", False)}
    volumes = {"registry/registry": Volume("local-path", "20Gi", node="cp2")}
    known = {"cp1": replace(first, cluster=replace(first.cluster, nodes=nodes, volumes=volumes))}
    run, stacks = plan("cp1", **known), chosen(hosts().common)
    assert [name for name, stack in stacks.items() if run.waits_for_a_node(stack)] == ["registry"]
    (warning,) = volumes_out_of_reach(hosts(**known))
    assert "The volume registry/registry lies on cp2, which is not Ready" in warning


def test_the_configuration_is_one_for_all() -> None:
    """The cluster keeps one, by which each of them is upgraded and joins."""
    known: dict[str, Any] = {"cp1": of_control_plane("cp1"), "cp2": of_control_plane("cp2")}
    texts = []
    for name in known:
        each = plan(name, **known)
        assert each.apiserver_names == ["10.0.0.11", "10.0.0.21", "10.0.0.31", "cp1", "cp2", "cp3"]
        texts.append(
            kubeadm.init_configuration(each.settings, each.host_settings, name, each.address, each.apiserver_names)
        )
    assert kubeadm.keeps(texts[0].partition("---")[2].split("---")[0], texts[1])
