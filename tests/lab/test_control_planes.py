"""Three control planes: one becomes three and one again, one is killed, one is rebuilt, a join is killed; removals.

The tests are in this order, on one cluster: it is one of three from the first to the last but one of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import yaml

from kubestage.facts.etcd import EtcdMembers, Member, etcdctl
from kubestage.kubernetes import ENDPOINT, KUBECTL
from lab.host_processes import wait_until
from tests.lab.commands import (
    KUBECONFIG,
    WITHIN_S,
    control_planes,
    deploy,
    deploy_refused,
    kubectl,
    kubectl_json,
    kubestage,
    lab,
    on,
    settle,
    verify,
)

pytestmark = pytest.mark.life

REMOVE = "remove.py"
WRITER = "kubestage-test-writer"
WRITES = 900  # at most, so that it ends by itself


@pytest.fixture(scope="module", autouse=True)
def three(cluster: None) -> Iterator[None]:
    """Two hosts more, blank; none of them is left."""
    with control_planes(3):
        lab("up")
        kubectl("create", "namespace", WRITER)
        yield
    lab("up")


def cut(host: str) -> None:
    """A power cut: nothing on the host comes to its end in good order."""
    on(host, "systemd-run --quiet --on-active 1 systemctl poweroff --force --force")
    assert wait_until(lambda: host not in running(), WITHIN_S, 0.2)


def running() -> set[str]:
    return {each["name"] for each in json.loads(lab("status", "--json"))["hosts"] if each["state"] == "running"}


def members(host: str = "cp1") -> dict[str, Member]:
    told = EtcdMembers().parse(on(host, EtcdMembers().ask()).splitlines())
    assert isinstance(told, tuple), told
    return {member.name: member for member in told}


@contextmanager
def writes(host: str = "w1") -> Iterator[dict[str, int]]:
    """A writer to the API by the endpoint of a worker, several times a second: outcome -> how often."""
    config = yaml.safe_load(KUBECONFIG.read_text())
    config["clusters"][0]["cluster"]["server"] = f"https://{ENDPOINT}"
    on(host, "umask 077; cat >/root/writer.conf", given=yaml.safe_dump(config))
    write = f"kubectl --kubeconfig /root/writer.conf --request-timeout 30s --namespace {WRITER}"
    script = (
        f"n=0; while [ $n -lt {WRITES} ]; do n=$((n + 1)); "
        f"if said=$({write} create configmap written-$(date +%s%N) --from-literal at=$(date +%s) 2>&1); then echo ok; "
        'else echo "failed $(date +%T) $said"; fi; done'
    )
    on(host, "cat >/root/writer.sh; : >/root/writes", given=script)
    on(host, f"systemd-run --quiet --collect --unit {WRITER} -p StandardOutput=append:/root/writes sh /root/writer.sh")
    outcome: dict[str, int] = {}
    try:
        yield outcome
    finally:
        on(host, f"systemctl stop {WRITER} || true")
        lines = on(host, "cat /root/writes; rm /root/writes /root/writer.*").splitlines()
        outcome.update(ok=lines.count("ok"), failed=len(lines) - lines.count("ok"))
        print(outcome, [line for line in lines if line != "ok"])


def test_one_becomes_three(cluster: None) -> None:
    with writes() as outcome:
        deploy()
    assert outcome["failed"] == 0 < outcome["ok"]
    assert {name: member.is_learner for name, member in members().items()} == dict.fromkeys(
        ("cp1", "cp2", "cp3"), False
    )
    secrets = kubectl_json("--namespace", "kube-system", "get", "secrets")["items"]
    assert "kubeadm-certs" not in {each["metadata"]["name"] for each in secrets}
    assert deploy().changed == {}
    settle()
    assert verify() == set()


@pytest.mark.parametrize("host", ["cp1", "cp3"])
def test_one_is_killed(host: str, cluster: None) -> None:
    speaker = "cp2" if host == "cp1" else "cp1"
    with writes() as outcome:
        cut(host)
        try:
            written = f"{KUBECTL} --request-timeout 10s create configmap after --namespace default"
            assert wait_until(lambda: "created" in on(speaker, f"{written} || true"), WITHIN_S, 0.5)
            on(speaker, f"{KUBECTL} delete configmap after --namespace default")
            deploy("--exclude", host)
            assert deploy("--exclude", host).changed == {}
        finally:
            lab("up")
    assert outcome["ok"]
    settle()
    assert deploy().changed == {}
    assert verify() == set()


def test_one_is_rebuilt(cluster: None) -> None:
    before = members()
    result = kubestage("rebuild", "cp2", "--yes")
    assert result.returncode == 0, result.stdout + result.stderr
    after = members()
    assert set(after) == {"cp1", "cp2", "cp3"} and after["cp2"].number != before["cp2"].number
    assert deploy().changed == {}
    settle()
    assert verify() == set()


def test_not_all_of_them_are_rebuilt(cluster: None) -> None:
    result = kubestage("rebuild", "cp1", "cp2", "cp3", "--yes")
    assert result.returncode == 1 and "they are all of the control plane" in result.stderr, result.stderr


def test_a_dead_one_is_removed_and_joins_again(cluster: None) -> None:
    cut("cp3")
    try:
        assert "cp3 can't be reached" in deploy("--limit", "cp3", script=REMOVE).printed
        assert set(members()) == {"cp1", "cp2"}
        assert "cp3" not in kubectl("get", "nodes", "--output", "name")
        assert deploy("--limit", "cp3", script=REMOVE).changed == {}
        assert "etcd gives up a member only while most of them answer" in _two_of_two()
    finally:
        lab("up")
    deploy()
    assert set(members()) == {"cp1", "cp2", "cp3"}
    assert deploy().changed == {}


def _two_of_two() -> str:
    """With one of two members silent, nobody can be taken out."""
    cut("cp2")
    try:
        return deploy_refused("--limit", "cp2", script=REMOVE)
    finally:
        lab("up")


def test_three_become_one(cluster: None) -> None:
    with writes() as outcome:
        removed = deploy("--limit", "cp2", "--limit", "cp3", script=REMOVE)
    assert outcome["failed"] == 0 < outcome["ok"]
    assert set(members()) == {"cp1"}
    assert removed.changed
    assert deploy("--limit", "cp2", "--limit", "cp3", script=REMOVE).changed == {}
    assert json.loads(on("cp1", etcdctl("member list --write-out json")))["members"][0]["name"] == "cp1"
