"""Connections that are short of sessions, a cluster that is silent for a while, and a way to root that is narrow."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.definition import host_data
from tests.lab.commands import PYINFRA, deploy, environment, kubectl, kubectl_json, on, settle

pytestmark = pytest.mark.life

TAINT = {"key": "lab/try", "value": "yes", "effect": "PreferNoSchedule"}


@contextmanager
def sshd_with(host: str, setting: str) -> Iterator[None]:
    """The host's sshd with another setting, for connections that are made from now on."""
    path = "/etc/ssh/sshd_config.d/00-test.conf"
    on(host, f"echo '{setting}' >{path} && systemctl reload ssh")
    try:
        yield
    finally:
        on(host, f"rm {path} && systemctl reload ssh")


def test_a_control_plane_host_with_two_sessions(cluster: None) -> None:
    with sshd_with("cp1", "MaxSessions 2"):
        assert deploy().changed == {}


def test_an_api_that_is_silent_is_not_one_without_nodes(cluster: None) -> None:
    started = "systemctl show --property ExecMainStartTimestampMonotonic kubelet"
    before = on("w1", started)
    on("cp1", "pkill -STOP -x kube-apiserver")
    again = threading.Timer(20, lambda: on("cp1", "pkill -CONT -x kube-apiserver"))
    again.start()
    try:
        assert "Join | kubeadm join" not in deploy("--limit", "w1").changed
    finally:
        again.join()
    assert on("w1", started) == before
    settle()


def test_a_node_has_its_taints_from_its_first_moment(cluster: None) -> None:
    """No run has a part in it: the kubelet would make its Node object with them."""
    tainted = ("--limit", "w2", "--data", 'node_taints=["lab/try=yes:PreferNoSchedule"]')
    try:
        deploy(*tainted)
        assert TAINT in taints_to_register_with("w2")
        assert TAINT in kubectl_json("get", "node", "w2")["spec"]["taints"]
    finally:
        deploy()
    assert taints_to_register_with("w2") == []
    assert TAINT not in kubectl_json("get", "node", "w2")["spec"].get("taints", [])


def taints_to_register_with(node: str) -> list[dict[str, str]]:
    """Of the configuration that its kubelet runs with."""
    shown = json.loads(kubectl("get", "--raw", f"/api/v1/nodes/{node}/proxy/configz"))
    return shown["kubeletconfig"].get("registerWithTaints") or []


@pytest.fixture
def narrow() -> Iterator[None]:
    """On w1, the user admin has a password that sudo asks for, and /tmp is mounted noexec."""
    on("w1", "cp -p /etc/sudoers.d/admin /root/sudoers && echo 'admin ALL=(ALL:ALL) ALL' >/etc/sudoers.d/admin")
    on("w1", "chpasswd", given="admin:correct horse")
    on("w1", "mount -t tmpfs -o noexec,mode=1777 tmpfs /tmp")
    yield
    on("w1", "umount --lazy /tmp; mv /root/sudoers /etc/sudoers.d/admin; passwd --lock admin")


def as_admin(folder: Path, password: str = "", config: str = "") -> subprocess.CompletedProcess[str]:
    """A run that looks at w1 as its user admin, without a terminal."""
    data = {**host_data(1), "ssh_user": "admin", "_sudo": True, "_sudo_password": password}
    (folder / "hosts.py").write_text(f"hosts = [('w1', {data!r})]\n")
    (folder / "config.py").write_text(f"from pyinfra import config\n{config}\n")
    (folder / "deploy.py").write_text(
        "from types import SimpleNamespace\n"
        "from pyinfra import state\n"
        "from pyinfra.operations import server\n"
        "from kubestage.cluster import connections\n"
        "own = SimpleNamespace(commands_per_connection=8, timeout_s=lambda seconds: seconds)\n"
        "connections.keep(state, own)\n"
        "server.shell(commands='test $(id -u) = 0', name='Root')\n"
    )
    root = str(Path(__file__).resolve().parents[2])
    return subprocess.run(
        [PYINFRA, "hosts.py", "deploy.py", "-y"],
        cwd=folder,
        env=environment(PYTHONPATH=root),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )


def test_sudo_that_asks_for_a_password(cluster: None, narrow: None, tmp_path: Path) -> None:
    for password, told in (
        ("", "there is no terminal to ask you"),
        ("correct horse", "sudo did not take the password"),
    ):
        result = as_admin(tmp_path, password)
        assert result.returncode == 1
        assert told in result.stderr and "Traceback" not in result.stderr, result.stderr
    result = as_admin(tmp_path, "correct horse", 'config.TEMP_DIR = "/home/admin"')
    assert result.returncode == 0, result.stderr
