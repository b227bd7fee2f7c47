"""etcd: the control plane's hosts are its members, all of them, with a vote each and one leader."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from kubestage.cluster.inventory import Target
from kubestage.facts.etcd import EtcdMembers, Member, etcdctl
from kubestage.facts.host_report.encryption import PLAIN
from kubestage.facts.unknown import Unknown
from kubestage.kubernetes import ENCRYPTION
from kubestage.settings import Problem
from tests.verify.connection import Machines
from tests.verify.findings import expect_none, fail

_LOOK = "see `crictl logs` or /var/log/pods/kube-system_etcd-*/etcd/*.log there"


@pytest.fixture(scope="module")
def members(machines: Machines, leader: str, target: Target) -> tuple[Member, ...]:
    fact = EtcdMembers()
    told = fact.process(machines[leader].run(fact.command()).stdout.splitlines())
    if isinstance(told, Unknown):
        fail(Problem(leader, f"etcd does not tell its members: {told.reason}", f"{target.deploy}; {_LOOK}"))
    return told


def test_members(members: tuple[Member, ...], addresses: dict[str, str], target: Target) -> None:
    wanted = {addresses[name]: name for name in target.cluster.control_plane if name in addresses}
    found = {member.address: member for member in members}
    problems = [
        Problem(name, f"etcd has no member at {address}", target.deploy, "members", ", ".join(sorted(found)))
        for address, name in wanted.items()
        if address not in found
    ]
    for address, member in found.items():
        known = f"{member.name or 'one that has never started'} at {address}"
        if address not in wanted:
            remedy = f"if it is gone for good: etcdctl member remove {member.number}"
            problems.append(Problem("etcd", "a member of it is no host of the control plane", remedy, "member", known))
        elif member.is_learner or not member.name:
            problems.append(
                Problem(wanted[address], "its etcd has no vote", f"{target.deploy}; {_LOOK}", "member", known)
            )
    expect_none(problems)


def test_every_member_answers(members: tuple[Member, ...], machines: Machines, leader: str, target: Target) -> None:
    """One leader for all, and no alarm: with NOSPACE nobody can write any more."""
    status = machines[leader].run(etcdctl("endpoint status --cluster --write-out json"))
    told: list[dict[str, Any]] = json.loads(status.stdout or "[]")
    silent = len(members) - len(told)
    problems = [
        Problem("etcd", "members of it do not answer", f"{target.deploy}; {_LOOK}", "members that answer", len(told))
        for _ in range(min(silent, 1))
    ]
    leaders = {one["Status"].get("leader", 0) for one in told}
    if len(leaders) > 1 or 0 in leaders:
        problems.append(Problem("etcd", "its members do not agree on a leader", _LOOK, "leaders", f"{leaders}"))
    problems += [
        Problem("etcd", "it has trouble", _LOOK, one["Endpoint"], ", ".join(errors))
        for one in told
        if (errors := one["Status"].get("errors") or [])
    ]
    alarms = machines[leader].run(etcdctl("alarm list")).stdout.split("\n")
    problems += [Problem("etcd", "it has raised an alarm", _LOOK, "alarm", alarm) for alarm in alarms if alarm.strip()]
    expect_none(problems)


def test_secrets_are_encrypted(machines: Machines, leader: str, target: Target) -> None:
    """By what etcd has itself: an API server reads them all. By one key: as long as there are two, none can go."""
    if not target.cluster.common.encrypt_secrets:
        pytest.skip("encrypt_secrets = False")
    told = machines[leader].run(etcdctl("get --prefix /registry/secrets/ --write-out json"))
    found: dict[str, set[str]] = {}
    for each in json.loads(told.stdout or "{}").get("kvs", ()):
        start = base64.b64decode(each["value"])[:100].split(b":")
        by = start[4].decode() if start[:4] == [b"k8s", b"enc", b"secretbox", b"v1"] else PLAIN
        found.setdefault(by, set()).add(base64.b64decode(each["key"]).decode().removeprefix("/registry/secrets/"))
    used = {machines[name].run(f"ls {ENCRYPTION}").stdout for name in target.cluster.control_plane}
    problems = [
        Problem("etcd", "Secrets are in it for all to read who have its data", target.deploy, "Secret", name)
        for name in sorted(found.get(PLAIN, ()))
    ]
    if len(found.keys() - {PLAIN}) > 1:
        problems.append(Problem("etcd", "Secrets are in it by several keys", target.deploy, "keys", ", ".join(found)))
    if len(used) > 1:
        why = "its hosts have not the same keys, and can't read each other's Secrets"
        problems.append(Problem("the control plane", why, target.deploy, ENCRYPTION))
    if not found:
        problems.append(Problem(leader, f"etcd does not tell its Secrets: {told.stderr.strip()}", _LOOK))
    expect_none(problems)
