"""Security groups of ECS instances, beside what a cluster needs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sample_cluster import GROUPS, hosts_data

from kubestage.checks.load import load
from kubestage.cluster.openings import openings
from kubestage.providers import firewalls
from kubestage.providers.ecs.client import Client
from kubestage.providers.ecs.instances import Instance, instances, said_of
from kubestage.providers.ecs.keys import Key
from kubestage.providers.ecs.security_groups import Group, groups, lets_pass, missing
from kubestage.settings import Cluster
from tests.ecs_server import KEY, SECRET, Ecs, instance, serving

NAMES = {"cp1": "i-0001", "w1": "i-0002", "w2": "i-0003"}


def rule(ports: str, source: str = "", protocol: str = "TCP", policy: str = "Accept", **more: Any) -> dict[str, Any]:
    said = {"IpProtocol": protocol, "PortRange": ports, "Policy": policy, "Priority": 1, **more}
    return {**said, "SourceGroupId": source} if source.startswith("sg-") else {**said, "SourceCidrIp": source}


OUTSIDE = [rule(f"{port}/{port}", "0.0.0.0/0") for port in (22, 80, 443, 6443)]


@pytest.fixture
def ecs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ecs]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    account = Ecs([instance(1, "control-plane"), instance(2), instance(3)])
    account.may.add("DescribeSecurityGroupAttribute")
    account.groups["sg-1"] = {"inner": "Accept", "rules": OUTSIDE}
    with serving(account) as address:
        monkeypatch.setenv("KUBESTAGE_ECS_ENDPOINT", address)
        monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_ID", KEY)
        monkeypatch.setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", SECRET)
        yield account


def cluster() -> Cluster:
    single = {name: {"provider": f"ecs:cn-hangzhou:staging:{each}"} for name, each in NAMES.items()}
    return load(hosts_data(**single), GROUPS)


def told(ecs: Ecs, inner: str, *rules: dict[str, Any]) -> list[str]:
    ecs.groups["sg-1"] = {"inner": inner, "rules": list(rules)}
    return list(firewalls.closed(cluster()))


def test_a_basic_group_whose_members_reach_each_other(ecs: Ecs) -> None:
    assert told(ecs, "Accept", *OUTSIDE) == []


def test_nobody_is_let_in_from_outside(ecs: Ecs) -> None:
    said = told(ecs, "Accept", *OUTSIDE[:2])
    assert len(said) == 4 and all("no rule lets anybody in" in line for line in said)
    assert "cp1: TCP 6443 (the API server) is closed" in "\n".join(said)
    assert "add to sg-1 an inbound rule: TCP 443/443 from your address" in "\n".join(said)


def test_members_that_are_isolated(ecs: Ecs) -> None:
    said = "\n".join(told(ecs, "Drop", *OUTSIDE))
    assert "w1: UDP 8472 (the pod network) is closed to 172.16.0.1, 172.16.0.3: add to sg-1" in said
    assert "UDP 8472/8472 from 172.16.0.1/32, 172.16.0.3/32" in said
    assert "cp1: TCP 6443" not in said  # anybody may


@pytest.mark.parametrize("source", ["172.16.0.0/24", "sg-1"])
def test_rules_for_the_members(source: str, ecs: Ecs) -> None:
    assert told(ecs, "Drop", *OUTSIDE, rule("10250/10250", source), rule("8472/8472", source, "UDP")) == []
    assert told(ecs, "Drop", *OUTSIDE, rule("-1/-1", source, "ALL")) == []


def test_many_pages_of_rules(ecs: Ecs) -> None:
    ecs.page = 2
    assert told(ecs, "Accept", *OUTSIDE) == []


@pytest.mark.parametrize(
    ("rules", "passes"),
    [
        ([rule("1/65535", "0.0.0.0/0", Priority=2), rule("8472/8472", "0.0.0.0/0", "ALL", "Drop")], False),
        ([rule("1/65535", "0.0.0.0/0", "ALL"), rule("8472/8472", "0.0.0.0/0", "ALL", "Drop", Priority=2)], True),
        ([rule("1/65535", "0.0.0.0/0", "ALL"), rule("8472/8472", "0.0.0.0/0", "ALL", "Drop")], False),
        ([rule("8472/8472", "0.0.0.0/0")], False),
        ([rule("8472/8472", "172.16.1.0/24", "UDP")], False),
        ([rule("8472/8472", "", "UDP", SourcePrefixListId="pl-1")], None),
        ([rule("8472/8472", "", "UDP", "Drop", SourcePrefixListId="pl-1"), rule("-1/-1", "0.0.0.0/0", "ALL")], None),
        ([rule("", "0.0.0.0/0", "UDP", PortRangeListId="prl-1")], None),
    ],
)
def test_which_rule_decides(rules: list[dict[str, Any]], passes: bool | None, ecs: Ecs) -> None:
    ecs.groups["sg-1"] = {"inner": "Drop", "rules": rules}
    api = Client("cn-hangzhou", Key("the test", KEY, SECRET), ecs.address)
    first, second, _ = instances(api, "staging")
    assert lets_pass(first, second, "udp", 8472, groups(api, ["sg-1"])) is passes


def test_what_can_not_be_judged_is_not_told(ecs: Ecs) -> None:
    assert told(ecs, "Drop", *OUTSIDE, rule("-1/-1", "", "ALL", SourcePrefixListId="pl-1")) == []


def test_who_may_not_look_is_told_once(ecs: Ecs) -> None:
    ecs.may.remove("DescribeSecurityGroupAttribute")
    (line,) = firewalls.closed(cluster())
    assert line.startswith("The security groups were not compared with what the cluster needs: 127.0.0.1")
    assert "may not do that" in line


def test_other_machines_are_not_asked_about(ecs: Ecs) -> None:
    assert list(firewalls.closed(load(hosts_data(), GROUPS))) == []
    assert ecs.called == []


def test_two_groups_of_an_instance_count_together() -> None:
    hosts = {name: _with_groups(number, ["sg-a", "sg-b"]) for number, name in enumerate(NAMES, 1)}
    known = {"sg-a": Group("sg-a", False, ()), "sg-b": Group("sg-b", True, ())}
    assert not [line for line in missing(openings(cluster()), hosts, known) if "172.16" in line]


def _with_groups(number: int, ids: list[str]) -> Instance:
    return said_of(instance(number, SecurityGroupIds={"SecurityGroupId": ids}))
