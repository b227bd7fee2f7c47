"""What is written to hosts and to the cluster, as its readers parse it: YAML, TOML, JSON."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from sample_cluster import GROUPS, NO_SPEAKER, group_data, hosts_data
from sample_reports import bare

from kubestage import started
from kubestage.checks.load import load
from kubestage.checks.preflight import Checked
from kubestage.cluster.plan import HostPlan
from kubestage.facts.host_report import parse
from kubestage.facts.kubernetes import Workload
from kubestage.kubernetes import TRUST_MARK
from kubestage.operations.apt import Source
from kubestage.render import apt_sources, endpoint, kubeadm, kubelet, runtime, static_pods
from kubestage.render.merge import merged
from kubestage.settings import Cluster, ClusterSettings, HostSettings
from kubestage.stacks import network
from kubestage.stacks.stack import Namespace


def cluster(everywhere: dict[str, Any] | None = None, **single: dict[str, Any]) -> Cluster:
    return load(hosts_data(everywhere, **single), GROUPS)


def settings(**changed: Any) -> ClusterSettings:
    return cluster(changed).common


def own(**changed: Any) -> HostSettings:
    return cluster(changed).hosts["cp1"]


def both(**changed: Any) -> tuple[ClusterSettings, HostSettings]:
    return settings(**changed), own(**changed)


def profile(registries: dict[str, list[str]], fallback: bool = True) -> dict[str, Any]:
    """Settings of a mirror profile of one's own."""
    upstream = group_data()["mirrors"]["upstream"]
    return {"mirror": "own", "mirrors": {"own": {**upstream, "registries": registries, "registry_fallback": fallback}}}


class TestMerge:
    @pytest.mark.parametrize(
        ("base", "extra", "expected"),
        [
            ({"a": 1}, {}, {"a": 1}),
            ({}, {"a": {"b": 1}}, {"a": {"b": 1}}),
            ({"a": {"b": 1, "c": 2}}, {"a": {"c": 3, "d": 4}}, {"a": {"b": 1, "c": 3, "d": 4}}),
            ({"a": {"b": {"c": 1}}}, {"a": {"b": {"d": 2}}}, {"a": {"b": {"c": 1, "d": 2}}}),
            ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
            ({"a": {"b": 1}}, {"a": False}, {"a": False}),
            ({"a": 1}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ],
        ids=str,
    )
    def test_merged(self, base: dict[str, Any], extra: dict[str, Any], expected: dict[str, Any]) -> None:
        assert merged(base, extra) == expected

    def test_what_is_merged_stays_as_it_is(self) -> None:
        base: dict[str, Any] = {"a": {"b": 1}}
        extra = {"a": {"c": 2}}
        merged(base, extra)["a"]["d"] = 3
        assert (base, extra) == ({"a": {"b": 1}}, {"a": {"c": 2}})


def init_documents(**changed: Any) -> dict[str, dict[str, Any]]:
    """kind -> document of kubeadm's configuration."""
    common, of_host = both(**changed)
    names = kubeadm.apiserver_names(common, {"cp1": of_host}, {"cp1": "10.0.0.11"})
    text = kubeadm.init_configuration(common, of_host, "cp1", "10.0.0.11", names)
    return {document["kind"]: document for document in yaml.safe_load_all(text)}


class TestKubeadm:
    def test_its_waits_are_scaled(self) -> None:
        assert kubeadm.timeouts(settings(timeout_factor=2))["tlsBootstrap"] == "600s"

    def test_init_configuration(self) -> None:
        version = group_data()["kubernetes_version"]
        assert list(init_documents().values()) == [
            {
                "apiVersion": "kubeadm.k8s.io/v1beta4",
                "kind": "InitConfiguration",
                "bootstrapTokens": [{"ttl": "1m0s"}],
                "localAPIEndpoint": {"advertiseAddress": "10.0.0.11", "bindPort": 6443},
                "nodeRegistration": {
                    "name": "cp1",
                    "criSocket": "unix:///run/containerd/containerd.sock",
                    "ignorePreflightErrors": [],
                    "kubeletExtraArgs": [{"name": "node-ip", "value": "10.0.0.11"}],
                },
                "timeouts": {
                    "controlPlaneComponentHealthCheck": "240s",
                    "kubeletHealthCheck": "240s",
                    "kubernetesAPICall": "60s",
                    "etcdAPICall": "120s",
                    "tlsBootstrap": "300s",
                    "discovery": "300s",
                },
            },
            {
                "apiVersion": "kubeadm.k8s.io/v1beta4",
                "kind": "ClusterConfiguration",
                "clusterName": "kubestage",
                "controlPlaneEndpoint": "127.0.0.1:7443",
                "kubernetesVersion": f"v{version}",
                "networking": {
                    "dnsDomain": "cluster.local",
                    "podSubnet": "10.244.0.0/16",
                    "serviceSubnet": "10.96.0.0/12",
                },
                "apiServer": {
                    "extraArgs": [
                        {"name": "service-node-port-range", "value": "80-32767"},
                        {"name": "shutdown-delay-duration", "value": "5s"},
                        {"name": "shutdown-watch-termination-grace-period", "value": "3s"},
                    ],
                    "extraVolumes": [],
                    "certSANs": ["10.0.0.11", "cp1"],
                },
                "controllerManager": {"extraArgs": [], "extraVolumes": []},
                "scheduler": {"extraArgs": [], "extraVolumes": []},
                "etcd": {"local": {"extraArgs": []}},
            },
            {
                "apiVersion": "kubelet.config.k8s.io/v1beta1",
                "kind": "KubeletConfiguration",
                "cgroupDriver": "systemd",
                "serverTLSBootstrap": True,
            },
            {
                "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
                "kind": "KubeProxyConfiguration",
                "mode": "iptables",
            },
        ]

    def test_addresses_in_the_certificate(self) -> None:
        documents = init_documents(public_address="47.1.2.3", api_extra_sans=["api.example.com", "10.0.0.11"])
        assert documents["ClusterConfiguration"]["apiServer"]["certSANs"] == [
            "10.0.0.11",
            "47.1.2.3",
            "api.example.com",
            "cp1",
        ]

    def test_settings_are_merged_in(self) -> None:
        documents = init_documents(
            api_port=16443,
            cgroup_driver="cgroupfs",
            kube_proxy_config={"conntrack": {"maxPerCore": 0}},
            apiserver_extra_args={"audit-log-maxage": 30},
            node_port_range="30000-32767",
            stacks=[],  # their ports are outside of it
            kubeadm_ignore_preflight=["NumCPU"],
        )
        assert documents["InitConfiguration"]["localAPIEndpoint"]["bindPort"] == 16443
        assert documents["InitConfiguration"]["nodeRegistration"]["ignorePreflightErrors"] == ["NumCPU"]
        assert documents["KubeletConfiguration"]["cgroupDriver"] == "cgroupfs"
        assert documents["KubeProxyConfiguration"]["conntrack"] == {"maxPerCore": 0}
        assert documents["ClusterConfiguration"]["apiServer"]["extraArgs"] == [
            {"name": "service-node-port-range", "value": "30000-32767"},
            {"name": "shutdown-delay-duration", "value": "5s"},
            {"name": "shutdown-watch-termination-grace-period", "value": "3s"},
            {"name": "audit-log-maxage", "value": "30"},
        ]

    def test_flags_of_all_programs(self) -> None:
        documents = init_documents(
            apiserver_extra_args={"service-account-issuer": ["https://new", "https://old"], "profiling": False},
            controller_manager_extra_args={"bind-address": "0.0.0.0"},
            scheduler_extra_args={"v": 2},
            etcd_extra_args={"quota-backend-bytes": 4294967296},
        )
        cluster = documents["ClusterConfiguration"]
        flags = [(flag["name"], flag["value"]) for flag in cluster["apiServer"]["extraArgs"][3:]]
        issuers = [("service-account-issuer", "https://new"), ("service-account-issuer", "https://old")]
        assert flags == [*issuers, ("profiling", "false")]
        assert cluster["controllerManager"]["extraArgs"] == [{"name": "bind-address", "value": "0.0.0.0"}]
        assert cluster["scheduler"]["extraArgs"] == [{"name": "v", "value": "2"}]
        assert cluster["etcd"] == {"local": {"extraArgs": [{"name": "quota-backend-bytes", "value": "4294967296"}]}}

    def test_files_of_the_users(self, tmp_path: Path) -> None:
        """Mounted by their content, so that another content is another manifest."""
        policy, scheduler = tmp_path / "policy", tmp_path / "scheduler"
        scheduler.write_text("kind: KubeSchedulerConfiguration\n")
        chosen = {
            "apiserver_extra_args": {
                "audit-policy-file": "/etc/own/a.yaml",
                "audit-log-path": "/var/log/own/audit.log",
            },
            "apiserver_files": {"/etc/own/a.yaml": str(policy)},
            "scheduler_extra_args": {"config": "/etc/own/s.yaml"},
            "scheduler_files": {"/etc/own/s.yaml": str(scheduler)},
        }
        paths = []
        for content in ("one", "two", "one"):
            policy.write_text(content)
            cluster = init_documents(**chosen)["ClusterConfiguration"]
            own, log = cluster["apiServer"]["extraVolumes"]
            path = own.pop("hostPath")
            assert own == {"name": "kubestage-0", "mountPath": "/etc/own/a.yaml", "readOnly": True, "pathType": "File"}
            assert log == {
                "name": "kubestage-audit",
                "hostPath": "/var/log/own",
                "mountPath": "/var/log/own",
                "pathType": "DirectoryOrCreate",
            }
            (mounted,) = cluster["scheduler"]["extraVolumes"]
            files = {file.path: file for file in static_pods.host_files(settings(**chosen))}
            assert sorted(files) == sorted([path, mounted["hostPath"]])
            assert (files[path].content, files[path].mode) == (content, "600")
            paths.append(path)
        assert paths[0] == paths[2] != paths[1]
        assert paths[0].startswith("/etc/kubernetes/kubestage/static-pod-files/")
        assert paths[0].endswith("-a.yaml")

    def test_an_audit_log_on_standard_output_needs_no_folder(self) -> None:
        documents = init_documents(apiserver_extra_args={"audit-log-path": "-"})
        assert documents["ClusterConfiguration"]["apiServer"]["extraVolumes"] == []

    def test_no_taint_where_the_control_plane_runs_pods(self) -> None:
        """Without `taints`, kubeadm puts its own: only an empty list keeps it off."""
        assert "taints" not in init_documents()["InitConfiguration"]["nodeRegistration"]
        node = init_documents(schedule_on_control_plane=True)["InitConfiguration"]["nodeRegistration"]
        assert node["taints"] == []

    def test_worker_images(self) -> None:
        assert kubeadm.worker_images(settings(pause_image="example.com/pause:1")) == [
            "example.com/pause:1",
            group_data()["flannel_cni_plugin_image"],
            group_data()["flannel_image"],
        ]


class TestKubelet:
    def test_its_own_settings(self) -> None:
        known = own(kubelet_config={"maxPods": 50, "evictionHard": {"memory.available": "1Gi"}})
        config, unit = kubelet.files(known, "w1", "/etc/resolv.conf")
        assert (config.path, config.mode) == ("/etc/kubernetes/kubelet.conf.d/kubestage.conf", "600")
        assert yaml.safe_load(config.content) == {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "resolvConf": "/etc/resolv.conf",
            "maxPods": 50,
            "evictionHard": {"memory.available": "1Gi"},
        }
        # systemd takes drop-ins in the order of their names: after kubeadm's 10-kubeadm.conf.
        assert unit.path == "/etc/systemd/system/kubelet.service.d/20-kubestage.conf"
        assert (
            'Environment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml '
            '--config-dir=/etc/kubernetes/kubelet.conf.d --hostname-override=w1"' in unit.content.splitlines()
        )
        assert started.recorded("kubelet.service", [config.path, unit.path]) in unit.content.splitlines()

    def test_none(self) -> None:
        """Nameservers are a host's own: kubeadm keeps those of the control plane's system for all nodes alike."""
        config, _ = kubelet.files(own(), "w1", "/run/systemd/resolve/resolv.conf")
        document = yaml.safe_load(config.content)
        assert set(document) == {"apiVersion", "kind", "resolvConf"}
        assert document["resolvConf"] == "/run/systemd/resolve/resolv.conf"

    def test_taints_from_the_first_moment(self) -> None:
        known = own(node_taints=["gpu=a-b:NoSchedule", "example.com/spot:NoExecute", "c=:PreferNoSchedule"], stacks=[])
        config, _ = kubelet.files(known, "w1", "/etc/resolv.conf")
        assert yaml.safe_load(config.content)["registerWithTaints"] == [
            {"key": "gpu", "value": "a-b", "effect": "NoSchedule"},
            {"key": "example.com/spot", "effect": "NoExecute"},
            {"key": "c", "effect": "PreferNoSchedule"},
        ]

    def test_nameservers_of_the_users_own(self) -> None:
        config, _ = kubelet.files(own(kubelet_config={"resolvConf": "/etc/pods.conf"}), "w1", "/etc/resolv.conf")
        assert yaml.safe_load(config.content)["resolvConf"] == "/etc/pods.conf"


class TestEndpoint:
    def test_the_same_on_every_host_whatever_the_order(self) -> None:
        one = endpoint.config(["10.0.0.12", "10.0.0.11"], 6443)
        assert one == endpoint.config(["10.0.0.11", "10.0.0.12"], 6443)
        servers = [line.split()[1:] for line in one.content.splitlines() if line.startswith("    server ")]
        trust = ["check", "check-ssl", "verify", "required", "ca-file", "/etc/kubernetes/kubestage/endpoint/ca.crt"]
        assert servers == [
            *([server, server, *trust] for server in ("10.0.0.11:6443", "10.0.0.12:6443")),
            *([f"unchecked-{server}", server, "no-check", "backup"] for server in ("10.0.0.11:6443", "10.0.0.12:6443")),
        ]
        assert "    bind 127.0.0.1:7443\n" in one.content

    def test_a_reload_records_what_is_loaded(self) -> None:
        lines = endpoint.unit().content.splitlines()
        record = started.recorded("kubestage-endpoint.service", endpoint.UNITS["kubestage-endpoint.service"])
        reload = [line.removeprefix("ExecReload=") for line in lines if line.startswith("ExecReload=")]
        assert record in lines and reload[-2:] == [record.removeprefix("ExecStartPre="), "/bin/kill -USR2 $MAINPID"]


class TestRuntime:
    @pytest.mark.parametrize(("driver", "systemd"), [("systemd", True), ("cgroupfs", False)])
    def test_containerd_config(self, driver: str, systemd: bool) -> None:
        file = runtime.containerd_config(*both(cgroup_driver=driver, pause_image="example.com/pause:1"))
        assert (file.path, file.mode) == ("/etc/containerd/config.toml", "600")
        runc = {"runtime_type": "io.containerd.runc.v2", "options": {"SystemdCgroup": systemd}}
        assert tomllib.loads(file.content) == {
            "version": 3,
            "plugins": {
                "io.containerd.cri.v1.images": {
                    "pinned_images": {"sandbox": "example.com/pause:1"},
                    "registry": {"config_path": "/etc/containerd/certs.d"},
                },
                "io.containerd.cri.v1.runtime": {"containerd": {"runtimes": {"runc": runc}}},
            },
        }

    def test_containerd_setting_is_merged_in(self) -> None:
        extra = {"plugins": {"io.containerd.cri.v1.runtime": {"restrict_oom_score_adj": True}}, "oom_score": -500}
        content = tomllib.loads(runtime.containerd_config(*both(containerd_config=extra)).content)
        plugin = content["plugins"]["io.containerd.cri.v1.runtime"]
        assert plugin["restrict_oom_score_adj"] is True
        assert plugin["containerd"]["runtimes"]["runc"]["options"] == {"SystemdCgroup": True}
        assert content["oom_score"] == -500

    def registries(self, registries: dict[str, list[str]], fallback: bool = True) -> dict[str, Any]:
        files = runtime.registry_hosts(own(**profile(registries, fallback)))
        return {file.path: tomllib.loads(file.content) for file in files}

    def test_no_mirror_no_file(self) -> None:
        assert self.registries({}) == {}

    def test_mirrors_then_the_registry_itself(self) -> None:
        both = ["pull", "resolve"]
        found = self.registries(
            {"docker.io": ["https://one.example", "https://two.example"], "quay.io": ["http://q:1"]}
        )
        assert found == {
            "/etc/containerd/certs.d/docker.io/hosts.toml": {
                "server": "https://registry-1.docker.io",
                "capabilities": both,
                "host": {"https://one.example": {"capabilities": both}, "https://two.example": {"capabilities": both}},
            },
            "/etc/containerd/certs.d/quay.io/hosts.toml": {
                "server": "https://quay.io",
                "capabilities": both,
                "host": {"http://q:1": {"capabilities": both}},
            },
        }

    def test_they_can_be_told_from_others(self) -> None:
        """By the line with which a run that no longer wants them finds them."""
        (file,) = runtime.registry_hosts(own(**profile({"quay.io": ["https://z.example"]})))
        assert file.content.splitlines()[0] == runtime.MIRROR_MARK

    def test_mirrors_are_asked_in_their_order(self) -> None:
        (file,) = runtime.registry_hosts(own(**profile({"quay.io": ["https://z.example", "https://a.example"]})))
        assert file.content.index("z.example") < file.content.index("a.example")

    def test_mirrors_of_ones_own_come_first(self) -> None:
        """Also for a registry that the profile has no mirror for; one that is in both is asked once."""
        mine = {"quay.io": ["https://mine.example", "https://a.example"], "gcr.io": ["https://mine.example/v2/g"]}
        settings = {**profile({"quay.io": ["https://a.example", "https://b.example"]}), "registry_mirrors": mine}
        content = {file.path: tomllib.loads(file.content) for file in runtime.registry_hosts(own(**settings))}
        quay, gcr = (content[f"/etc/containerd/certs.d/{name}/hosts.toml"] for name in ("quay.io", "gcr.io"))
        assert list(quay["host"]) == ["https://mine.example", "https://a.example", "https://b.example"]
        assert (gcr["server"], list(gcr["host"])) == ("https://gcr.io", ["https://mine.example/v2/g"])

    def test_a_mirror_of_ones_own_is_one(self) -> None:
        """Where the profile has none and forbids the registry itself."""
        settings = {**profile({"quay.io": []}, fallback=False), "registry_mirrors": {"quay.io": ["https://m.example"]}}
        (file,) = runtime.registry_hosts(own(**settings))
        assert tomllib.loads(file.content)["server"] == "https://m.example"

    def test_no_fallback(self) -> None:
        """The last mirror is the server: the registry itself is never asked."""
        (content,) = self.registries({"quay.io": ["http://one:5000", "http://two:5000"]}, fallback=False).values()
        assert content["server"] == "http://two:5000"
        assert list(content["host"]) == ["http://one:5000"]
        (content,) = self.registries({"quay.io": ["http://one:5000"]}, fallback=False).values()
        assert (content["server"], content["host"]) == ("http://one:5000", {})

    def test_a_path_is_the_whole_address(self) -> None:
        mirrors = {"ghcr.io": ["http://m:5000/v2/ghcr.io", "http://m:5000/"]}
        (content,) = self.registries(mirrors).values()
        assert content["host"]["http://m:5000/v2/ghcr.io"]["override_path"] is True
        assert "override_path" not in content["host"]["http://m:5000/"]
        (content,) = self.registries({"ghcr.io": ["http://m:5000/v2/ghcr.io"]}, fallback=False).values()
        assert content["override_path"] is True

    @pytest.mark.parametrize("site", ["registry.lab.test", "registry.lab.test:8443"])
    def test_trust_in_the_registry(self, site: str) -> None:
        """The first line is the mark by which the files are found when they have to go; Docker skips it."""
        hosts, ca = runtime.registry_trust(site, "-----BEGIN CERTIFICATE-----\n", "/usr/ca.crt")
        assert hosts.path == f"/etc/containerd/certs.d/{site}/hosts.toml"
        assert tomllib.loads(hosts.content) == {
            "server": f"https://{site}",
            "capabilities": ["pull", "resolve", "push"],
            "ca": "/usr/ca.crt",
        }
        assert ca.path == f"/etc/docker/certs.d/{site}/ca.crt"
        assert ca.content.splitlines() == [TRUST_MARK, "-----BEGIN CERTIFICATE-----"]
        assert hosts.content.splitlines()[0] == TRUST_MARK

    def test_docker_config(self) -> None:
        mirrors = {"docker.io": ["https://one.example", "http://10.0.0.1:5000"], "quay.io": ["http://10.0.0.2"]}
        file = runtime.docker_config(
            *both(docker_log_max_size="5m", docker_log_max_files=2, cgroup_driver="cgroupfs", **profile(mirrors))
        )
        assert (file.path, file.mode) == ("/etc/docker/daemon.json", "600")
        assert json.loads(file.content) == {
            "exec-opts": ["native.cgroupdriver=cgroupfs"],
            "log-driver": "json-file",
            "log-opts": {"max-size": "5m", "max-file": "2"},
            "registry-mirrors": ["https://one.example", "http://10.0.0.1:5000"],
            "insecure-registries": ["10.0.0.1:5000"],
        }

    def test_docker_takes_no_path_in_a_mirrors_address(self) -> None:
        mirrors = ["https://one.example/v2/docker.io", "https://two.example/"]
        settings = {**profile({"docker.io": mirrors}), "registry_mirrors": {"docker.io": ["https://mine.example"]}}
        content = json.loads(runtime.docker_config(*both(**settings)).content)
        assert content["registry-mirrors"] == ["https://mine.example", "https://two.example/"]

    def test_docker_setting_takes_nothing_of_ours_away(self) -> None:
        extra = {
            "exec-opts": ["isolation=default"],
            "insecure-registries": ["registry.example:5000"],
            "log-opts": {"compress": "true"},
            "bip": "192.168.99.1/24",
        }
        mirrors = {"docker.io": ["http://10.0.0.1:5000"]}
        content = json.loads(runtime.docker_config(*both(docker_config=extra, **profile(mirrors))).content)
        assert content["exec-opts"] == ["native.cgroupdriver=systemd", "isolation=default"]
        assert content["insecure-registries"] == ["10.0.0.1:5000", "registry.example:5000"]
        assert content["log-opts"] == {"max-size": "20m", "max-file": "3", "compress": "true"}
        assert content["bip"] == "192.168.99.1/24"


class TestAptSources:
    def plan(self, report: str = bare(12), **changed: Any) -> HostPlan:
        found = parse(report.splitlines(), asked=1000.0, answered=1001.0)
        checked = Checked(cluster(changed), {"w1": found}, {"w1": "10.0.0.12"}, (6443,), frozenset(), "lab")
        return HostPlan("w1", checked, ("w1",), NO_SPEAKER, Path("kubeconfig"))

    def test_sources(self) -> None:
        plan = self.plan()
        kubernetes, docker = apt_sources.sources(plan)
        assert kubernetes == Source(
            "https://pkgs.k8s.io/core:/stable:/v1.36/deb",
            "/",
            (),
            "https://pkgs.k8s.io/core:/stable:/v1.36/deb/Release.key",
            "/etc/apt/keyrings/kubestage-kubernetes.asc",
        )
        assert docker == Source(
            "https://download.docker.com/linux/debian",
            "bookworm",
            ("stable",),
            "https://download.docker.com/linux/debian/gpg",
            "/etc/apt/keyrings/kubestage-docker.asc",
        )

    def test_versions(self) -> None:
        plan = self.plan(docker_version="29.9.3", containerd_version="2.4.2")
        assert apt_sources.runtime_packages(plan) == {
            "containerd.io": "2.4.2-1~debian.12~bookworm",
            "docker-ce-cli": "5:29.9.3-1~debian.12~bookworm",
            "docker-ce": "5:29.9.3-1~debian.12~bookworm",
        }
        plan = self.plan(kubernetes_version="1.36.3", kubernetes_package_revision="1.1")
        assert apt_sources.kubernetes_packages(plan) == {
            "kubelet": "1.36.3-1.1",
            "kubeadm": "1.36.3-1.1",
            "kubectl": "1.36.3-1.1",
        }

    def test_another_system(self) -> None:
        plan = self.plan(bare(12).replace("os debian|12|bookworm", "os ubuntu|24.04|noble"), docker_version="29.9.3")
        docker = apt_sources.sources(plan)[1]
        assert (docker.address, docker.suite) == ("https://download.docker.com/linux/ubuntu", "noble")
        assert apt_sources.runtime_packages(plan)["docker-ce"] == "5:29.9.3-1~ubuntu.24.04~noble"

    def test_taints(self) -> None:
        plan = self.plan()
        assert plan.taints("cp1") == ("node-role.kubernetes.io/control-plane:NoSchedule",)
        assert plan.taints("w1") == ()
        plan = self.plan(schedule_on_control_plane=True, node_taints=["gpu=yes:NoSchedule"], stacks=[])
        assert plan.taints("cp1") == plan.taints("w1") == ("gpu=yes:NoSchedule",)


class TestNetwork:
    def test_flannel(self) -> None:
        stack = network.flannel(
            settings(
                pod_cidr="10.240.0.0/16", flannel_image="example.com/f:1", flannel_cni_plugin_image="example.com/c:1"
            )
        )
        assert stack.manifest.path == "/etc/kubernetes/kubestage/manifests/flannel/manifest.yaml"
        assert stack.workloads == (Workload("kube-flannel", "DaemonSet", "kube-flannel-ds"),)
        documents = list(yaml.safe_load_all(stack.manifest.content))
        by_kind = {document["kind"]: document for document in documents}
        assert stack.namespace == Namespace("kube-flannel", "privileged")
        data = by_kind["ConfigMap"]["data"]
        assert json.loads(data["net-conf.json"]) == {"Network": "10.240.0.0/16", "Backend": {"Type": "vxlan"}}
        assert [plugin["type"] for plugin in json.loads(data["cni-conf.json"])["plugins"]] == ["flannel", "portmap"]
        pod = by_kind["DaemonSet"]["spec"]["template"]
        images = [each["image"] for each in (*pod["spec"]["initContainers"], *pod["spec"]["containers"])]
        assert images == ["example.com/c:1", "example.com/f:1", "example.com/f:1"]

    def test_flannel_starts_anew_with_another_network(self) -> None:
        """It reads its configuration at its start: another one has to make another pod."""

        def annotations(**changed: Any) -> Any:
            documents = yaml.safe_load_all(network.flannel(settings(**changed)).manifest.content)
            daemon = next(document for document in documents if document["kind"] == "DaemonSet")
            return daemon["spec"]["template"]["metadata"]["annotations"]

        assert annotations() == annotations()
        assert annotations() != annotations(pod_cidr="10.240.0.0/16")

    def test_reserved_node_ports(self) -> None:
        stack = network.reserved_node_ports([2379, 6443])
        service = yaml.safe_load(stack.manifest.content)
        assert service["metadata"]["labels"]["service.kubernetes.io/service-proxy-name"] == "reserved"
        assert service["spec"] == {
            "type": "NodePort",
            "ports": [
                {"name": "port-2379", "protocol": "TCP", "port": 2379, "nodePort": 2379},
                {"name": "port-6443", "protocol": "TCP", "port": 6443, "nodePort": 6443},
            ],
        }
