"""Settings that are accepted, and what is made of them."""

from __future__ import annotations

import runpy
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from sample_cluster import GROUPS, ROOT, group_data, hosts_data

from kubestage.checks.load import load
from kubestage.settings import SETTINGS, ClusterSettings, HostSettings, PortRange, SettingsError
from kubestage.settings.kernel import dotted
from kubestage.stacks.ingress import IngressSettings


def test_defaults_make_a_cluster() -> None:
    cluster = load(hosts_data(), GROUPS)
    assert cluster.control_plane == ["cp1"]
    assert cluster.workers == ["w1", "w2"]
    assert cluster.nodes == ["cp1", "w1", "w2"]
    assert list(cluster.hosts) == ["cp1", "w1", "w2"]


def test_every_default_has_a_setting_and_every_setting_a_default() -> None:
    assert set(group_data()) == set(SETTINGS)
    assert not set(ClusterSettings.model_fields) & set(HostSettings.model_fields)


def test_lab_settings_are_valid() -> None:
    assert load(hosts_data(group_data("lab")), GROUPS).common.cgroup_driver == "cgroupfs"


def test_example_inventory_is_valid() -> None:
    inventory = runpy.run_path(str(ROOT / "inventory" / "static.example.py"))
    groups = {name: [host for host, _ in inventory[name]] for name in ("control_plane", "workers")}
    data = {host: {**group_data(), **own} for name in groups for host, own in inventory[name]}
    cluster = load(data, groups)
    assert cluster.control_plane and cluster.workers


def test_derived_values() -> None:
    cluster = load(hosts_data({"node_port_reserved": ["100-102", 8080, "101-103"]}), GROUPS)
    settings, own = cluster.common, cluster.hosts["w1"]
    version = own.kubernetes_version
    assert own.kubernetes_minor == "v" + version.rpartition(".")[0]
    assert own.kubernetes_package_version == f"{version}-{own.kubernetes_package_revision}"
    assert settings.node_ports == PortRange(80, 32767)
    assert 80 in settings.node_ports and 32767 in settings.node_ports
    assert 79 not in settings.node_ports and 32768 not in settings.node_ports
    assert len(settings.node_ports) == 32688
    assert settings.reserved_ports == (100, 101, 102, 103, 8080)


def test_profile_is_filled_in() -> None:
    profile = load(hosts_data(), GROUPS).hosts["w1"].profile.filled(os="ubuntu")
    assert profile.kubernetes_apt == "https://pkgs.k8s.io/core:/stable:/v1.36/deb"
    assert profile.docker_key == "https://download.docker.com/linux/ubuntu/gpg"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ("", "https://raw.example.com/a/b.yaml"),
        ("https://mirror.example.com", "https://mirror.example.com/raw.example.com/a/b.yaml"),
        ("http://10.0.0.1:8080/files/", "http://10.0.0.1:8080/files/raw.example.com/a/b.yaml"),
    ],
)
def test_where_a_single_file_comes_from(files: str, expected: str) -> None:
    own = {"mirror": "own", "mirrors": {"own": {**group_data()["mirrors"]["upstream"], "files": files}}}
    assert load(hosts_data(own), GROUPS).hosts["w1"].profile.file("https://raw.example.com/a/b.yaml") == expected


@pytest.mark.parametrize(("factor", "expected"), [(1, 180), (2, 360), (1.001, 181)])
def test_every_wait_is_scaled(factor: float, expected: int) -> None:
    assert load(hosts_data({"timeout_factor": factor}), GROUPS).common.timeout_s(180) == expected


def test_settings_are_frozen() -> None:
    settings = load(hosts_data(), GROUPS).common
    with pytest.raises(ValidationError):
        settings.cluster_domain = "other.local"


@pytest.mark.parametrize(
    "own",
    [
        {"kubernetes_version": "1.36.2"},
        {"kubernetes_version": "1.33.0"},
        {"private_address": "10.1.0.5", "public_address": "47.1.2.3"},
        {"public_address": "w1.example.com"},
        {"node_labels": {"disk": "ssd", "example.com/rack": "r-1", "node-role.kubernetes.io/worker": ""}},
        {"node_taints": ["gpu=yes:NoSchedule", "example.com/spot:NoExecute", "a=:PreferNoSchedule"]},
        {"node_taints": ("gpu:NoSchedule",)},
        {"sysctls": {"vm.max_map_count": 262144, "net.ipv4.tcp_rmem": "4096 87380 6291456"}},
        {"sysctls": {"net.ipv4.conf.all.forwarding": 1, "kernel.panic": 10, "vm.panic_on_oom": "0"}},
        {"containerd_config": {"plugins": {"io.containerd.grpc.v1.cri": {"stream_server_address": "127.0.0.1"}}}},
        {"containerd_config": {"disabled_plugins": ["io.containerd.snapshotter.v1.zfs"], "imports": ["/etc/x/*.toml"]}},
        {
            "containerd_config": {
                "plugins": {
                    "io.containerd.cri.v1.runtime": {
                        "containerd": {"default_runtime_name": "nvidia", "runtimes": {"nvidia": {"runtime_type": "x"}}}
                    }
                }
            }
        },
        {"docker_config": {"default-address-pools": [{"base": "192.168.128.0/17", "size": 24}], "bridge": ""}},
        {"containerd_config": {"plugins": {"io.containerd.cri.v1.runtime": {"restrict_oom_score_adj": True}}}},
        {"docker_config": {"exec-opts": ["isolation=default"], "log-opts": {"compress": "true"}}},
        {"kubeadm_ignore_preflight": ["NumCPU", "Mem"]},
        {"require_disk_mib": 1},
        {"ssh_port": 2222, "ssh_key": "/k", "_sudo": True, "_sudo_user": "root", "docker_identifier": "x"},
    ],
    ids=str,
)
def test_a_single_host_may_have(own: dict[str, Any]) -> None:
    load(hosts_data({"ingress": {"replicas": 1}}, w1=own), GROUPS)  # one of the workers may be tainted


@pytest.mark.parametrize(
    "everywhere",
    [
        {"node_port_range": "30000-32767", "stacks": []},
        {"node_port_range": "30000-32767", "http_port": 30080, "https_port": 30443, "http_redirect": False},
        {"http_port": 0, "http_redirect": False},
        {"stacks": ["ingress", "registry"], "storage_class": "cloud-ssd"},
        {"storage_class": "cloud-ssd"},  # beside the stack "storage", whose class others may use
        {"stacks": ["metrics", "storage"]},
        {"domain": "my-cluster.local"},  # beside cluster.local, not in it
        {"node_port_range": "1-65535"},
        {"pod_cidr": "10.240.0.0/22"},
        {"service_cidr": "192.168.0.0/28"},
        {"api_extra_sans": ["47.1.2.3", "api.example.com", "*.example.com"]},
        {"api_port": 16443},
        {"cluster_domain": "cluster.example"},
        {"pause_image": "registry.example.com:5000/pause@sha256:" + "a" * 64},
        {"kubelet_config": {"maxPods": 50}},
        {"kube_proxy_config": {"mode": "nftables"}},
        {"pod_cidr": "172.17.0.0/16", "docker_config": {"bip": "192.168.99.1/24"}},
        {"pod_cidr": "172.17.0.0/16", "docker_config": {"bridge": "none"}},
        {"max_clock_skew_s": 1},
        {"timeout_factor": 1.5},
        {"kubernetes_version": "1.34.9", "containerd_version": "2.0.7"},
    ],
    ids=str,
)
def test_a_cluster_may_have(everywhere: dict[str, Any]) -> None:
    load(hosts_data(everywhere), GROUPS)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("vm.max_map_count", "vm.max_map_count"),
        ("vm/max_map_count", "vm.max_map_count"),
        ("net.ipv4.conf.eth0/10.rp_filter", "net.ipv4.conf.eth0/10.rp_filter"),
        ("net/ipv4/conf/eth0.10/rp_filter", "net.ipv4.conf.eth0/10.rp_filter"),
    ],
)
def test_a_kernel_setting_has_the_name_that_sysctl_prints(written: str, name: str) -> None:
    assert load(hosts_data({"sysctls": {written: 2}}), GROUPS).hosts["w1"].sysctls == {name: "2"}


def test_names_are_sysctls_own(tmp_path: Path) -> None:
    """Of every kernel setting of this machine, written as its path in /proc/sys."""
    paths = [path for path in Path("/proc/sys/net/ipv4").rglob("*") if path.is_file()]
    printed = subprocess.run(["sysctl", "--names", "net.ipv4"], capture_output=True, text=True, check=False).stdout
    assert {dotted(str(path.relative_to("/proc/sys"))) for path in paths} >= set(printed.split()) > set()


def test_apiserver_arguments_become_text() -> None:
    settings = load(hosts_data({"apiserver_extra_args": {"audit-log-maxage": 30, "profiling": False}}), GROUPS).common
    assert settings.apiserver_extra_args == {"audit-log-maxage": ("30",), "profiling": ("false",)}


def test_control_plane_alone() -> None:
    data = {"cp1": hosts_data()["cp1"]}
    assert load(data, {"control_plane": ["cp1"]}).workers == []
    never = {"cp1": {**hosts_data()["cp1"], "schedule_on_control_plane": False}}
    with pytest.raises(SettingsError, match="there is no worker"):
        load(never, {"control_plane": ["cp1"], "workers": []})


@pytest.mark.parametrize(
    ("workers", "own", "scheduled", "replicas"),
    [
        ([], {}, True, 1),
        (["w1"], {}, False, 1),
        (["w1"], {"schedule_on_control_plane": True}, True, 2),
        (["w1", "w2"], {}, False, 2),
        (["w1", "w2"], {"schedule_on_control_plane": True}, True, 2),
        (["w1", "w2"], {"ingress": {"replicas": 1}}, False, 1),
    ],
    ids=["one", "one and one", "both take pods", "one and two", "three take pods", "as told"],
)
def test_what_fits_any_number_of_hosts(workers: list[str], own: dict[str, Any], scheduled: bool, replicas: int) -> None:
    names = ["cp1", *workers]
    data = {name: values for name, values in hosts_data(own).items() if name in names}
    settings = load(data, {"control_plane": ["cp1"], "workers": workers}).common
    assert (settings.schedule_on_control_plane, settings.of(IngressSettings).replicas) == (scheduled, replicas)


def test_files_that_flags_name_are_taken(tmp_path: Path) -> None:
    """By a file of the user's, by one below a folder that a flag names, or by what kubeadm mounts; not all look it."""
    own = tmp_path / "own.yaml"
    own.write_text("kind: Policy\n")
    taken = {
        "apiserver_extra_args": {
            "audit-policy-file": "/etc/own/audit.yaml",
            "audit-log-path": "/var/log/kubernetes/audit.log",
            "anonymous-auth": True,
            "bind-address": "0.0.0.0",
            "kubelet-certificate-authority": "/etc/kubernetes/pki/ca.crt",
            "etcd-servers-overrides": "/events#https://10.0.0.1:2379",
            "runtime-config": "api/all=true",
            "tls-sni-cert-key": "/etc/own/audit.yaml,/etc/own/audit.yaml:a.example",
        },
        "apiserver_files": {"/etc/own/audit.yaml": str(own)},
        "controller_manager_extra_args": {"flex-volume-plugin-dir": "/etc/plugins"},
        "controller_manager_files": {"/etc/plugins/own": str(own)},
    }
    settings = load(hosts_data(taken), GROUPS).common
    assert settings.apiserver_files == {"/etc/own/audit.yaml": str(own)}


@pytest.mark.parametrize(
    ("content", "reason"), [(b"\xff\xfe\x00", "not text in UTF-8"), (b"x" * (1 << 20 | 1), "larger than 1048576 bytes")]
)
def test_files_that_can_not_be_taken(tmp_path: Path, content: bytes, reason: str) -> None:
    own = tmp_path / "own.yaml"
    own.write_bytes(content)
    with pytest.raises(SettingsError, match=reason):
        load(hosts_data({"scheduler_files": {"/etc/own/a.yaml": str(own)}}), GROUPS)
