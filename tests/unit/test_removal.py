"""Hosts out of their cluster: what is refused, what is told, and what a living and a dead one are told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_hosts import Facts, Hosts, fact, run, run_for_all
from pyinfra.api import Config, Inventory, State
from pyinfra.api.connect import connect_all
from pyinfra.api.exceptions import ConnectError, PyinfraError
from stub_programs import api_server, calls, run_with
from test_several_control_planes import blank, hosts, of_control_plane, worker

from kubestage.checks import removal
from kubestage.checks.cluster_hosts import ClusterHosts
from kubestage.cluster import unreached
from kubestage.facts.etcd import EtcdAnswering, EtcdMembers
from kubestage.facts.files import Missing
from kubestage.facts.host_report import Volume
from kubestage.facts.kubernetes import Kubeadm, Nodes, NodeVolumes
from kubestage.facts.unknown import Unknown
from kubestage.kubernetes import FORGET_POD_NETWORK, KUBECTL, RESET
from kubestage.operations import etcd, kubeadm, nodes, storage
from kubestage.operations.transient import in_unit

ONE, TWO, THREE = "10.0.0.11", "10.0.0.21", "10.0.0.31"
NAMES = {ONE: "cp1", TWO: "cp2", THREE: "cp3"}


def living(*volumes: tuple[str, str]) -> ClusterHosts:
    """cp1 and w1, with volumes: (claim, node)."""
    first = of_control_plane("cp1")
    assert first.cluster
    held = {claim: Volume("local-path", "2Gi", node=node) for claim, node in volumes}
    cp1 = replace(first, cluster=replace(first.cluster, volumes=held))
    return hosts({"control_plane": ["cp1"], "workers": ["w1"]}, cp1=cp1, w1=worker("w1"))


def refused(found: ClusterHosts, *leaving: str) -> list[str]:
    return [str(problem) for problem in list(removal.whole(found, leaving)) or removal.chosen(found, leaving)]


def test_a_worker_may_go() -> None:
    assert refused(living(), "w1") == []


def test_all_of_them_is_hardly_meant() -> None:
    (problem,) = refused(living(), "cp1", "w1")
    assert "--limit HOST" in problem


def test_the_last_control_plane_stays() -> None:
    (problem,) = refused(living(), "cp1")
    assert "cp1: nobody of the control_plane would be left that answers" in problem


@pytest.mark.parametrize("report", [of_control_plane("cp1", silent=True), blank("cp1")])
def test_a_silent_cluster_gives_nobody_up(report: Any) -> None:
    found = hosts({"control_plane": ["cp1"], "workers": ["w1"]}, cp1=report, w1=blank("w1"))
    (problem,) = refused(found, "w1")
    assert "its API does not answer, so nobody can be taken out of it" in problem


@pytest.mark.parametrize(
    ("members", "answering", "going", "said"),
    [
        ([ONE, TWO, THREE], [ONE, TWO, THREE], [THREE], ""),
        ([ONE, TWO, THREE], [ONE, TWO, THREE], [TWO, THREE], ""),
        ([ONE, TWO, THREE], [ONE, TWO], [THREE], ""),
        ([ONE, TWO, THREE], [ONE, TWO], [TWO, THREE], ""),  # the dead one first
        ([ONE, TWO, THREE], [ONE, TWO], [TWO], "2 of 3': of the 2 that would be left 1 would answer"),
        ([ONE, TWO, THREE], [ONE], [THREE], "1 of 3': etcd gives up a member only while most"),
        ([ONE, TWO], [ONE], [TWO], "1 of 2': etcd gives up a member only while most"),
        ([ONE, TWO], [ONE, TWO], [TWO], ""),
        ([ONE], [ONE], [TWO], ""),  # it has never been one
    ],
)
def test_most_members_of_etcd_have_to_answer(
    members: Sequence[str], answering: Sequence[str], going: Sequence[str], said: str
) -> None:
    problems = [str(each) for each in removal.quorum(NAMES, members, answering, going)]
    assert bool(problems) == bool(said) and all(said in problem for problem in problems)


def test_volumes_are_named() -> None:
    found = living(("shop/orders", "w1"), ("shop/users", "cp1"))
    told = list(removal.lost(found, ["w1"]))
    assert told[0] == "w1: gone with it, with their claims and what is in them: the volumes shop/orders (2Gi)"
    assert told[1].startswith("No worker is left") and len(told) == 2


def test_the_registrys_images_are_not_thrown_away_by_the_way() -> None:
    (problem,) = removal.registry(living(("registry/registry", "w1")), ["w1"])
    assert "the registry's images are on its disk" in str(problem) and "--data with_registry=True" in str(problem)
    assert list(removal.registry(living(("registry/registry", "cp1")), ["w1"])) == []


def test_a_host_that_can_not_be_reached_is_kept_and_whatever_it_is_told_fails() -> None:
    def fails(*_: object) -> None:
        raise ConnectError("no route")

    state = State(Inventory((["w1"], {})), Config())  # type: ignore[no-untyped-call]
    (host,) = state.inventory
    host.connector.connect = fails  # type: ignore[method-assign]
    with pytest.raises(PyinfraError, match="No hosts remaining"):
        connect_all(state)
    unreached.allow(state)
    connect_all(state)
    assert unreached.is_unreached(host) and host in state.active_hosts
    succeeded, output = host.run_shell_command("true")
    assert not succeeded and "it can't be reached: no route" in output.stderr


def known(*names: str, ready: str = "True", unschedulable: bool = False) -> Facts:
    items = [
        {
            "metadata": {"name": name},
            "spec": {"unschedulable": unschedulable},
            "status": {"conditions": [{"type": "Ready", "status": ready}]},
        }
        for name in names
    ]
    return {fact(Nodes): [json.dumps({"items": items})]}


class TestNode:
    def test_cordon(self) -> None:
        assert run_for_all(nodes.cordon, known("w1"), on="w1", names=["w1", "w2"]) == [
            f"{KUBECTL} cordon w1 >/dev/null"
        ]
        assert run_for_all(nodes.cordon, known("w1", unschedulable=True), on="w1", names=["w1"]) == []

    def test_drain(self) -> None:
        (command,) = run_for_all(nodes.no_pods, known("w1"), on="w1", node="w1", timeout_s=30)
        assert command.startswith(f"{KUBECTL} drain w1 --ignore-daemonsets --delete-emptydir-data --timeout 30s ")

    @pytest.mark.parametrize("facts", [known("w2"), known("w1", ready="Unknown")], ids=["no node", "not Ready"])
    def test_nobody_to_drain(self, facts: Facts) -> None:
        assert run_for_all(nodes.no_pods, facts, on="w1", node="w1", timeout_s=30) == []

    def test_no_node(self) -> None:
        assert run_for_all(nodes.no_node, known("w1"), on="w1", node="w1") == [nodes.delete("w1")]
        assert run_for_all(nodes.no_node, known("w2"), on="w1", node="w1") == []


SERVER = "10.0.0.11:6443"


class TestHost:
    LEAVE = in_unit("kubestage-leave", "").get_raw_value()

    @pytest.mark.parametrize("found", ["kubelet_conf", "admin_conf", "debris", "running kubestage-leave"])
    def test_what_kubeadm_has_made_goes(self, found: str) -> None:
        one = Hosts({"w1": {fact(Kubeadm): [found]}})
        one.prepare("w1", kubeadm.no_membership)
        one.execute()
        (told,) = one.told("w1")
        assert told.command == self.LEAVE and told.stdin == f"{RESET} && {FORGET_POD_NETWORK}"

    def test_its_api_server_ends_before(self) -> None:
        manifest: Facts = {fact(Missing, paths=["/etc/kubernetes/manifests/kube-apiserver.yaml"]): []}
        facts: Facts = {fact(Kubeadm): ["admin_conf"], **manifest}
        assert run(kubeadm.no_api_server, facts, server=SERVER) == [kubeadm.retire_api_server(SERVER)]

    @pytest.mark.parametrize("found", [["admin_conf"], []], ids=["its manifest is gone", "of no cluster"])
    def test_serves_no_api(self, found: list[str]) -> None:
        path = "/etc/kubernetes/manifests/kube-apiserver.yaml"
        facts: Facts = {fact(Kubeadm): found, fact(Missing, paths=[path]): [path]}
        assert run(kubeadm.no_api_server, facts, server=SERVER) == []

    @pytest.mark.parametrize(("runs_for", "noticed_after", "code"), [(0, 0, 0), (2, 2, 0), (2, 5, 0), (1000, 0, 1)])
    def test_its_end_is_waited_for(self, runs_for: int, noticed_after: int, code: int, tmp_path: Path) -> None:
        manifests = tmp_path / "etc/kubernetes/manifests"
        manifests.mkdir(parents=True)
        (manifests / "kube-apiserver.yaml").touch()
        slept = f"$(grep -c ^sleep {tmp_path}/calls)"
        journal = f"if [ {slept} -ge {noticed_after} ]; then echo 'Server kubernetes-api/{SERVER} is DOWN, reason'; fi"
        ctr = f"if [ {slept} -ge {runs_for} ]; then :; else\n{api_server('77')}\nfi"
        programs = {"sleep": ":", "ctr": ctr, "journalctl": journal}
        result = run_with(tmp_path, kubeadm.retire_api_server(SERVER), programs, ("/etc/kubernetes",))
        assert result.returncode == code
        assert ("still runs" in result.stderr) == bool(code)
        assert list(manifests.iterdir()) == []
        assert calls(tmp_path).count("sleep 1") == (90 if code else max(runs_for, noticed_after))

    def test_of_no_cluster(self) -> None:
        assert run(kubeadm.no_membership, {fact(Kubeadm): []}) == []


def test_a_member_that_kubeadm_has_left_is_removed() -> None:
    member = {"ID": 255, "name": "cp2", "peerURLs": [f"https://{TWO}:2380"]}
    facts = {fact(EtcdMembers): [json.dumps({"members": [member]})]}
    (command,) = run_for_all(etcd.no_member, facts, on="cp2", address=TWO)
    assert command == etcd.removal("ff")
    assert run_for_all(etcd.no_member, facts, on="cp2", address=THREE) == []


def test_who_answers() -> None:
    told = [{"endpoint": f"https://{ONE}:2379", "health": True}, {"endpoint": f"https://{TWO}:2379", "health": False}]
    assert EtcdAnswering().parse([json.dumps(told)]) == frozenset({ONE})
    assert isinstance(EtcdAnswering().parse(["ctr: no such container"]), Unknown)


def test_volumes_go_with_their_claims() -> None:
    facts = {fact(NodeVolumes, node="w1"): ["volume pvc-1 shop/orders w1"]}
    (command,) = run_for_all(storage.no_volumes, facts, on="w1", node="w1")
    assert [line.split(KUBECTL)[-1].split(" --")[0].strip() for line in command.split(" && ")] == [
        "delete persistentvolume pvc-1",
        "",
        "patch persistentvolume pvc-1",
    ]
    assert "--namespace shop delete persistentvolumeclaim orders" in command
    assert run_for_all(storage.no_volumes, {fact(NodeVolumes, node="w1"): []}, on="w1", node="w1") == []


@pytest.mark.parametrize(
    ("patch", "code"),
    [
        ("true", 0),
        ("echo 'Error from server (NotFound): persistentvolumes \"pv\" not found' >&2; exit 1", 0),
        ("echo 'Error from server (Forbidden)' >&2; exit 1", 1),
    ],
)
def test_a_volume_that_is_gone_before_it_is_let_go(patch: str, code: int, tmp_path: Path) -> None:
    facts: Facts = {fact(NodeVolumes, node="w1"): ["volume pv shop/orders"]}
    (command,) = run_for_all(storage.no_volumes, facts, on="w1", node="w1")
    result = run_with(tmp_path, command, {"kubectl": f'case "$*" in *" patch "*) {patch} ;; esac'})
    assert result.returncode == code and ("Forbidden" in result.stderr) == bool(code)


@pytest.mark.parametrize(
    ("answers", "code", "slept"),
    [
        (["removed"], 0, 0),
        (["etcdserver: unhealthy cluster", "context deadline exceeded", "removed"], 0, 2),
        (["context deadline exceeded", "etcdserver: member not found"], 0, 1),
        (["etcdserver: permission denied"], 1, 0),
        (["etcdserver: no leader"] * 12, 1, 12),
    ],
)
def test_a_member_leaves_once_etcd_is_well(answers: list[str], code: int, slept: int, tmp_path: Path) -> None:
    (tmp_path / "answers").write_text("".join(f"{each}\n" for each in answers))
    ctr = f"""\
case "$*" in
    *"member remove ff") ;;
    *) exit 0 ;;
esac
said=$(head -n 1 {tmp_path}/answers); sed -i 1d {tmp_path}/answers; echo "$said" >&2; [ "$said" = removed ]"""
    result = run_with(tmp_path, etcd.removal("ff"), {"ctr": ctr, "sleep": ":"})
    assert (result.returncode, calls(tmp_path).count("sleep 5")) == (code, slept)
    assert (answers[-1] in result.stdout) == bool(code)
