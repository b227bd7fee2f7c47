"""A cluster upgraded to the next minor version, with one control plane and with three, while it serves.

Last of the lab's tests: each has a cluster of its own, as there is no way back from a newer version.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubestage.kubernetes import BEFORE_UPGRADE, UPGRADE_UNIT
from lab import build
from lab.build import product
from lab.definition import CHECKOUT
from lab.host_processes import wait_until
from tests.lab.commands import (
    INVENTORY,
    WITHIN_S,
    control_planes,
    deploy,
    deploy_command,
    deploy_refused,
    environment,
    kubectl,
    kubectl_json,
    lab,
    on,
    settle,
    verify,
)
from tests.lab.load import Load
from tests.lab.sites import page

pytestmark = pytest.mark.life

NEWER = "tests/lab/newer/lab.py"
UPGRADE = "upgrade.py"
OLD, NEW = (release.version for release in build.ALL_RELEASES)


@pytest.fixture(params=[1, 3])
def of_the_old_version(request: pytest.FixtureRequest, blank_hosts: None) -> Iterator[int]:
    """A cluster with so many control planes, and an app on it with two replicas."""
    with control_planes(request.param, KUBESTAGE_LAB_UPGRADES="1"):
        lab("down")
        lab("up")
        deploy()
        app = (CHECKOUT / "tests" / "lab" / "app.yaml").read_text().replace("@IMAGE@", product()["busybox_image"])
        kubectl("apply", "--filename", "-", given=app)
        kubectl("rollout", "status", "deployment/app", "--timeout", f"{WITHIN_S}s")
        assert wait_until(lambda: page("app", "w1") == page("app", "w2") == "served", WITHIN_S, 0.5), page("app", "w1")
        yield request.param


def test_under_load(of_the_old_version: int, tmp_path: Path) -> None:
    refused = deploy_refused(inventory=NEWER)
    assert f"the living cluster is of {OLD}" in refused and "upgrade.py" in refused

    nodes = itertools.cycle(("w1", "w2"))
    with Load(lambda: page("app", next(nodes)), per_second=50, at_most=60_000) as load:
        if of_the_old_version == 1:
            _kill_it_at_work()
        upgraded = deploy(inventory=NEWER, script=UPGRADE)
    print(load.answers)
    assert set(load.answers) == {"served"}
    assert any(name.startswith("Upgrade of the workers") for name in upgraded.changed)

    nodes_now = kubectl_json("get", "nodes")["items"]
    assert {node["status"]["nodeInfo"]["kubeletVersion"] for node in nodes_now} == {f"v{NEW}"}
    assert not [node for node in nodes_now if node["spec"].get("unschedulable")]
    path = "jsonpath={.items[*].spec.containers[*].image}"
    images = kubectl("get", "pods", "--namespace", "kube-system", "--output", path)
    new = build.ALL_RELEASES[1]
    for image in (f"kube-apiserver:v{NEW}", f"kube-proxy:v{NEW}", new.coredns_tag, new.etcd_tag):
        assert image in images
    assert f"v{OLD}" not in images
    assert on("cp1", f"stat -c %a {BEFORE_UPGRADE}/etcd-before-{NEW}.db") == "600"

    assert deploy(inventory=NEWER, script=UPGRADE).changed == {}
    assert deploy(inventory=NEWER).changed == {}
    settle()
    assert verify(inventory=NEWER) == set()
    back = deploy_refused(inventory=INVENTORY, script=UPGRADE)
    assert "kubeadm leads to no older version" in back


def _kill_it_at_work() -> None:
    """The run, while kubeadm is at work on the control plane, and then kubeadm itself."""
    at_work = f"systemctl is-active {UPGRADE_UNIT} || true"
    argv = deploy_command(inventory=NEWER, script=UPGRADE)
    with subprocess.Popen(argv, cwd=CHECKOUT, env=environment(), stderr=subprocess.DEVNULL) as first:
        begun = wait_until(lambda: on("cp1", at_work) == "active", WITHIN_S, 0.5)
        os.kill(first.pid, signal.SIGKILL)
    assert begun
    on("cp1", f"systemctl kill --signal KILL {UPGRADE_UNIT} || true")
