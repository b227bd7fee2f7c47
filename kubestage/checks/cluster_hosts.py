"""What the rules look at: a valid Cluster, and the reports of the hosts that were asked."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from kubestage.facts.host_report import ClusterReport, HostReport
from kubestage.kubernetes import INIT_UNIT, JOIN_UNIT
from kubestage.settings import Cluster, ClusterSettings, HostSettings, Problem
from kubestage.settings.cluster import ALL_HOSTS
from kubestage.stacks.network import RESERVED_SERVICE

RESERVATION = f"kube-system/{RESERVED_SERVICE}"


def leader(cluster: Cluster, reports: Mapping[str, HostReport]) -> str:
    """The name of the first control plane host to which the API answers; else the first of the cluster, or to be.

    Before others one that has led before: what the platform keeps on a disk, such as manifests, is on its already.
    """
    initialised = [
        name
        for name in cluster.control_plane
        if name in reports and reports[name].initialized and reports[name].admin_conf
    ]
    answering = [name for name in initialised if reports[name].cluster]
    led = [name for name in answering if reports[name].leads]
    return next(iter((*led, *answering, *initialised, cluster.first)))


@dataclass(frozen=True)
class ClusterHosts:
    """A Cluster with the reports of its hosts."""

    cluster: Cluster
    reports: Mapping[str, HostReport]

    @property
    def common(self) -> ClusterSettings:
        return self.cluster.common

    def wrong(self, setting: str, reason: str, remedy: str, where: str = ALL_HOSTS) -> Problem:
        """See Cluster.wrong."""
        return self.cluster.wrong(setting, reason, remedy, where)

    @property
    def leader(self) -> str:
        """The name of the control plane host that speaks for the cluster: see leader()."""
        return leader(self.cluster, self.reports)

    def __iter__(self) -> Iterator[tuple[str, HostSettings, HostReport]]:
        """The hosts that answered, in the cluster's order."""
        for name in self.cluster.nodes:
            if name in self.reports:
                yield name, self.cluster.hosts[name], self.reports[name]

    @property
    def living(self) -> ClusterReport | None:
        """What the cluster's API says; None where there is no cluster yet, or none that answers."""
        report = self.reports.get(self.leader)
        return report.cluster if report else None

    @property
    def ca(self) -> str:
        """The fingerprint of our cluster's CA; "" while there is no cluster."""
        report = self.reports.get(self.leader)
        return report.admin_ca if report and report.initialized and report.admin_conf else ""

    @property
    def version(self) -> str:
        """The version of Kubernetes that the control plane has, as its leader has it; "" while there is no cluster."""
        return self.reports[self.leader].made.get("version", "") if self.ca else ""

    def is_member(self, name: str) -> bool:
        """Whether the host is of this very cluster, or a kubeadm of ours is at work there."""
        report = self.reports[name]
        if name in self.cluster.control_plane:
            made = report.initialized and report.admin_conf and report.admin_ca == self.ca
            return made or report.running in (INIT_UNIT, JOIN_UNIT)
        if report.kubelet_conf:
            return bool(self.ca) and report.kubelet_ca == self.ca
        return report.running == JOIN_UNIT

    def are_all(self, names: Collection[str]) -> bool:
        """Whether `names` are all hosts of the cluster."""
        return len(names) == len(self.cluster.nodes)

    def is_known(self, name: str) -> bool:
        """Whether the cluster may have something of the host: it is a member, or there is a Node of its name."""
        member = name in self.reports and self.is_member(name)
        return member or bool(self.living and name in self.living.nodes)

    def joined_as(self, name: str) -> str:
        """The address with which a member has joined, by its own files, else by its Node object; "" for none."""
        report = self.reports[name]
        if not report.kubelet_conf or not self.is_member(name):
            return ""
        node = self.living.nodes.get(report.node_name or name) if self.living else None
        return report.advertised or report.node_ip or (node.address if node else "")

    def addresses(self) -> dict[str, str]:
        """Host name -> private address, where it is known: set, reported, or the Node object's."""
        known = {}
        for name, settings in self.cluster.hosts.items():
            report = self.reports.get(name)
            node = self.living.nodes.get(name) if self.living else None
            address = settings.private_address or (report.default_address if report else "")
            address = address or (node.address if node else "")
            if address:
                known[name] = address
        return known

    def own_ports(self) -> dict[int, str]:
        """Ports in the hands of Kubernetes and SSH -> whose each one is."""
        return self.common.own_ports(self.cluster.ssh_ports)

    def listening(self) -> dict[int, list[str]]:
        """Ports that a host listens on -> those hosts' names.

        TCP tells a listener from an outgoing connection. UDP does not: there, what lies in the range of outgoing
        connections is taken for one. Without the ports where kube-proxy answers for a Service's health.
        """
        ports: dict[int, list[str]] = {}
        health = self.living.health_ports if self.living else {}
        for name, _, report in self:
            low, high = report.ephemeral_ports
            outgoing = {port for port in report.udp_ports if low <= port <= high}
            for port in report.tcp_ports | (report.udp_ports - outgoing):
                if port not in health:
                    ports.setdefault(port, []).append(name)
        return ports

    def services_at(self, port: int) -> list[str]:
        """The Services, our reservation aside, that have this NodePort."""
        return [name for name in (self.living.node_ports.get(port, ()) if self.living else ()) if name != RESERVATION]

    def reserved_ports(self) -> tuple[int, ...]:
        """All ports of the NodePort range that no Service may get, sorted.

        A host that was not asked (--limit) keeps what the reservation in the cluster holds.
        """
        common = self.common
        ports = {*common.reserved_ports, *self.own_ports(), *self.listening()}
        if self.living and len(self.reports) < len(self.cluster.nodes):
            ports |= {port for port, services in self.living.node_ports.items() if RESERVATION in services}
        return tuple(sorted(port for port in ports if port in common.node_ports))
