"""Workers rebuilt by one command: drained, a blank disk, a new host key, back under their names; and after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from lab.definition import CHECKOUT
from tests.lab.commands import INVENTORY, deploy, environment, kubectl_json, kubestage, lab, on, verify

pytestmark = pytest.mark.life

STEPS = ("drain", "remove the node", "stop", "replace the disk", "start", "take over the host key", "wait for SSH")
AT_ONCE = "tests/lab/at_once/lab.py"


def rebuilt(*words: str, inventory: str = INVENTORY) -> subprocess.CompletedProcess[str]:
    return kubestage("rebuild", *words, inventory=inventory)


def host_key() -> str:
    return next(str(host["host_key"]) for host in json.loads(lab("status", "--json"))["hosts"] if host["name"] == "w1")


def uid(node: str) -> str:
    return str(kubectl_json("get", "node", node)["metadata"]["uid"])


def test_what_is_refused_changes_nothing(cluster: None) -> None:
    for words, said in (
        (("cp1", "--yes"), "it is the only control plane"),
        (("w9", "--yes"), "there is no host 'w9'"),
        (("w1",), "there is no terminal to ask you"),
        (("w1", "--destroy-cluster", "--yes"), "not all were named"),
    ):
        result = rebuilt(*words)
        assert result.returncode == 1 and said in result.stderr and "Traceback" not in result.stderr, result.stderr
    assert deploy().changed == {}


def test_workers(cluster: None) -> None:
    """Ended after the disk of the first is gone, and given again."""
    node, other, key = uid("w1"), uid("w2"), host_key()
    on("w1", "touch /root/of-the-old-disk")
    with subprocess.Popen(
        [sys.executable, "-m", "kubestage", "rebuild", INVENTORY, "w1", "w2", "--yes", "--with-registry"],
        cwd=CHECKOUT,
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as first:
        assert first.stdout is not None
        for line in first.stdout:
            if line.startswith("w1: replace the disk: "):
                os.kill(first.pid, signal.SIGKILL)
                break
    second = rebuilt("w1", "w2", "--yes", "--with-registry")
    assert second.returncode == 0, second.stdout + second.stderr
    for step in STEPS[:4]:
        assert f"w1: {step}: done before" in second.stdout, second.stdout
    for step in STEPS:
        assert f"w2: {step}: done before" not in second.stdout and f"w2: {step}: " in second.stdout, second.stdout
    assert host_key() != key and uid("w1") != node and uid("w2") != other
    assert on("w1", "ls /root") == ""
    assert deploy().changed == {}
    assert verify() == set()


def test_both_workers_at_a_time(cluster: None) -> None:
    old = uid("w1"), uid("w2")
    try:
        deploy(inventory=AT_ONCE)
        result = rebuilt("w1", "w2", "--yes", "--with-registry", inventory=AT_ONCE)
        assert result.returncode == 0, result.stdout + result.stderr
        said = result.stdout
        assert said.index("w1: wait for the stacks: ") < said.index("w2: drain ...")
        assert said.index("w2: replace the disk ...") < said.index("w1: start: "), said
        assert said.count(": run: ") == 1 and "w1, w2: run: " in said
        assert {uid("w1"), uid("w2")}.isdisjoint(old)
        assert deploy(inventory=AT_ONCE).changed == {}
        assert verify(inventory=AT_ONCE) == set()
    finally:
        deploy()
