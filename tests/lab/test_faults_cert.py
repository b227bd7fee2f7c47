"""Certificates that end soon, or have ended, on the hosts of a living cluster: a run renews them."""

from __future__ import annotations

import json

import pytest

from kubestage.certificates import pem
from kubestage.kubernetes import ADMIN_CONF, KUBECONFIGS, KUBELET_CLIENT, KUBELET_SERVER
from tests.lab.commands import INVENTORY, deploy, kubectl, kubestage, on, settle, verify
from tests.lab.ending import LEAVES, PKI, age

pytestmark = pytest.mark.life

RENEWED = "Control plane | Certificates of the control plane"
SERVING = "Join | The kubelet's serving certificate"
OWN = "Join | The kubelet's own certificate"


def served(host: str, address: str) -> int:
    """The serial number of the certificate with which somebody serves."""
    asked = f"openssl s_client -connect {address} </dev/null 2>/dev/null | openssl x509 -noout -serial"
    return int(on(host, asked).removeprefix("serial="), 16)


def on_disk(host: str, path: str) -> int:
    return pem.first(on(host, f"cat {path}")).serial_number


def pids() -> set[str]:
    return set(on("cp1", "pidof etcd kube-apiserver kube-controller-manager kube-scheduler").split())


def test_what_ends_soon_is_renewed_and_what_reads_it_starts_anew(cluster: None) -> None:
    age("cp1", {f"{PKI}/etcd/server.crt": 59, ADMIN_CONF: 20})
    age("w1", {KUBELET_SERVER: 59})
    before = pids()
    told = kubestage("status")
    assert told.returncode == 1 and f"cp1: {ADMIN_CONF} and 1 more of the control plane ends on" in told.stdout

    changed = deploy().changed
    assert changed[RENEWED] == ["cp1"] and changed[SERVING] == ["w1"] and OWN not in changed
    assert len(before) == 4 and not before & pids()
    for address, path in (("127.0.0.1:6443", f"{PKI}/apiserver.crt"), ("127.0.0.1:2379", f"{PKI}/etcd/server.crt")):
        assert served("cp1", address) == on_disk("cp1", path)
    assert served("w1", "127.0.0.1:10250") == on_disk("w1", KUBELET_SERVER)
    again = deploy().changed
    assert not {RENEWED, SERVING, OWN} & set(again)
    assert kubestage("status").returncode == 0
    assert verify("test_certificates.py") == set()


def test_a_cluster_that_was_off_for_too_long(cluster: None) -> None:
    """All has ended: no API, and no kubelet that starts. One run has it back; the user's kubeconfig as well."""
    kubelet = dict.fromkeys((KUBELET_CLIENT, KUBELET_SERVER), -1.0)
    age("cp1", dict.fromkeys((*LEAVES, *KUBECONFIGS), -1.0) | kubelet)
    age("w1", kubelet)
    for host in ("cp1", "w1"):
        on(host, "systemctl restart kubelet || true")
    # As after a boot: what runs has read what is there.
    on("cp1", "kill $(pidof etcd kube-apiserver kube-controller-manager kube-scheduler)")

    changed = deploy().changed
    assert changed[RENEWED] == ["cp1"] and changed[OWN] == ["w1"]
    assert len(json.loads(kubectl("get", "nodes", "--output", "json"))["items"]) == 3
    settle()
    assert not {RENEWED, SERVING, OWN} & set(deploy().changed)
    assert kubestage("status").returncode == 0, INVENTORY
