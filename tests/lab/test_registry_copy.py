"""The registry's volume on another node's disk, by one command; ended in between, and given again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from kubestage.facts.volumes import nodes_of
from lab.definition import CHECKOUT
from lab.host_processes import wait_until
from tests.lab.commands import INVENTORY, WITHIN_S, deploy, environment, kubectl_json, kubestage, settle, verify
from tests.lab.pushed import IMAGE, image_is_there, repository

pytestmark = pytest.mark.life


def volumes() -> dict[str, str]:
    """The name of each volume in the registry's namespace -> its node."""
    items = kubectl_json("get", "persistentvolumes")["items"]
    return {
        each["metadata"]["name"]: ", ".join(nodes_of(each["spec"]))
        for each in items
        if each["spec"]["claimRef"]["namespace"] == "registry"
    }


def lies_only_on(node: str) -> None:
    """Once the provisioner has deleted the old one's folder, and then its volume."""
    assert wait_until(lambda: list(volumes().values()) == [node], WITHIN_S, 0.5), volumes()


def all_is_there() -> None:
    settle()
    image_is_there()
    assert deploy().changed == {}


def test_what_is_refused(cluster: None) -> None:
    result = kubestage("registry-copy", "w9")
    assert result.returncode == 1 and "there is no host 'w9'" in result.stderr, result.stderr


@pytest.mark.parametrize("ended_in", ["copy to w1 ...", "the copy takes the place ..."])
def test_to_another_node_and_back(ended_in: str, cluster: None) -> None:
    repository().push(IMAGE)
    (before,) = volumes().values()
    assert before == "cp1"
    argv = [sys.executable, "-m", "kubestage", "registry-copy", INVENTORY, "w1"]
    with subprocess.Popen(argv, cwd=CHECKOUT, env=environment(), stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        for line in first.stdout:
            if line.startswith(ended_in):
                os.kill(first.pid, signal.SIGKILL)
                break
    for node in ("w1", "w1", "cp1"):
        result = kubestage("registry-copy", node)
        assert result.returncode == 0, result.stdout + result.stderr
        lies_only_on(node)
        all_is_there()
    assert verify("test_registry.py", "test_storage.py") == set()
