"""The rules for hosts: what is refused, with which value, reason and remedy, and what is not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Interface
from typing import Any

import pytest
from sample_cluster import GROUPS, hosts_data
from sample_reports import OTHER_CA, bare, control_plane, member

from kubestage.checks import runtimes
from kubestage.checks.cluster_hosts import ClusterHosts
from kubestage.checks.load import load
from kubestage.checks.preflight import RULES, WARNINGS
from kubestage.facts.host_report import FileSystem, HostReport, Repository, parse
from kubestage.kubernetes import RESET
from kubestage.settings import Problem

GIB = 2**20  # in KiB
USES = ("packages", "kubelet", "images", "docker", "cni", "volumes")
NUMBERS = {"cp1": 11, "w1": 12, "w2": 13}


def report(text: str, **changed: Any) -> HostReport:
    return replace(parse(text.splitlines(), 1000.0, 1001.0), **changed)


def fresh() -> dict[str, HostReport]:
    return {name: report(bare(number)) for name, number in NUMBERS.items()}


def running(services: str = "", nodes: str = "", volumes: Sequence[str] = ()) -> dict[str, HostReport]:
    """The hosts of a cluster that a run has finished."""
    return {
        "cp1": report(control_plane(services=services, nodes=nodes, volumes=volumes)),
        "w1": report(member(12, "w1")),
        "w2": report(member(13, "w2")),
    }


def cluster_hosts(
    reports: dict[str, HostReport], settings: dict[str, Any] | None = None, **single: dict[str, Any]
) -> ClusterHosts:
    return ClusterHosts(load(hosts_data(settings, **single), GROUPS), reports)


def problems(
    reports: dict[str, HostReport], settings: dict[str, Any] | None = None, **single: dict[str, Any]
) -> list[Problem]:
    hosts = cluster_hosts(reports, settings, **single)
    return [problem for rule in RULES for problem in rule(hosts)]


def warned(reports: dict[str, HostReport], settings: dict[str, Any] | None = None, **single: Any) -> list[str]:
    hosts = cluster_hosts(reports, settings, **single)
    return [line for warning in WARNINGS for line in warning(hosts)]


def changed(reports: dict[str, HostReport], name: str, **fields: Any) -> dict[str, HostReport]:
    return {**reports, name: replace(reports[name], **fields)}


def on_one_disk(size_kib: int, free_kib: int, **others: FileSystem) -> dict[str, Any]:
    """Fields of a report: every folder on one file system, but for `others`."""
    return {"folders": {**dict.fromkeys(USES, FileSystem("/", size_kib, free_kib, 1000, 900)), **others}}


def the_one(found: list[Problem]) -> Problem:
    assert len(found) == 1, [str(problem) for problem in found]
    return found[0]


def test_fresh_hosts_are_fine() -> None:
    assert problems(fresh()) == []


def test_a_running_cluster_is_fine() -> None:
    assert problems(running("Service|shop/web||8080 8443||")) == []


def test_a_running_cluster_with_a_rebuilt_worker_is_fine() -> None:
    for node in ("Node|/w1|||10.0.0.12|True", "Node|/w1|||10.0.0.12|False", "Node|/w1|||10.0.0.99|False"):
        assert problems({**running(nodes=node), "w1": report(bare(12))}) == []


def test_workers_that_were_cut_off_are_fine() -> None:
    half = {"debris": True, "tcp_ports": frozenset({22, 10250})}
    assert problems({**running(), "w1": report(bare(12), **half)}) == []
    at_work = {"running": "kubestage-join", "tcp_ports": frozenset({22, 10250})}
    assert problems({**running(), "w1": report(bare(12), **at_work)}) == []


def test_an_init_at_work_is_fine() -> None:
    at_work = {"running": "kubestage-init", "debris": True, "admin_conf": True, "ours": True}
    assert problems(changed(fresh(), "cp1", **at_work, tcp_ports=frozenset({22, 6443}))) == []


# fields of w1's report; setting, value, reason, remedy
ONE_HOST: list[tuple[dict[str, Any], str, Any, str, str]] = [
    ({"uid": 1000}, "user id", 1000, "without root's rights", "_sudo = True"),
    ({"os_version": "11"}, "os", "debian 11", "not supported", "debian 12, debian 13, ubuntu 22.04, ubuntu 24.04"),
    ({"os_id": "rocky", "os_version": "9.4"}, "os", "rocky 9.4", "not supported", "debian 12"),
    ({"architecture": "riscv64"}, "architecture", "riscv64", "no packages and images", "amd64, arm64"),
    ({"cpus": 1}, "cpus", "1", "at least 2", "lower require_cpus"),
    ({"memory_mib": 900}, "memory", "900 MiB", "at least 1700 MiB", "lower require_memory_mib"),
    ({"default_address": ""}, "private_address", "", "no IPv4 default route", "set private_address"),
    ({"tcp_ports": frozenset({22, 10250})}, "TCP port", 10250, "Kubernetes needs it", "ss -ltnp 'sport = :10250'"),
    ({"udp_ports": frozenset({8472})}, "UDP port", 8472, "the pod network needs it", "ss -lunp 'sport = :8472'"),
    ({"clock": (60.25, 60.75)}, "clock difference", "60.0 s", "more than max_clock_skew_s = 5", "timedatectl set-ntp"),
    (
        {"repositories": {"kubernetes": Repository("http://m/key: refused"), "docker": Repository()}},
        "mirror",
        "upstream",
        "the kubernetes repository of this profile can't be reached: http://m/key: refused",
        "apt-helper download-file https://pkgs.k8s.io/core:/stable:/v1.36/deb/Release.key",
    ),
]


@pytest.mark.parametrize(
    ("fields", "setting", "value", "reason", "remedy"), ONE_HOST, ids=[str(case[0])[:50] for case in ONE_HOST]
)
def test_one_host(fields: dict[str, Any], setting: str, value: Any, reason: str, remedy: str) -> None:
    about = [problem for problem in problems(changed(fresh(), "w1", **fields)) if problem.setting == setting]
    problem = the_one(about)
    assert problem.where == "w1"
    assert problem.value == value
    assert reason in problem.reason
    assert remedy in problem.remedy


@pytest.mark.parametrize("tool", ["apt-get", "ip", "systemctl"])
def test_missing_tool(tool: str) -> None:
    tools = frozenset({"apt-get", "ip", "systemctl"} - {tool})
    problem = the_one(problems(changed(fresh(), "w1", tools=tools)))
    assert f"it has no {tool}" in problem.reason and "install the package" in problem.remedy


def test_what_is_asked_of_a_host_is_a_setting() -> None:
    small = changed(fresh(), "w1", cpus=1, memory_mib=900, **on_one_disk(20 * GIB, 4 * GIB))
    less = {"require_cpus": 1, "require_memory_mib": 500, "require_disk_mib": 1024}
    assert len(problems(small)) == 3
    assert problems(small, w1=less) == []


@pytest.mark.parametrize("release", [("debian", "13"), ("ubuntu", "22.04"), ("ubuntu", "24.04")])
def test_supported_systems(release: tuple[str, str]) -> None:
    assert problems(changed(fresh(), "w1", os_id=release[0], os_version=release[1], architecture="arm64")) == []


@pytest.mark.parametrize("port", [2379, 2380, 2381, 6443, 10248, 10249, 10250, 10256, 10257, 10259])
def test_ports_of_the_control_plane(port: int) -> None:
    taken = frozenset({22, port})
    assert the_one(problems(changed(fresh(), "cp1", tcp_ports=taken))).value == port
    of_every_node = port in (10248, 10249, 10250, 10256)
    assert len(problems(changed(fresh(), "w1", tcp_ports=taken))) == of_every_node


def test_the_device_that_a_reset_leaves_is_fine() -> None:
    left = {"udp_ports": frozenset({8472}), "devices": frozenset({"lo", "eth0", "flannel.1"})}
    assert problems(changed(fresh(), "w1", **left)) == []


def test_without_root_only_that_is_told() -> None:
    # Such a user can't see that the host is a member, whose these ports are.
    for seen in (True, False):  # the folder may be open, but not the file
        unseen = {"kubelet_conf": seen, "debris": False, "kubelet_ca": "", "kubelet_server": "", "node_name": ""}
        assert the_one(problems(changed(running(), "w1", uid=1000, **unseen))).setting == "user id"


def test_the_api_port_is_a_setting() -> None:
    taken = changed(fresh(), "cp1", tcp_ports=frozenset({22, 6443}))
    assert problems(taken, {"api_port": 8443}) == []


# --- Disks -----------------------------------------------------------------------------------------------------------
def test_what_is_asked_for_comes_on_top_of_what_the_kubelet_keeps_free() -> None:
    full = changed(fresh(), "w1", **on_one_disk(200 * GIB, 15 * GIB))
    problem = the_one(problems(full))
    assert (problem.where, problem.setting, problem.value) == ("w1", "free disk at /var/lib", "15360 MiB, 7 %")
    assert problem.reason == (
        "the kubelet evicts pods when less than 30720 MiB is free there (imagefs.available < 15%), "
        "and at least 10240 MiB more is asked for"
    )
    low = {"evictionHard": {"nodefs.available": "1Gi", "imagefs.available": "1Gi"}}
    assert f"kubelet_config = {json.dumps(low)}" in problem.remedy and "require_disk_mib" not in problem.remedy
    assert problems(full, {"kubelet_config": low}) == []
    assert problems(full, {"kubelet_config": {"evictionHard": {}}}) == []
    assert problems(changed(fresh(), "w1", **on_one_disk(200 * GIB, 40 * GIB))) == []
    problem = the_one(problems(changed(fresh(), "w1", **on_one_disk(200 * GIB, 39 * GIB))))
    assert "lower require_disk_mib" in problem.remedy
    assert problems(changed(fresh(), "w1", **on_one_disk(200 * GIB, 39 * GIB)), w1={"require_disk_mib": 9000}) == []


def test_a_member_has_taken_what_was_asked_for_and_may_not_evict() -> None:
    assert problems(changed(running(), "w1", **on_one_disk(60 * GIB, 11 * GIB))) == []
    problem = the_one(problems(changed(running(), "w1", **on_one_disk(100 * GIB, 14 * GIB))))
    assert problem.value == "14336 MiB, 14 %"
    assert problem.reason == "the kubelet evicts pods when less than 15360 MiB is free there (imagefs.available < 15%)"
    problem = the_one(problems(changed(running(), "w1", **on_one_disk(60 * GIB, 9 * GIB))))
    assert problem.reason == "too little: at least 10240 MiB is asked for"


@pytest.mark.parametrize(
    ("config", "kept"),
    [
        ({}, 15360),
        ({"evictionHard": {"nodefs.available": "20%"}}, 20480),
        ({"evictionHard": {"nodefs.available": "1.5Gi"}}, 1536),
        ({"evictionHard": {"nodefs.available": "1%"}, "mergeDefaultEvictionSettings": True}, 15360),
        ({"evictionSoft": {"imagefs.available": "50%"}}, 51200),
        ({"evictionHard": {"memory.available": "1Gi", "imagefs.available": "100%"}}, 0),
    ],
    ids=str,
)
def test_thresholds_of_the_users_own(config: dict[str, Any], kept: int) -> None:
    def host(free_mib: int) -> dict[str, HostReport]:
        return changed(fresh(), "w1", **on_one_disk(100 * GIB, free_mib * 1024))

    settings = {"kubelet_config": config}
    assert problems(host(kept + 10240), settings) == []
    problem = the_one(problems(host(kept + 10239), settings))
    assert f"less than {kept} MiB" in problem.reason if kept else "too little: at least 10240" in problem.reason


def test_each_disk_has_its_own_threshold() -> None:
    images = FileSystem("/var/lib/containerd", 100 * GIB, 20 * GIB, 1000, 900)
    problem = the_one(problems(changed(fresh(), "w1", **on_one_disk(30 * GIB, 15 * GIB, images=images))))
    assert problem.setting == "free disk at /var/lib/containerd" and "less than 15360 MiB" in problem.reason
    images = FileSystem("/var/lib/containerd", 100 * GIB, 30 * GIB, 1000, 900)
    problem = the_one(problems(changed(fresh(), "w1", **on_one_disk(30 * GIB, 12 * GIB, images=images))))
    assert problem.setting == "free disk at /var/lib" and "less than 3072 MiB" in problem.reason
    assert "nodefs.available < 10%" in problem.reason


def test_too_many_files() -> None:
    few = replace(fresh()["w1"].folders["images"], free_inodes=200000)
    problem = the_one(problems(changed(fresh(), "w1", folders=dict.fromkeys(USES, few))))
    assert (problem.setting, problem.value) == ("free inodes at /var/lib", "200000 of 5242880")
    assert "nodefs.inodesFree < 5%" in problem.reason and "du --inodes -x /" in problem.remedy
    none = replace(few, inodes=0, free_inodes=0)  # btrfs counts none
    assert problems(changed(fresh(), "w1", folders=dict.fromkeys(USES, none))) == []


def test_the_disk_of_the_volumes() -> None:
    apart = changed(fresh(), "w1", **on_one_disk(80 * GIB, 60 * GIB, volumes=FileSystem("/v", GIB, GIB // 2, 9, 9)))
    problem = the_one(problems(apart, w1={"require_disk_mib": 600}))
    assert (problem.where, problem.setting, problem.value) == ("w1", "storage.path", "/var/lib/kubestage/volumes")
    assert "512 MiB, and at least 600 MiB is asked for" in problem.reason
    assert "a larger disk" in problem.remedy and "require_disk_mib" in problem.remedy
    assert problems(apart, w1={"require_disk_mib": 512}) == []
    assert problems(apart, {"stacks": ["ingress"]}) == []  # nothing of ours lies there


@pytest.mark.parametrize(
    ("use", "path", "what"),
    [
        ("images", "/var/lib/containerd", "container of Kubernetes"),
        ("docker", "/var/lib/docker", "container of Docker"),
        ("cni", "/opt/cni/bin", "pod's network"),
    ],
)
def test_a_mount_from_which_nothing_starts(use: str, path: str, what: str) -> None:
    mounted = FileSystem("/var", 80 * GIB, 60 * GIB, 1000, 900, noexec=True)
    problem = the_one(problems(changed(fresh(), "w1", **on_one_disk(80 * GIB, 60 * GIB, **{use: mounted}))))
    assert (problem.where, problem.setting, problem.value) == ("w1", path, "noexec")
    assert f"its file system, /var, is mounted noexec, so no {what} could start" in problem.reason
    assert "mount -o remount,exec /var" in problem.remedy
    volumes = on_one_disk(80 * GIB, 60 * GIB, volumes=mounted)  # what pods keep there is theirs
    assert problems(changed(fresh(), "w1", **volumes)) == []


def test_pressure_is_named_with_what_is_left() -> None:
    """A kubelet tells of it for minutes after it is over, so nothing is refused by it."""
    reports = changed(running(), "w1", memory_free_mib=241, memory_mib=24100, tasks=(99, 100))
    reports = changed(reports, "w1", **on_one_disk(100 * GIB, 16 * GIB))
    reports["cp1"] = report(control_plane() + "true cp1|Ready\ntrue w1|DiskPressure MemoryPressure PIDPressure Ready\n")
    assert problems(reports) == []
    assert warned(reports) == [
        "w1: DiskPressure: 16 % of the disk of /var/lib free (16.0 of 100.0 GiB): "
        "the kubelet evicts pods there, and starts hardly any new ones",
        "w1: MemoryPressure: 1 % of its memory free (0.2 of 23.5 GiB): "
        "the kubelet evicts pods there, and starts hardly any new ones",
        "w1: PIDPressure: 1 % of its process ids free (1 of 100): "
        "the kubelet evicts pods there, and starts hardly any new ones",
    ]
    del reports["w1"]  # --limit
    assert warned(reports)[0] == "w1: DiskPressure: the kubelet evicts pods there, and starts hardly any new ones"


def test_a_node_of_no_host_is_told_of() -> None:
    nodes = "Node|/w1|||10.0.0.12|True\nNode|/w2|||10.0.0.13|True\nNode|/w3|||10.0.0.14|False"
    volumes = [
        f"shop/{name}|local-path|2Gi|Delete Bound|{node}|/data" for name, node in (("orders", "w3"), ("old", "w1"))
    ]
    (line,) = warned(running(nodes=nodes, volumes=volumes))
    assert line.startswith("w3 is a node of the cluster, and no host of the inventory.")
    assert "the volumes that lie on it: shop/orders, give" in line and "remove.py, with --limit w3" in line


def test_volumes_from_which_nothing_starts() -> None:
    mounted = FileSystem("/var/lib/kubelet", 80 * GIB, 60 * GIB, 1000, 900, noexec=True)
    reports = changed(fresh(), "w1", **on_one_disk(80 * GIB, 60 * GIB, kubelet=mounted))
    assert problems(reports) == []
    (line,) = warned(reports)
    assert line.startswith("w1: /var/lib/kubelet is on /var/lib/kubelet, which is mounted noexec: pods can't start")


# --- Addresses -------------------------------------------------------------------------------------------------------
def test_a_private_address_is_on_its_host() -> None:
    assert problems(fresh(), w1={"private_address": "10.0.0.12"}) == []
    problem = the_one(problems(fresh(), w1={"private_address": "10.0.0.77"}))
    assert (problem.where, problem.value) == ("w1", "10.0.0.77")
    assert "it has: 10.0.0.12" in problem.reason


def test_private_addresses_differ() -> None:
    found = problems({**fresh(), "w2": report(bare(12))})
    assert [(p.where, p.value) for p in found] == [("w1, w2", "10.0.0.12")]


def test_the_network_of_a_host_is_not_the_pods() -> None:
    far = {name: {"ssh_hostname": f"{name}.example.com"} for name in NUMBERS}
    found = problems(fresh(), {"pod_cidr": "10.0.0.0/20"}, **far)
    assert [p.where for p in found] == ["cp1", "w1", "w2"]
    assert "overlaps the host's own network 10.0.0.0/24 (address 10.0.0.11 of eth0)" in found[0].reason
    assert "choose a pod_cidr" in found[0].remedy


def with_cards(number: int, **cards: str) -> HostReport:
    """A fresh host with more network cards: eth1="192.168.7.2/24"; a card of several addresses has them in one text."""
    lines = [f"address 5: {card}    inet {each} scope global" for card, all_ in cards.items() for each in all_.split()]
    return report(bare(number).replace("tcp 0016", "\n".join([*lines, "tcp 0016"])))


@pytest.mark.parametrize("cidr", ["pod_cidr", "service_cidr"])
def test_no_card_of_a_host_is_in_the_clusters_networks(cidr: str) -> None:
    inside = {"pod_cidr": "10.244.7.2/24", "service_cidr": "10.100.0.9/16"}[cidr]
    problem = the_one(problems({**fresh(), "w1": with_cards(12, eth1=inside)}))
    assert (problem.where, problem.setting) == ("w1", cidr)
    assert f"(address {inside.split('/')[0]} of eth1)" in problem.reason
    assert f"choose a {cidr} that shares no address with it, or take that address" in problem.remedy
    # What the cluster and Docker have made there is theirs.
    made = {card: inside for card in ("cni0", "flannel.1", "kube-ipvs0", "docker0")}
    for card, address in made.items():
        assert problems({**fresh(), "w1": with_cards(12, **{card: address})}) == []


def test_the_networks_of_a_living_cluster_stay() -> None:
    second = changed(
        running(),
        "w1",
        addresses=(IPv4Interface("10.0.0.12/24"), IPv4Interface("10.244.9.9/24")),
        device_of={"10.0.0.12": "eth0", "10.244.9.9": "eth1"},
    )
    assert the_one(problems(second)).remedy == "a living cluster keeps its pod_cidr: take that address from the host"


def test_nameservers_outside_of_the_clusters_networks() -> None:
    asked = changed(fresh(), "w1", nameservers=("10.0.0.2", "10.96.0.10", "127.0.0.53", "10.100.0.53"))
    problem = the_one(problems(asked))  # 10.96.0.10 is the cluster's own
    assert (problem.where, problem.setting, problem.value) == ("w1", "service_cidr", "10.96.0.0/12")
    assert "nameserver 10.100.0.53 lies inside it" in problem.reason
    assert problems(asked, {"service_cidr": "10.64.0.0/12"}) == []


def test_the_operators_network() -> None:
    asked = changed(fresh(), "w1", client="10.244.0.7")
    problem = the_one(problems(asked))
    assert (problem.where, problem.setting, problem.value) == ("w1", "pod_cidr", "10.244.0.0/16")
    assert "you reach the host from 10.244.0.7, which lies inside it" in problem.reason
    assert problems(asked, {"pod_cidr": "10.245.0.0/16"}) == []
    assert problems(changed(fresh(), "w1", client="203.0.113.7")) == []


@pytest.mark.parametrize("card", ["lo", "dummy0", "docker0", "br-0a1b2c3d4e5f", "cni0", "virbr0"])
def test_a_private_address_that_is_the_hosts_own_business(card: str) -> None:
    reports = {**fresh(), "w1": with_cards(12, **{card: "192.168.9.1/24"})}
    problem = the_one(problems(reports, w1={"private_address": "192.168.9.1"}))
    assert (problem.setting, problem.value) == ("private_address", "192.168.9.1")
    assert f"it is that of {card}, which" in problem.reason
    assert problem.remedy.endswith(": 10.0.0.12")
    assert problems(reports, w1={"private_address": "10.0.0.12"}) == []


def test_a_virtual_address() -> None:
    reports = {**fresh(), "w1": with_cards(12, eth0="10.0.0.100/32", eth1="203.0.113.5/32")}
    problem = the_one(problems(reports, w1={"private_address": "10.0.0.100"}))
    assert "a virtual address of eth0 (/32), which moves between hosts" in problem.reason
    assert problem.remedy.endswith(": 10.0.0.12, 203.0.113.5")
    assert problems(reports, w1={"private_address": "203.0.113.5"}) == []  # some clouds' cards have no other


def test_the_address_of_a_vpn() -> None:
    over = {**fresh(), "w1": replace(with_cards(12, wg0="10.9.0.2/32"), tunnels=frozenset({"wg0"}))}
    by_route = changed(over, "w1", default_address="10.9.0.2")
    problem = the_one(problems(by_route))
    assert (problem.where, problem.setting, problem.value) == ("w1", "private_address", "10.9.0.2")
    assert "the default route leads through wg0, the tunnel of a VPN" in problem.reason
    assert problem.remedy.endswith(": 10.0.0.12")
    # Who says so wants it.
    chosen = {"private_address": "10.9.0.2"}
    assert problems(by_route, w1=chosen) == []
    (line,) = warned(by_route, w1=chosen)
    assert line.startswith("w1: private_address = '10.9.0.2' is that of the tunnel wg0")
    assert warned(over) == []


def joined(number: int, name: str, node_ip: str) -> HostReport:
    return replace(report(member(number, name)), node_ip=node_ip)


def test_a_member_keeps_its_address() -> None:
    """By the files of its kubelet, else by its Node."""
    of_node = "Node|/w1|||10.0.0.12|True\nNode|/w2|||10.0.0.13|True"
    same = {**running(nodes=of_node), "w1": joined(12, "w1", "10.0.0.12")}
    assert problems(same) == []
    problem = the_one(problems({**same, "w1": joined(77, "w1", "10.0.0.12")}))  # by another DHCP lease
    assert (problem.where, problem.setting, problem.value) == ("w1", "private_address", "10.0.0.77")
    assert (
        "has joined with 10.0.0.12, which none of its network cards has any more; it has: 10.0.0.77" in problem.reason
    )
    assert "give the card that address again" in problem.remedy and f"on w1: {RESET} ; then run" in problem.remedy
    set_too = problems({**same, "w1": joined(77, "w1", "10.0.0.12")}, w1={"private_address": "10.0.0.12"})
    assert the_one(set_too).remedy == problem.remedy  # the setting is right
    problem = the_one(problems({**same, "w2": report(member(14, "w2"))}))
    assert (problem.where, problem.value) == ("w2", "10.0.0.14") and "joined with 10.0.0.13" in problem.reason


def test_a_member_with_a_second_card() -> None:
    two = replace(
        joined(12, "w1", "10.0.0.12"),
        addresses=(IPv4Interface("10.0.0.12/24"), IPv4Interface("192.168.7.2/24")),
        device_of={"10.0.0.12": "eth0", "192.168.7.2": "eth1"},
    )
    reports = {**running(), "w1": two}
    problem = the_one(problems(reports, w1={"private_address": "192.168.7.2"}))
    assert "a run can't give a node another address" in problem.reason
    assert problem.remedy.startswith('set private_address = "10.0.0.12" for it; or have it join anew')
    by_route = {**reports, "w1": replace(two, default_address="192.168.7.2")}  # the card's route came up first
    assert the_one(problems(by_route)).value == "192.168.7.2"
    assert problems(by_route, w1={"private_address": "10.0.0.12"}) == []


def test_a_control_plane_keeps_its_address() -> None:
    cp1 = replace(report(control_plane()), advertised="10.0.0.99")
    problem = the_one(problems({**running(), "cp1": cp1}))
    assert (problem.where, problem.value) == ("cp1", "10.0.0.11")
    assert "has joined with 10.0.0.99" in problem.reason
    assert "a control plane keeps its address" in problem.remedy and "kubeadm reset" not in problem.remedy


def test_addresses_known_without_asking() -> None:
    reports = {"cp1": report(control_plane(nodes="Node|/w1|||10.0.0.12|True"))}
    hosts = cluster_hosts(reports, w2={"private_address": "10.0.0.13"})
    assert hosts.addresses() == {"cp1": "10.0.0.11", "w1": "10.0.0.12", "w2": "10.0.0.13"}


# --- Clocks ----------------------------------------------------------------------------------------------------------
def test_clocks_that_may_agree_are_fine() -> None:
    # A slow answer: nobody can tell where in its 60 s the host read its clock.
    assert problems(changed(fresh(), "w1", clock=(-30.0, 30.0))) == []
    assert problems({name: replace(one, clock=(99.9, 100.1)) for name, one in fresh().items()}) == []
    assert problems(changed(fresh(), "w1", clock=(4.0, 6.0))) == []


def test_two_clocks_far_from_each_other_but_not_from_the_third() -> None:
    reports = changed(changed(fresh(), "w1", clock=(4.0, 4.1)), "w2", clock=(-4.1, -4.0))
    problem = the_one(problems(reports))
    assert {problem.where} < {"w1", "w2"}
    assert problem.value == "8.0 s"
    assert problems(reports, {"max_clock_skew_s": 9}) == []


# --- Packages --------------------------------------------------------------------------------------------------------
def _versions(kubelet: tuple[str, ...], docker: tuple[str, ...]) -> dict[str, Repository]:
    now = fresh()["w1"].repositories
    assert now is not None
    return {
        "kubernetes": Repository("", {**now["kubernetes"].versions, "kubelet": kubelet}),
        "docker": Repository("", {**now["docker"].versions, "docker-ce": docker}),
    }


def test_a_version_that_the_mirror_does_not_have() -> None:
    docker = ("5:29.9.3-1~debian.12~bookworm",)
    repositories = _versions(("1.36.1-1.1", "1.36.2-1.1", "1.36.31-1.1", "1.36.3-1.10"), docker)
    problem = the_one(problems(changed(fresh(), "w1", repositories=repositories)))
    assert (problem.where, problem.setting, problem.value) == ("w1", "kubernetes_version", "1.36.3")
    assert "no kubelet 1.36.3-1.1" in problem.reason
    assert "1.36.2-1.1" in problem.remedy and "days behind upstream" in problem.remedy
    repositories = _versions(("1.36.3-1.1",), ("5:29.9.30-1~debian.12~bookworm",))
    problem = the_one(problems(changed(fresh(), "w1", repositories=repositories)))
    assert (problem.setting, problem.value) == ("docker_version", "29.9.3")
    repositories = _versions((), docker)
    problem = the_one(problems(changed(fresh(), "w1", repositories=repositories)))
    assert "it has no kubelet at all" in problem.remedy


# --- Membership ------------------------------------------------------------------------------------------------------
def test_a_worker_of_another_cluster() -> None:
    for reports in (
        {**running(), "w1": report(member(12, "w1", OTHER_CA))},
        {**fresh(), "w1": report(member(12, "w1", OTHER_CA))},
        {**running(), "w1": report(member(12, "x", OTHER_CA))},
        {**fresh(), "w1": report(member(12, "w1"))},  # its control plane was rebuilt
    ):
        problem = the_one(problems(reports))
        assert (problem.where, problem.value) == ("w1", "https://10.0.0.11:6443")
        assert "node of another cluster" in problem.reason
        assert "kubeadm reset --force" in problem.remedy


@pytest.mark.parametrize(
    ("fields", "reason", "remedy"),
    [
        ({"admin_conf": True, "debris": True, "ours": True}, "did not come to its end", "kubeadm reset --force"),
        ({"debris": True, "ours": True}, "/var/log/kubestage-init.log", "kubeadm reset --force"),
        ({"debris": True, "ours": True, "initialized": True}, "its admin.conf is gone", "kubeconfig admin"),
        ({"admin_conf": True, "kubelet_conf": True}, "not made by kubestage", "the right machine"),
        ({"kubelet_conf": True}, "not made by kubestage", "the right machine"),
    ],
)
def test_a_control_plane_that_is_not_ours_or_not_whole(fields: dict[str, Any], reason: str, remedy: str) -> None:
    problem = the_one(problems(changed(fresh(), "cp1", **fields, tcp_ports=frozenset({22, 6443}))))
    assert problem.where == "cp1"
    assert reason in problem.reason
    assert remedy in problem.remedy


def test_a_whole_cluster_that_is_not_ours() -> None:
    found = problems(changed(running(), "cp1", initialized=False, ours=False))
    assert [problem.where for problem in found] == ["cp1", "w1", "w2"]
    assert "not made by kubestage" in found[0].reason
    assert "our control plane is not initialised" in found[1].reason


def test_a_member_under_another_name() -> None:
    problem = the_one(problems({**running(), "w1": report(member(12, "old-w1"))}))
    assert (problem.where, problem.value) == ("w1", "old-w1")
    assert "call it 'old-w1'" in problem.remedy


def test_a_name_that_another_machine_has() -> None:
    problem = the_one(problems({**running(nodes="Node|/w1|||10.0.0.99|True"), "w1": report(bare(12))}))
    assert (problem.where, problem.value) == ("w1", "w1")
    assert "10.0.0.99" in problem.reason
    assert "rename this host" in problem.remedy


# --- NodePorts -------------------------------------------------------------------------------------------------------
def test_reserved_ports() -> None:
    reports = changed(fresh(), "w1", tcp_ports=frozenset({22, 9100, 40000}), udp_ports=frozenset({68, 323}))
    hosts = cluster_hosts(reports, {"node_port_reserved": ["8000-8002", 40]}, w2={"ssh_port": 2222})
    kubernetes = (2379, 2380, 2381, 6443, 7443, 8472, 10248, 10249, 10250, 10256, 10257, 10259)
    assert hosts.reserved_ports() == tuple(sorted((323, 2222, 8000, 8001, 8002, 9100, *kubernetes)))


def test_ports_of_outgoing_connections_are_not_reserved() -> None:
    """What listens by TCP does so wherever the range of outgoing connections lies; of UDP nobody can tell."""
    ports = {"tcp_ports": frozenset({22, 9100, 40000}), "udp_ports": frozenset({5353, 40001, 61000})}
    reports = changed(fresh(), "w1", **ports)
    reserved = cluster_hosts(reports, {"node_port_range": "80-65535"}).reserved_ports()
    assert {9100, 40000, 5353, 61000} < set(reserved) and 40001 not in reserved
    wide = changed(reports, "w1", ephemeral_ports=(1024, 65535))
    reserved = cluster_hosts(wide, {"node_port_range": "80-65535"}).reserved_ports()
    assert {9100, 40000} < set(reserved) and not {5353, 61000, 40001}.intersection(reserved)


def test_more_ports_than_one_service_holds() -> None:
    """The settings' own rule has passed: what hosts listen on comes on top."""
    reserved = {"node_port_reserved": ["20000-23179"]}  # 3,180, and 12 of Kubernetes and SSH
    assert problems(changed(fresh(), "w1", tcp_ports=frozenset({22, *range(9000, 9008)})), reserved) == []
    problem = the_one(problems(changed(fresh(), "w1", tcp_ports=frozenset({22, *range(9000, 9100)})), reserved))
    assert (problem.where, problem.setting, problem.value) == ("all hosts", "node_port_range", "80-32767")
    assert "3292 ports of it would be held, 112 of them as something listens there" in problem.reason
    assert "more than 3200" in problem.reason and "narrow it" in problem.remedy


def test_a_host_that_was_not_asked_keeps_its_reservation() -> None:
    service = "Service|kube-system/kubestage-reserved-node-ports||9100 70||"
    everyone = running(service)
    limited = {name: everyone[name] for name in ("cp1", "w1")}
    assert 9100 not in cluster_hosts(everyone).reserved_ports()
    assert 9100 in cluster_hosts(limited).reserved_ports()
    assert 70 not in cluster_hosts(limited).reserved_ports()  # outside of the range


@pytest.mark.parametrize(
    ("port", "settings", "listening", "reason"),
    [
        (10250, {}, 22, "Kubernetes itself listens on it"),
        (6443, {}, 22, "the API server itself listens on it"),
        (8472, {}, 22, "flannel itself listens on it"),
        (9100, {}, 9100, "a program on w1 listens on it"),
        (9100, {"node_port_reserved": ["9000-9200"]}, 22, "node_port_reserved holds it"),
    ],
)
def test_a_reserved_port_that_a_service_has(port: int, settings: dict[str, Any], listening: int, reason: str) -> None:
    reports = running(f"Service|shop/web||{port}||")
    ports = reports["w1"].tcp_ports | {listening}
    problem = the_one(problems(changed(reports, "w1", tcp_ports=ports), settings))
    assert (problem.where, problem.setting, problem.value) == ("the cluster", "NodePort", port)
    assert "Service shop/web has it" in problem.reason and reason in problem.reason
    assert "give that Service another port" in problem.remedy


def test_a_health_check_port_is_no_collision() -> None:
    reports = running("Service|shop/web|30100|8080||")
    ports = reports["w1"].tcp_ports | {30100}  # kube-proxy
    assert problems(changed(reports, "w1", tcp_ports=ports)) == []
    assert 30100 not in cluster_hosts(changed(reports, "w1", tcp_ports=ports)).reserved_ports()


@pytest.mark.parametrize("service", ["Service|shop/web||80||", "Service|shop/web|80|30000||"])
def test_a_range_without_a_port_in_use(service: str) -> None:
    problem = the_one(problems(running(service), {"node_port_range": "30000-32767", "stacks": []}))
    assert (problem.setting, problem.value) == ("node_port_range", "30000-32767")
    assert "Service shop/web has NodePort 80" in problem.reason
    assert "widen the range to include 80" in problem.remedy


def test_a_range_that_hosts_fill() -> None:
    reports = changed(fresh(), "w1", tcp_ports=frozenset({22, 90, 91}))
    problem = the_one(problems(reports, {"node_port_range": "90-91", "stacks": []}))
    assert "no port of it is left" in problem.reason
    assert problems(reports, {"node_port_range": "90-92", "stacks": []}) == []


def test_an_api_that_does_not_answer_is_no_problem() -> None:
    reports = changed(running(), "cp1", cluster=None, cluster_error="connection refused")
    assert problems(reports) == []


# --- The sites' ports ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("protocol", ["tcp_ports", "udp_ports"])
def test_a_program_at_a_port_of_the_sites(protocol: str) -> None:
    reports = fresh()
    for name in ("w1", "w2"):
        reports = changed(reports, name, **{protocol: getattr(reports[name], protocol) | {443}})
    problem = the_one(problems(reports))
    assert (problem.where, problem.setting, problem.value) == ("w1, w2", "https_port", 443)
    assert "a program listens on it there" in problem.reason
    assert "ss -lntup 'sport = :443'" in problem.remedy and "another https_port" in problem.remedy
    elsewhere = {"https_port": 8443, "http_redirect": False}
    assert problems(reports, elsewhere) == problems(reports, {"stacks": []}) == []


@pytest.mark.parametrize("service", ["Service|shop/web||80||", "Service|shop/web|80|30100||"])
def test_a_service_at_a_port_of_the_sites(service: str) -> None:
    reports = running(service)
    problem = the_one(problems(reports))
    assert (problem.where, problem.setting, problem.value) == ("the cluster", "http_port", 80)
    assert "Service shop/web has this NodePort" in problem.reason
    assert "kubectl -n shop edit service web" in problem.remedy
    elsewhere = {"http_port": 8080, "http_redirect": False}
    assert problems(reports, elsewhere) == problems(reports, {"stacks": []}) == []


def test_the_sites_own_service_is_fine() -> None:
    assert problems(running("Service|projectcontour/envoy||80 443||")) == []
    reports = running("Service|projectcontour/envoy||80 443||\nService|shop/web||8443||")
    assert the_one(problems(reports, {"http_port": 8443, "http_redirect": False})).value == 8443


def test_a_program_at_a_port_that_the_sites_have_is_told_once() -> None:
    reports = running("Service|projectcontour/envoy||80 443||")
    problem = the_one(problems(changed(reports, "w1", tcp_ports=reports["w1"].tcp_ports | {80})))
    assert (problem.setting, problem.value) == ("NodePort", 80)
    assert "a program on w1 listens on it" in problem.reason


def test_a_port_of_the_sites_that_is_held_for_a_host_that_was_not_asked() -> None:
    reports = running("Service|kube-system/kubestage-reserved-node-ports||80||")
    assert problems(reports) == []  # the reservation is made anew before the sites take it
    problem = the_one(problems({name: reports[name] for name in ("cp1", "w1")}))
    assert (problem.where, problem.setting, problem.value) == ("the cluster", "http_port", 80)
    assert problem.remedy == "run once without --limit"


# --- Volumes ---------------------------------------------------------------------------------------------------------
NO_STORAGE = {"stacks": ["ingress", "registry"], "storage_class": "cloud-ssd"}


def test_volumes_in_use_keep_the_stack_storage() -> None:
    reports = running(volumes=["shop/orders|local-path|2Gi", "a/b|local-path|1Gi", "shop/cache|cloud-ssd|8Gi"])
    assert problems(reports) == []
    problem = the_one(problems(reports, NO_STORAGE))
    assert (problem.where, problem.setting, problem.value) == ("the cluster", "stacks", ["ingress", "registry"])
    assert "by a/b, shop/orders: " in problem.reason
    assert "kubectl --namespace a delete persistentvolumeclaim b" in problem.remedy


def test_volumes_that_are_leaving_are_waited_for() -> None:
    reports = running(volumes=["shop/orders|local-path|2Gi|Delete Released", "registry/registry|x|1Gi|Delete Released"])
    assert problems(reports, NO_STORAGE) == problems(reports) == []
    kept = running(volumes=["shop/orders|local-path|2Gi|Retain Released"])
    assert "by shop/orders: " in the_one(problems(kept, NO_STORAGE)).reason


@pytest.mark.parametrize("stacks", [[], ["ingress"], ["storage"]], ids=str)
def test_the_registrys_volume_goes_with_it(stacks: list[str]) -> None:
    assert problems(running(volumes=["registry/registry|local-path|20Gi"]), {"stacks": stacks}) == []


@pytest.mark.parametrize("volume", ["local-path", "cloud-hdd"])
def test_the_registrys_volume_keeps_its_class(volume: str) -> None:
    reports = running(volumes=[f"registry/registry|{volume}|20Gi"])
    problem = the_one(problems(reports, NO_STORAGE))
    assert (problem.where, problem.setting, problem.value) == ("the cluster", "storage_class", "cloud-ssd")
    assert f'is of the StorageClass "{volume}", which can\'t be changed' in problem.reason
    assert 'run once without "registry" in stacks' in problem.remedy
    assert problems(reports, {"storage_class": volume}) == []


@pytest.mark.parametrize(
    ("made", "wanted", "fits"),
    [
        ("20Gi", "20Gi", True),
        ("20Gi", "20480Mi", True),
        ("1Ti", "1024Gi", True),
        ("1Ti", "1048576Mi", True),
        ("1Pi", "1024Ti", True),
        ("1536Mi", "1536Mi", True),
        ("20Gi", "20Ti", False),
        ("20Gi", "21Gi", False),
        ("20Gi", "10Gi", False),
    ],
)
def test_the_registrys_volume_keeps_its_size(made: str, wanted: str, fits: bool) -> None:
    reports = running(volumes=[f"registry/registry|local-path|{made}"])
    found = problems(reports, {"registry": {"size": wanted}})
    assert [(problem.setting, problem.value) for problem in found] == [("registry.size", wanted)] * (not fits)
    assert all(f"was made with {made}" in problem.reason for problem in found)


def test_images_that_nobody_has() -> None:
    """One address that answers is enough for a registry."""
    refused = "connect: Connection refused"
    found = {
        "docker.io": {"https://a": refused, "https://b": ""},
        "ghcr.io": {"https://a": refused},
        "registry.k8s.io": {"https://a": refused, "https://registry.k8s.io": "no answer within 5 s"},
    }
    problem = the_one(problems(changed(fresh(), "w1", registries=found)))
    assert (problem.where, problem.setting) == ("w1", "mirror")
    assert problem.reason == (
        "the images of ghcr.io, registry.k8s.io can't be had: "
        "https://a: connect: Connection refused; https://registry.k8s.io: no answer within 5 s"
    )


def test_what_a_class_of_ones_own_does_with_sizes_is_its_business() -> None:
    reports = running(volumes=["registry/registry|cloud-ssd|40Gi"])
    assert problems(reports, {"storage_class": "cloud-ssd"}) == []


# --- What a cluster was made with ------------------------------------------------------------------------------------
MADE = {
    "version": "1.36.3",
    "cluster-name": "kubestage",
    "cluster-cidr": "10.244.0.0/16",
    "service-cluster-ip-range": "10.96.0.0/12",
    "secure-port": "6443",
    "clusterDomain": "cluster.local",
    "cgroupDriver": "systemd",
}


def test_a_cluster_made_with_these_settings_is_fine() -> None:
    assert problems(changed(running(), "cp1", made=MADE)) == []


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("kubernetes_version", "1.36.4"),
        ("cluster_name", "other"),
        ("pod_cidr", "10.200.0.0/16"),
        ("service_cidr", "10.97.0.0/16"),
        ("api_port", 8443),
        ("cluster_domain", "other.local"),
        ("cgroup_driver", "cgroupfs"),
    ],
)
def test_what_a_living_cluster_was_made_with_stays(setting: str, value: Any) -> None:
    found = problems(changed(running(), "cp1", made=MADE), {setting: value})
    (problem,) = (each for each in found if "living cluster" in each.reason)
    assert (problem.where, problem.setting, problem.value) == ("the cluster", setting, value)
    assert "set it back to" in problem.remedy


def test_a_cluster_that_was_made_without_an_endpoint() -> None:
    problem = the_one(problems(changed(running(), "cp1", made={**MADE, "endpoint": "10.0.0.11:6443"})))
    assert (problem.where, problem.value) == ("the cluster", "10.0.0.11:6443")
    assert "one host's address" in problem.reason and f"on each host: {RESET}" in problem.remedy
    assert problems(changed(running(), "cp1", made={**MADE, "endpoint": "127.0.0.1:7443"})) == []


def test_the_endpoints_port_is_free_or_ours() -> None:
    taken = changed(fresh(), "w1", tcp_ports=frozenset({22, 7443}))
    assert the_one(problems(taken)).value == 7443
    assert problems(changed(taken, "w1", endpoint=True)) == []  # of a join that was killed


class TestOtherRuntimes:
    PACKAGES = {"docker.io": "20.10.24", "runc": "1.1.5"}  # noqa: RUF012

    def reports(self, *containers: str) -> dict[str, HostReport]:
        return changed(fresh(), "w1", runtimes=self.PACKAGES, containers=containers)

    def test_one_that_is_in_use(self) -> None:
        problem = the_one(problems(self.reports("docker shop", "docker ?", *(f"podman {n}" for n in range(5)))))
        assert (problem.where, problem.value) == ("w1", "docker.io 20.10.24, runc 1.1.5")
        assert "(docker shop, docker ?, podman 0, podman 1, podman 2 and 2 more)" in problem.reason
        assert "take_over_runtime = True" in problem.remedy

    def test_one_that_may_be_taken_over(self) -> None:
        reports = self.reports("docker shop")
        assert problems(reports, w1={"take_over_runtime": True}) == []
        assert len(problems(reports, w2={"take_over_runtime": True})) == 1
        (told,) = runtimes.taken_over(cluster_hosts(reports, w1={"take_over_runtime": True}))
        assert told.startswith("w1: ") and "docker.io 20.10.24, runc 1.1.5" in told and "stops: docker shop" in told

    def test_an_idle_one_is_told_of(self) -> None:
        assert problems(self.reports()) == []
        (told,) = runtimes.taken_over(cluster_hosts(self.reports()))
        assert "docker.io 20.10.24" in told and "no container runs there" in told

    def test_none(self) -> None:
        assert list(runtimes.taken_over(cluster_hosts(fresh()))) == []


class TestVersionOfAMember:
    def reports(self, installed: str) -> dict[str, HostReport]:
        return changed(running(), "w1", packages={"kubelet": f"{installed}-1.1"})

    def test_raised(self) -> None:
        problem = the_one(problems(self.reports("1.36.2")))
        assert (problem.where, problem.setting, problem.value) == ("w1", "kubernetes_version", "1.36.3")
        assert "its kubelet is 1.36.2" in problem.reason
        assert "set it back to 1.36.2" in problem.remedy and "upgrade.py (with --limit w1" in problem.remedy
        assert problems(self.reports("1.36.2"), w1={"kubernetes_version": "1.36.2"}) == []

    def test_one_that_is_newer_than_its_control_plane(self) -> None:
        """No setting would allow it."""
        remedy = the_one(problems(self.reports("1.37.0"))).remedy
        assert "set it back" not in remedy and "kubeadm reset" in remedy

    def test_another_revision_of_the_package(self) -> None:
        assert problems(self.reports("1.36.3"), {"kubernetes_package_revision": "2.1"}) == []

    def test_a_host_that_has_not_joined(self) -> None:
        assert problems(changed(fresh(), "w1", packages={"kubelet": "1.36.2-1.1"})) == []
