"""An image of a prepared host, and a worker that is rebuilt of it: another host, and a node sooner."""

from __future__ import annotations

import subprocess
import sys

import pytest

from kubestage.kubernetes import KUBECTL
from lab.definition import CHECKOUT
from tests.lab.commands import INVENTORY, deploy, environment, lab, on, verify

pytestmark = pytest.mark.life

WHO_IT_IS = "cat /etc/machine-id /etc/ssh/ssh_host_ed25519_key.pub"


def kubestage(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kubestage", *words],
        cwd=CHECKOUT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def ran(*words: str) -> str:
    done = kubestage(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_worker_of_an_image(cluster: None) -> None:
    refused = kubestage("image", INVENTORY, "w2", "--yes")
    assert refused.returncode == 1 and "w2: it is in a cluster" in refused.stderr
    assert deploy().changed == {}

    on(
        "cp1",
        f"{KUBECTL} drain w2 --ignore-daemonsets --delete-emptydir-data --timeout 120s && {KUBECTL} delete node w2",
    )
    lab("rebuild", "w2")
    told = ran("image", INVENTORY, "w2", "--name", "golden", "--yes")
    assert "golden: python -m kubestage rebuild" in told

    before = on("w1", WHO_IT_IS)
    of_image = ran("rebuild", INVENTORY, "w1", "--yes", "--with-registry", "--image", "golden")
    assert on("w1", WHO_IT_IS) != before and on("w1", "ls /etc/kubernetes/kubelet.conf")
    blank = ran("rebuild", INVENTORY, "w2", "--yes", "--with-registry")
    assert on("w1", WHO_IT_IS) != on("w2", WHO_IT_IS)
    print("of the image:", of_image, "of a blank disk:", blank, sep="\n")
    assert verify() == set()
    assert deploy().changed == {}
