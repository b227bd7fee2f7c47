"""What real hosts have that blank ones have not: bytes that are no text, a login that prints, names that change, swap.

Everything is broken at once on the two workers; one run mends it.
"""

from __future__ import annotations

import base64

import pytest

from kubestage.kubernetes import RESET
from tests.lab.commands import deploy, kubectl, kubectl_json, on, settle, verify

pytestmark = pytest.mark.life

THEIRS = b"10.1.1.1 d\xe9p\xf4t\n"
# Made at boot by a package of the distribution: it has no swap unit.
ZRAMSWAP = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=true\n[Install]\nWantedBy=multi-user.target\n"
TEMPLATE = "/etc/cloud/templates/hosts.debian.tmpl"


def write(host: str, path: str, content: bytes) -> None:
    on(host, f"base64 -d >{path}", given=base64.b64encode(content).decode())


def read(host: str, path: str) -> bytes:
    return base64.b64decode(on(host, f"base64 {path}"))


GREETING = "test ! -e /root/theirs || exit 1; mv /root/.bashrc /root/theirs; (echo echo Welcome; cat /root/theirs)"


def test_a_host_as_its_owner_has_left_it(cluster: None) -> None:
    hosts = read("w1", "/etc/hosts")
    # The end of the block is missing, and what stands behind it is not all text.
    lines = hosts.split(b"\n")
    lines.remove(b"# END kubestage")
    try:
        write("w1", "/etc/hosts", b"\n".join(lines) + THEIRS)
        write("w1", "/lib/systemd/system/zramswap.service", ZRAMSWAP.encode())
        on("w1", "systemctl daemon-reload && systemctl enable --now zramswap && mkdir -p /etc/cloud/templates")
        write("w1", TEMPLATE, b"## template:jinja\n127.0.1.1 {{fqdn}} {{hostname}}\n")
        # As a cloud's agent does at boot. The kubelet is still w2.
        on("w2", "echo ecs-4711 >/etc/hostname && hostname ecs-4711 && systemctl restart kubelet")
        on("w1", f"{GREETING} >/root/.bashrc")
        try:
            run = deploy()
        finally:
            on("w1", "mv /root/theirs /root/.bashrc")
        assert "w1: its login prints 'Welcome'" in run.printed
        assert {"Host | /etc/hosts", "Host | No swap", "Host | Host name"} <= set(run.changed)
        assert read("w1", "/etc/hosts") == hosts + THEIRS
        template = read("w1", TEMPLATE)
        assert template.startswith(b"## template:jinja\n# BEGIN kubestage") and template.endswith(b" {{hostname}}\n")
        assert on("w1", "systemctl is-enabled zramswap || true") == "masked"
        assert on("w2", "cat /etc/hostname; hostname").split() == ["w2", "w2"]
        assert {node["metadata"]["name"] for node in kubectl_json("get", "nodes")["items"]} == {"cp1", "w1", "w2"}
        assert deploy().changed == {}
    finally:
        write("w1", "/etc/hosts", hosts)
        on("w1", "systemctl unmask zramswap; rm -rf /lib/systemd/system/zramswap.service /etc/cloud/templates")
        on("w1", "rm -f /etc/systemd/system/*/zramswap.service; systemctl daemon-reload")
    assert verify("test_hosts.py") == set()


def test_a_worker_that_was_reset_as_our_message_advises(cluster: None) -> None:
    """cni0 has the address of the Node that it was; pods start all the same on the one that it becomes."""
    before = on("w1", "cat /sys/class/net/cni0/ifindex")
    on("w1", RESET)
    assert on("w1", "cat /sys/class/net/cni0/ifindex") == before
    changed = deploy("--limit", "w1").changed
    assert changed["Join | kubeadm join"] == ["w1"]
    settle()
    assert on("w1", "cat /sys/class/net/cni0/ifindex") != before
    assert verify("test_network.py") == set()


def test_a_node_that_was_deleted_and_has_registered_again(cluster: None) -> None:
    """Its pods have addresses that no longer lead to it, and flannel has not told the others of the new ones."""
    before = kubectl_json("get", "node", "w2")["metadata"]["uid"]
    kubectl("delete", "node", "w2")
    on("w2", "systemctl restart kubelet")
    kubectl("wait", "--for=create", "--timeout=60s", "node/w2")
    assert kubectl_json("get", "node", "w2")["metadata"]["uid"] != before
    assert deploy().changed["Join | kubeadm join"] == ["w2"]
    assert deploy().changed == {}
    settle()
    assert verify("test_network.py", "test_nodes.py", "test_sites.py") == set()
