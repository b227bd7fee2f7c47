"""An image of a prepared host, and a worker that is rebuilt of it: another host, and a node sooner."""

from __future__ import annotations

import pytest

from kubestage.kubernetes import KUBECTL
from tests.lab.commands import deploy, kubestage, lab, on, verify

pytestmark = pytest.mark.life

WHO_IT_IS = "cat /etc/machine-id /etc/ssh/ssh_host_ed25519_key.pub"


def ran(word: str, *words: str) -> str:
    done = kubestage(word, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_worker_of_an_image(cluster: None) -> None:
    refused = kubestage("image", "w2", "--yes")
    assert refused.returncode == 1 and "w2: it is in a cluster" in refused.stderr
    assert deploy().changed == {}

    on(
        "cp1",
        f"{KUBECTL} drain w2 --ignore-daemonsets --delete-emptydir-data --timeout 120s && {KUBECTL} delete node w2",
    )
    lab("rebuild", "w2")
    before = on("w2", WHO_IT_IS)
    told = ran("image", "w2", "--name", "golden", "--yes")
    assert "golden: python -m kubestage rebuild" in told

    made_of_it = ran("rebuild", "w2", "--yes", "--with-registry", "--image", "golden")
    assert on("w2", "ls /etc/kubernetes/kubelet.conf")
    of_the_image = on("w2", WHO_IT_IS)
    blank = ran("rebuild", "w2", "--yes", "--with-registry")
    assert len({before, of_the_image, on("w2", WHO_IT_IS)}) == 3
    print(told, "of the image:", made_of_it, "of a blank disk:", blank, sep="\n")
    assert verify() == set()
    assert deploy().changed == {}
