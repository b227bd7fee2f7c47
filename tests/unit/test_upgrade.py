"""A cluster to another version: what is refused, and what a host is told in each state that it may be in."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
import yaml
from fake_hosts import Facts, Hosts, Told, fact, run
from sample_cluster import GROUPS, hosts_data
from test_several_control_planes import blank, host_data, of_control_plane, worker

from kubestage.checks import made, upgrade
from kubestage.checks.cluster_hosts import ClusterHosts
from kubestage.checks.load import load
from kubestage.facts.disruptions import Disruptions
from kubestage.facts.files import Missing
from kubestage.facts.host_report import HostReport, Node
from kubestage.facts.kubernetes import ImagesPresent, Nodes
from kubestage.facts.packages import PackageStates
from kubestage.facts.unknown import Unknown
from kubestage.facts.versions import HostVersions, Versions
from kubestage.kubernetes import KUBECTL
from kubestage.operations import upgrade as operations
from kubestage.operations.nodes import drain
from kubestage.operations.transient import in_unit
from kubestage.render import kubeadm

NUMBERS = {"cp1": 11, "w1": 12, "w2": 13}


def cluster(version: str = "1.37.2", ready: bool = True, **reports: HostReport) -> ClusterHosts:
    """cp1, w1 and w2, of 1.36.3, where the settings have `version`."""
    first = of_control_plane("cp1")
    assert first.cluster
    nodes = {name: Node(f"10.0.0.{number}", ready or name == "cp1") for name, number in NUMBERS.items()}
    cp1 = replace(first, made={**first.made, "version": "1.36.3"}, cluster=replace(first.cluster, nodes=nodes))
    data = {name: {**host_data(number), "kubernetes_version": version} for name, number in NUMBERS.items()}
    known = {"cp1": cp1, "w1": worker("w1"), "w2": worker("w1"), **reports}
    return ClusterHosts(load(data, GROUPS), known)


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("1.36.3", ""),
        ("1.36.9", ""),
        ("1.37.2", ""),
        ("1.36.1", "the cluster is of 1.36.3, and kubeadm leads to no older version"),
        (
            "1.38.0",
            "the cluster is of 1.36.3, and kubeadm leaves out no minor version\n    -> set it to one of 1.37 first",
        ),
    ],
)
def test_one_minor_version_at_a_time_and_never_back(version: str, said: str) -> None:
    found = [str(problem) for problem in upgrade.versions(cluster(version))]
    assert bool(found) == bool(said) and all(said in problem for problem in found)


def test_no_cluster_to_upgrade() -> None:
    found = [str(problem) for problem in upgrade.versions(cluster(cp1=blank("cp1")))]
    assert len(found) == 1 and "there is none to upgrade" in found[0]


def test_a_deploy_points_to_it() -> None:
    (problem,) = made.version(cluster())
    assert "a deploy can't change that" in str(problem) and "upgrade.py" in str(problem)
    assert list(made.version(cluster("1.36.3"))) == []


def test_what_is_broken_is_mended_first() -> None:
    assert [problem.where for problem in upgrade.ready(cluster(ready=False), ["cp1", "w1", "w2"])] == ["w1", "w2"]
    assert list(upgrade.ready(cluster(ready=False), ["cp1"])) == []
    silent = of_control_plane("cp1", silent=True)
    (problem,) = upgrade.ready(cluster(cp1=silent), ["cp1"])
    assert "its API does not answer" in str(problem)


def test_no_worker_before_the_control_plane() -> None:
    (problem,) = upgrade.order(cluster(), ["w1"])
    assert "w1" in str(problem) and "--limit control_plane" in str(problem)
    assert list(upgrade.order(cluster(), ["cp1", "w1"])) == list(upgrade.order(cluster("1.36.3"), ["w1"])) == []


def test_all_members_of_etcd_are_needed() -> None:
    hosts = cluster()
    assert list(upgrade.etcd(hosts, (object(),), frozenset(["10.0.0.11"]))) == []
    for answering in (frozenset[str](), Unknown("timeout")):
        assert len(list(upgrade.etcd(hosts, (object(),), answering))) == 1


def test_budgets_that_would_block_a_drain() -> None:
    (problem,) = upgrade.budgets(cluster(), ("shop/orders",))
    assert "PodDisruptionBudget shop/orders" in str(problem) and "describe pdb orders" in str(problem)
    assert Disruptions().parse(["shop/orders 2", "shop/empty 0"]) == ("shop/orders",)


def test_kubeadms_configuration() -> None:
    found = load(hosts_data({"kubeadm_ignore_preflight": ["NumCPU"]}), GROUPS)
    document = yaml.safe_load(kubeadm.upgrade_configuration(found.common, found.hosts["cp1"]))
    assert document["apply"]["kubernetesVersion"] == f"v{found.hosts['cp1'].kubernetes_version}"
    assert document["node"]["ignorePreflightErrors"] == document["apply"]["ignorePreflightErrors"] == ["NumCPU"]


def test_a_hosts_versions() -> None:
    assert Versions().parse(["apiserver 1.36.3", "kubeadm 1.37.2", "kubelet 1.36.3"]) == HostVersions(
        "1.36.3", "1.37.2", "1.36.3"
    )


def at(apiserver: str = "", kubelet: str = "1.36.3") -> Facts:
    lines = [*([f"apiserver {apiserver}"] if apiserver else []), "kubeadm 1.37.2", f"kubelet {kubelet}"]
    return {fact(Versions): lines}


class TestImages:
    def test_pulled_ahead(self) -> None:
        (worker_pulls,) = run(
            operations.images, {**at(), fact(ImagesPresent): []}, version="1.37.2", control_plane=False
        )
        assert "kubeadm config images list --kubernetes-version 1.37.2 | grep -E 'kube-proxy|coredns|pause'" in (
            worker_pulls
        )
        assert len(run(operations.images, at("1.36.3"), version="1.37.2", control_plane=True)) == 1

    def test_there(self) -> None:
        there = {**at(), fact(ImagesPresent): ["registry.k8s.io/kube-proxy:v1.37.2"]}
        assert run(operations.images, there, version="1.37.2", control_plane=False) == []
        assert run(operations.images, at("1.37.2"), version="1.37.2", control_plane=True) == []


def test_the_snapshot_is_made_once_and_before() -> None:
    path = "/etc/kubernetes/kubestage/before-upgrade/etcd-before-1.37.2.db"
    missing = {fact(Missing, paths=[path]): [path]}
    (command,) = run(operations.snapshot, {**at("1.36.3"), **missing}, version="1.37.2")
    assert "umask 077" in command and "snapshot save" in command and command.endswith(path)
    assert run(operations.snapshot, {**at("1.36.3"), fact(Missing, paths=[path]): []}, version="1.37.2") == []
    assert run(operations.snapshot, at("1.37.2"), version="1.37.2") == []


class TestNode:
    UPGRADE = in_unit("kubestage-upgrade", "", lines=40).get_raw_value()
    CORDON = f"{KUBECTL} annotate --overwrite node w1 kubestage/upgrading=1.37.2 && {KUBECTL} cordon w1 >/dev/null"
    OPEN = f"{KUBECTL} uncordon w1 && {KUBECTL} annotate node w1 kubestage/upgrading-"
    RESTART = "systemctl daemon-reload && systemctl restart kubelet"

    def hosts(
        self, facts: Facts, *, runs: str = "1.36.3", cordoned: bool = False, ours: bool = False, replies: Any = None
    ) -> Hosts:
        node = {
            "metadata": {"name": "w1", "annotations": {"kubestage/upgrading": "1.37.2"} if ours else {}},
            "spec": {"unschedulable": cordoned},
            "status": {"nodeInfo": {"kubeletVersion": f"v{runs}"}},
        }
        packages: Facts = {fact(PackageStates, names=["kubectl", "kubelet"]): []}
        known: dict[str, Facts] = {"cp1": {fact(Nodes): [json.dumps({"items": [node]})]}, "w1": {**facts, **packages}}
        return Hosts(known, {"cp1": replies or {}})

    def go(self, hosts: Hosts, how: str = "node") -> None:
        hosts.prepare(
            "w1",
            operations.node,
            control_plane=hosts.speaker,
            kubeadm=how,
            configuration="kind: UpgradeConfiguration",
            version="1.37.2",
            packages={"kubelet": "1.37.2-1.1", "kubectl": "1.37.2-1.1"},
            entries=[],
            timeout_s=30,
        )
        hosts.execute()

    def on_host(self, hosts: Hosts) -> list[str]:
        """What w1 was told, files and packages by a word."""
        words = []
        for each in hosts.told("w1"):
            word = "packages" if "apt-mark hold" in each.command else each.command
            words.append("file" if "tar --extract" in each.command else word)
        return words

    def test_a_worker(self) -> None:
        hosts = self.hosts(at())
        self.go(hosts)
        assert self.on_host(hosts) == ["file", self.UPGRADE, "packages", self.RESTART]
        cordon, drained, awaited, opened = hosts.commands("cp1")
        assert (cordon, drained, opened) == (self.CORDON, drain("w1", 30), self.OPEN)
        assert "wait --for=jsonpath='{.status.nodeInfo.kubeletVersion}=v1.37.2'" in awaited

    @pytest.mark.parametrize("how", ["apply --yes", "node"])
    def test_what_runs_on_the_control_plane(self, how: str) -> None:
        hosts = self.hosts(at("1.36.3", "1.37.2"), runs="1.37.2")
        self.go(hosts, how.split()[0])
        (_, told) = hosts.told("w1")
        assert told == Told(self.UPGRADE, f"kubeadm upgrade {how} --config /etc/kubernetes/kubestage/upgrade.yaml")
        assert hosts.commands("cp1") == []

    def test_done(self) -> None:
        for facts in (at(kubelet="1.37.2"), at("1.37.2", "1.37.2")):
            hosts = self.hosts(facts, runs="1.37.2")
            self.go(hosts)
            assert hosts.commands("w1") == hosts.commands("cp1") == []

    def test_the_rest_of_a_run_that_was_killed(self) -> None:
        """Its kubelet was not started anew yet; or all was done but for the mark."""
        hosts = self.hosts(at("1.37.2", "1.37.2"), runs="1.36.3", cordoned=True, ours=True)
        self.go(hosts)
        assert self.on_host(hosts)[-1] == self.RESTART and hosts.commands("cp1")[-1] == self.OPEN
        hosts = self.hosts(at("1.37.2", "1.37.2"), runs="1.37.2", cordoned=True, ours=True)
        with pytest.raises(AssertionError):  # a look ahead calls it a change
            self.go(hosts)
        assert hosts.commands("w1") == [] and hosts.commands("cp1") == [self.OPEN]

    def test_a_node_that_somebody_has_closed_stays_so(self) -> None:
        hosts = self.hosts(at(), cordoned=True)
        self.go(hosts)
        assert self.CORDON not in hosts.commands("cp1") and self.OPEN not in hosts.commands("cp1")

    def test_it_is_opened_where_it_can_not_be_drained(self) -> None:
        hosts = self.hosts(at(), replies={"drain w1": {"success": False}})
        with pytest.raises(AssertionError):  # it was to be a change
            self.go(hosts)
        assert hosts.commands("cp1")[-1] == self.OPEN and self.RESTART not in hosts.commands("w1")
