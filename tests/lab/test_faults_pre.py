"""What preflight finds between hosts, on their disks and in the cluster, on real ones.

Each test leaves the cluster as the deploy wants it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.lab.commands import deploy, deploy_refused, lab, on, settle

pytestmark = pytest.mark.life

DROPPED = {
    "w2": "INPUT -p udp --dport 8472 -j DROP",
    "cp1": "INPUT -s 10.77.0.13 -p tcp --dport 10250 -j DROP",
}


@pytest.fixture
def blank_behind_firewalls(cluster: None) -> Iterator[None]:
    """w2 is blank, and drops what flannel sends; cp1 drops what w2 sends to its kubelet."""
    lab("rebuild", "w2")
    for host, rule in DROPPED.items():
        on(host, f"iptables -I {rule}")
    yield
    for host, rule in DROPPED.items():
        on(host, f"iptables -D {rule} || true")


def test_ports_between_hosts_are_tried_before_a_join(blank_behind_firewalls: None) -> None:
    said = deploy_refused()
    assert "Preflight: 2 problems" in said
    assert (
        "cp1, w1: UDP port = 8472: the pod network of w2 (10.77.0.13) will not be reached from there: no answer" in said
    )
    assert "w2: TCP port = 10250: the kubelet of cp1 (10.77.0.11) will not be reached from there: no answer" in said
    assert "kubelet" not in on("w2", "ls /usr/bin")
    for host, rule in DROPPED.items():
        on(host, f"iptables -D {rule}")
    assert "Join | kubeadm join" in deploy().changed
    settle()


def test_a_threshold_that_this_disk_would_cross(cluster: None) -> None:
    thresholds = {"evictionHard": {"nodefs.available": "1%", "imagefs.available": "99%"}}
    said = deploy_refused("--data", f"kubelet_config={json.dumps(thresholds)}")
    assert "Preflight: 3 problems" in said
    assert "w1: free disk at /var/lib = " in said and "(imagefs.available < 99%)" in said


def test_a_node_keeps_its_address(cluster: None) -> None:
    """As if its lease had given it this one since."""
    flags = "/var/lib/kubelet/kubeadm-flags.env"
    on("w1", f"grep -q -e --node-ip=10.77.0.12 {flags} && sed -i.kept s/10.77.0.12/10.77.0.99/ {flags}")
    try:
        said = deploy_refused()
    finally:
        on("w1", f"mv {flags}.kept {flags}")
    assert "w1: private_address = '10.77.0.12': the host has joined with 10.77.0.99, which none of its" in said
