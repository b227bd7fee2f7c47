"""The user's own kubeconfig: fetched where it differs, private, and left alone where it does not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from fake_hosts import Facts, Hosts, Told, fact
from pyinfra.api.exceptions import PyinfraError

from kubestage.facts.files import FileStates
from kubestage.operations import kubeconfig

ADMIN_CONF = "/etc/kubernetes/admin.conf"
CONTENT = """\
apiVersion: v1
kind: Config
clusters:
- cluster: {certificate-authority-data: Y2E=, server: "https://10.0.0.11:6443"}
  name: staging
contexts:
- context: {cluster: staging, user: kubernetes-admin}
  name: kubernetes-admin@staging
current-context: kubernetes-admin@staging
users:
- name: kubernetes-admin
  user: {client-key-data: a2V5}
"""
SERVER = "https://47.1.2.3:6443"


def there(sha256: str = "0" * 64) -> Facts:
    return {fact(FileStates, paths=[ADMIN_CONF]): [f"600 0:0 {sha256} {ADMIN_CONF}"]}


def fetch(path: Path, facts: Facts, server: str = SERVER, others: Mapping[str, str] = {}, **data: object) -> list[Told]:
    hosts = Hosts({"cp1": facts}, {"cp1": {f"cat {ADMIN_CONF}": CONTENT}}, data)
    servers = {"cp1": server, **others}
    hosts.prepare("cp1", kubeconfig.own_copy, path=path, servers=servers, cluster_name="staging")
    hosts.execute()
    return hosts.told("cp1")


def test_fetched_then_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "lab" / "kubeconfig"
    assert fetch(path, there()) == [Told(f"cat {ADMIN_CONF}")]
    assert path.stat().st_mode & 0o777 == 0o600
    document = yaml.safe_load(path.read_text())
    assert document["clusters"][0]["cluster"]["server"] == SERVER
    document["clusters"][0]["cluster"]["server"] = "https://10.0.0.11:6443"
    assert document == yaml.safe_load(CONTENT)
    assert path.read_text().startswith(f"# staging at cp1 {SERVER}, from cp1's {ADMIN_CONF} with SHA-256 {'0' * 64}\n")
    assert [file.name for file in path.parent.iterdir()] == ["kubeconfig"]

    assert fetch(path, there()) == []


def test_fetched_anew_when_it_differs(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    fetch(path, there())

    path.chmod(0o644)
    assert len(fetch(path, there())) == 1
    assert path.stat().st_mode & 0o777 == 0o600

    assert len(fetch(path, there("1" * 64))) == 1  # another cluster, or a renewed certificate

    assert len(fetch(path, there("1" * 64), server="https://api.example.com:6443")) == 1
    assert yaml.safe_load(path.read_text())["clusters"][0]["cluster"]["server"] == "https://api.example.com:6443"


def test_a_context_for_each_host_of_a_control_plane_of_several(tmp_path: Path) -> None:
    path, other = tmp_path / "kubeconfig", "https://47.1.2.4:6443"
    fetch(path, there(), others={"cp2": other})
    document = yaml.safe_load(path.read_text())
    servers = {one["name"]: one["cluster"]["server"] for one in document["clusters"]}
    assert servers == {"staging": SERVER, "cp1": SERVER, "cp2": other}
    contexts = {one["name"]: one["context"]["cluster"] for one in document["contexts"]}
    assert contexts == {"kubernetes-admin@staging": "staging", "cp1": "cp1", "cp2": "cp2"}
    assert document["current-context"] == "kubernetes-admin@staging"
    assert fetch(path, there(), others={"cp2": other}) == []
    assert len(fetch(path, there())) == 1  # one that has left


def test_what_a_killed_run_left_is_no_hindrance(tmp_path: Path) -> None:
    """Nor is it ever readable for others."""
    path = tmp_path / "kubeconfig"
    (tmp_path / ".kubeconfig.new").write_text("half")
    fetch(path, there())
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["kubeconfig"]


def test_admin_conf_is_read_with_sudo_and_never_copied_on_the_host(tmp_path: Path) -> None:
    assert fetch(tmp_path / "kubeconfig", there(), _sudo=True) == [Told(f"cat {ADMIN_CONF}", sudo=True)]


def test_admin_conf_can_not_be_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    hosts = Hosts({"cp1": there()}, {"cp1": {f"cat {ADMIN_CONF}": {"success": False}}})
    path = tmp_path / "kubeconfig"
    hosts.prepare("cp1", kubeconfig.own_copy, path=path, servers={"cp1": SERVER}, cluster_name="staging")
    with pytest.raises(PyinfraError):
        hosts.execute()
    assert f"cp1: could not read {ADMIN_CONF}" in caplog.text
    assert not path.exists()
