"""What preflight tells of, though a run goes on. A warning is a generator of lines; it looks at what the rules see."""

from __future__ import annotations

from collections.abc import Iterator

from kubestage.checks.cluster_hosts import ClusterHosts
from kubestage.checks.disks import disks
from kubestage.checks.wanted import folders
from kubestage.facts.host_report import HostReport
from kubestage.facts.host_report.wanted import KUBELET
from kubestage.facts.pressure import Left, told
from kubestage.settings import HostSettings


def silent_api(hosts: ClusterHosts) -> Iterator[str]:
    report = hosts.reports.get(hosts.leader)
    if report and report.cluster_error:
        yield (
            "The API server does not answer, so NodePorts in use were not compared with the reserved ones: "
            f"{report.cluster_error}"
        )


def unknown_stack_objects(hosts: ClusterHosts) -> Iterator[str]:
    if hosts.living and hosts.living.stack_objects.error:
        yield (
            "What stacks have put into the cluster may not be all known, and what is not known stays: "
            f"{hosts.living.stack_objects.error}"
        )


def nodes_of_no_host(hosts: ClusterHosts) -> Iterator[str]:
    """Taken out of the inventory, and not out of the cluster: nothing of what a run does or looks at is about them."""
    living = hosts.living
    if living is None:
        return
    names = {report.node_name or name for name, _, report in hosts} | set(hosts.cluster.nodes)
    for node in sorted(living.nodes.keys() - names):
        held = sorted(claim for claim, each in living.volumes.items() if each.node == node)
        lost = f", with the volumes that lie on it: {', '.join(held)}" if held else ""
        yield (
            f"{node} is a node of the cluster, and no host of the inventory. Put it back there; and if it is to leave "
            f"the cluster{lost}, give that inventory to remove.py, with --limit {node}: living or dead, it is taken out"
        )


def volumes_out_of_reach(hosts: ClusterHosts) -> Iterator[str]:
    """Kubernetes waits with what uses them as long as the node is away, and so nobody else does."""
    for claim, node in sorted(hosts.living.out_of_reach.items() if hosts.living else ()):
        if node in hosts.cluster.hosts:
            yield f"The volume {claim} lies on {node}, which is not Ready: what uses it serves again when that is back"


def even_control_plane(hosts: ClusterHosts) -> Iterator[str]:
    """https://etcd.io/docs/v3.6/faq/, "Why an odd number of cluster members?"."""
    number = len(hosts.cluster.control_plane)
    if number % 2 == 0:
        yield (
            f"The control plane has {number} hosts, and works while {number // 2 + 1} of them do: it outlives the loss "
            f"of {number // 2 - 1}, as one of {number - 1} does. Take one more, or one less"
        )


def pressure(hosts: ClusterHosts) -> Iterator[str]:
    """By the Node objects; a kubelet goes on telling of it for some minutes after it is over."""
    for node, pressures in (hosts.living.pressures if hosts.living else {}).items():
        report, settings = hosts.reports.get(node), hosts.cluster.hosts.get(node)
        for each in pressures:
            left = _left(hosts, each, settings, report) if settings and report else []
            yield f"{told(node, each, left)}: the kubelet evicts pods there, and starts hardly any new ones"


def _left(hosts: ClusterHosts, pressure: str, settings: HostSettings, report: HostReport) -> list[Left]:
    if pressure == "DiskPressure":
        return [disk.left for disk in disks(hosts, settings, report)]
    if pressure == "MemoryPressure":
        return [Left("its memory", report.memory_free_mib * 2**20, report.memory_mib * 2**20)]
    tasks, most = report.tasks
    return [Left("its process ids", most - tasks, most, size=False)]


def volumes_without_programs(hosts: ClusterHosts) -> Iterator[str]:
    for name, settings, report in hosts:
        system = report.folders[KUBELET]
        if system.noexec:
            yield (
                f"{name}: {folders(hosts.common, settings)[KUBELET]} is on {system.mount}, which is mounted noexec: "
                "pods can't start programs that lie in their emptyDir volumes"
            )


def private_address_of_a_tunnel(hosts: ClusterHosts) -> Iterator[str]:
    """It was chosen by name; one that is taken as the default route leads there is refused."""
    for name, settings, report in hosts:
        device = report.device_of.get(settings.private_address, "")
        if device in report.tunnels:
            yield (
                f"{name}: private_address = {settings.private_address!r} is that of the tunnel {device}: "
                "the cluster ends where that does, and its packets have to fit into it"
            )
