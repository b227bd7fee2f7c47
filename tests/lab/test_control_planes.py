"""Three control planes: one becomes three and one again, one is killed, one is rebuilt, a join is killed; removals.

The tests are in this order, on one cluster: it is one of three from the first to the last but one of them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import yaml

from kubestage.facts.etcd import EtcdMembers, Member, etcdctl
from kubestage.kubernetes import ENCRYPTION, ENDPOINT, KUBECONFIGS, KUBECTL
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
from tests.lab.ending import LEAVES, age
from tests.lab.notes import notes_on
from tests.lab.sites import site

pytestmark = pytest.mark.life

REMOVE = "remove.py"
WRITER = "kubestage-test-writer"
WRITES = 4000  # at most, so that it ends by itself


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
    told = kubestage("status")
    assert told.returncode == 0 and "3 of 3 members ready" in told.stdout, told.stdout + told.stderr


@pytest.mark.parametrize("host", ["cp1", "cp3"])
def test_one_is_killed(host: str, cluster: None) -> None:
    """The registry's volume lies on cp1: while that is away, nobody waits for it."""
    speaker = "cp2" if host == "cp1" else "cp1"
    written = f"{KUBECTL} --request-timeout 10s create configmap after --namespace default"
    cut(host)
    try:
        began = time.monotonic()
        assert wait_until(lambda: "created" in on(speaker, f"{written} || true"), WITHIN_S, 0.2)
        print(f"{host} killed: a write after {time.monotonic() - began:.1f} s")
        on(speaker, f"{KUBECTL} delete configmap after --namespace default")
        assert "served" in page_of_an_ingress()
        on(speaker, f"{KUBECTL} wait --for=condition=Ready=Unknown --timeout={WITHIN_S}s node/{host}")
        told = deploy("--exclude", host).printed
        assert ("The volume registry/registry lies on cp1" in told) == (host == "cp1")
        assert deploy("--exclude", host).changed == {}
    finally:
        lab("up")
    settle()
    back = deploy().changed
    assert set(back) <= {"Control plane | Your kubeconfig", "Platform | Every stack serves"}
    assert deploy().changed == {}
    assert verify() == set()


def page_of_an_ingress() -> str:
    """What a site says at a worker; its default backend says 404."""
    answer = site("nobody", "w1").ask()
    return f"served: {answer.status}"


def test_one_is_rebuilt(cluster: None) -> None:
    before = members()
    result = kubestage("rebuild", "cp2", "--yes")
    assert result.returncode == 0, result.stdout + result.stderr
    after = members()
    assert set(after) == {"cp1", "cp2", "cp3"} and after["cp2"].number != before["cp2"].number
    assert deploy().changed == {}
    settle()
    assert verify() == set()


def test_certificates_are_renewed_while_it_serves(cluster: None) -> None:
    everywhere = [path for path in KUBECONFIGS if "super-admin" not in path]  # that is on the first one alone
    for host in ("cp1", "cp2", "cp3"):
        age(host, dict.fromkeys((*LEAVES, *everywhere), 20.0))
    with writes() as outcome:
        changed = deploy().changed
    assert changed["Control plane | Certificates of the control plane"] == ["cp1", "cp2", "cp3"]
    assert outcome["failed"] == 0 < outcome["ok"]
    settle()
    assert verify("test_certificates.py", "test_etcd.py", "test_apiserver.py") == set()


def test_a_key_is_switched_off_on_and_rotated(cluster: None) -> None:
    """While somebody writes: every API server reads what the others write, at each moment."""
    encrypted = "test_etcd.py::test_secrets_are_encrypted"
    with writes() as outcome:
        on("cp1", f"{KUBECTL} --namespace default create secret generic marker --from-literal word=kept")
        try:
            deploy("--data", "encrypt_secrets=False")
            assert verify(encrypted) == {encrypted}
            assert deploy("--data", "encrypt_secrets=False").changed == {}
            deploy()
            assert verify(encrypted) == set()
            before = on("cp2", f"ls {ENCRYPTION}")
            deploy("--data", "rotate_key=True")
            after = on("cp2", f"ls {ENCRYPTION}")
            assert before != after and len(after.split()) == 2
            assert verify(encrypted) == set()
            word = f"{KUBECTL} --namespace default get secret marker --output go-template='{{{{.data.word}}}}'"
            assert {on(host, f"{word} | base64 -d") for host in ("cp1", "cp2", "cp3")} == {"kept"}
        finally:
            on("cp1", f"{KUBECTL} --namespace default delete secret marker")
    assert outcome["failed"] == 0 < outcome["ok"]
    assert deploy().changed == {}


def test_not_all_of_them_are_rebuilt(cluster: None) -> None:
    result = kubestage("rebuild", "cp1", "cp2", "cp3", "--yes")
    assert result.returncode == 1 and "they are all of the control plane" in result.stderr, result.stderr


def test_a_worker_is_removed_with_its_volumes(cluster: None) -> None:
    kubectl("apply", "--filename", "-", given=notes_on("w2", "leaving"))
    try:
        kubectl("rollout", "status", "deployment/leaving", f"--timeout={WITHIN_S}s")
        assert "volumes default/leaving (1Mi)" in deploy("--limit", "w2", script=REMOVE).printed
        assert "w2" not in kubectl("get", "nodes", "--output", "name")
        assert kubectl("get", "persistentvolumeclaims", "--output", "name") == ""
        assert "w2" not in kubectl("get", "persistentvolumes", "--output", "yaml")
        left = "find /etc/kubernetes/manifests /etc/kubernetes/pki -type f 2>/dev/null; pgrep -x kubelet || true"
        assert on("w2", left) == ""
        assert deploy("--limit", "w2", script=REMOVE).changed == {}
    finally:
        kubectl("delete", "deployment", "leaving")
    deploy()
    assert deploy().changed == {}
    settle()
    assert verify() == set()


def test_a_dead_one_is_removed_and_joins_again(cluster: None) -> None:
    cut("cp3")
    try:
        # Of the two that would be left, one is dead.
        assert "nobody could write any more" in deploy_refused("--limit", "cp2", script=REMOVE)
        assert "cp3 can't be reached" in deploy("--limit", "cp3", script=REMOVE).printed
        assert set(members()) == {"cp1", "cp2"}
        assert "cp3" not in kubectl("get", "nodes", "--output", "name")
        assert deploy("--limit", "cp3", script=REMOVE).changed == {}
    finally:
        lab("up")
    deploy()
    assert set(members()) == {"cp1", "cp2", "cp3"}
    assert deploy().changed == {}


def test_three_become_one(cluster: None) -> None:
    with writes() as outcome:
        removed = deploy("--limit", "cp2", "--limit", "cp3", script=REMOVE)
    assert outcome["failed"] == 0 < outcome["ok"]
    assert set(members()) == {"cp1"}
    assert removed.changed
    assert deploy("--limit", "cp2", "--limit", "cp3", script=REMOVE).changed == {}
    assert json.loads(on("cp1", etcdctl("member list --write-out json")))["members"][0]["name"] == "cp1"
