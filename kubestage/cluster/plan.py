"""What a run is to make of one host: its settings, its place in the cluster, and what it must know of the others."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from kubestage.certificates.ending import Due, due
from kubestage.checks.preflight import Checked
from kubestage.cluster.control_plane import ControlPlane
from kubestage.facts.host_report import HostReport
from kubestage.facts.stack_objects import StackObjects
from kubestage.facts.unknown import Unknown
from kubestage.render import kubeadm
from kubestage.settings import ClusterSettings, HostSettings
from kubestage.stacks.stack import Stack
from kubestage.stacks.storage import STORAGE_CLASS

CONTROL_PLANE_TAINT = "node-role.kubernetes.io/control-plane:NoSchedule"  # kubeadm's own


@dataclass(frozen=True)
class HostPlan:
    """One host's part in the run.

    `targeted`: the hosts that this run is for, in the inventory's order (fewer than all with `--limit`).
    `speaker`: who is asked and told what concerns the cluster, on any host's behalf.
    `kubeconfig`: where the user's own copy is kept, on the machine that the run is started from.
    """

    name: str
    checked: Checked
    targeted: tuple[str, ...]
    speaker: ControlPlane
    kubeconfig: Path

    @property
    def backups(self) -> Path:
        """Where the user's copies of backups are kept."""
        return self.kubeconfig.parent / "backups"

    @property
    def settings(self) -> ClusterSettings:
        """The cluster's."""
        return self.checked.cluster.common

    @property
    def host_settings(self) -> HostSettings:
        """The host's own."""
        return self.hosts[self.name]

    @property
    def hosts(self) -> Mapping[str, HostSettings]:
        """Every host's own settings, by its name."""
        return self.checked.cluster.hosts

    @property
    def leader(self) -> str:
        """The name of the control plane host on which things are done that are done once for a cluster."""
        return self.checked.leader

    @property
    def is_leader(self) -> bool:
        return self.name == self.leader

    @property
    def is_control_plane(self) -> bool:
        return self.name in self.checked.cluster.control_plane

    @property
    def version_now(self) -> str:
        """The version of Kubernetes that the cluster had when the run began."""
        return self.checked.reports[self.leader].made.get("version", self.host_settings.kubernetes_version)

    @property
    def joining(self) -> list[str]:
        """The control plane hosts that were known not to be in the cluster when the run began, and are to join it."""
        return [
            name
            for name in self.checked.cluster.control_plane
            if name in self.checked.reports and name not in self.checked.members and name != self.leader
        ]

    @property
    def joins_control_plane(self) -> bool:
        """Whether the host is one of them."""
        return self.name in self.joining

    def api_servers(self, joined: Collection[str] = ()) -> list[str]:
        """The private addresses at which the API is served once the hosts `joined` have joined."""
        away = set(self.joining) - set(joined)
        return [address for name, address in self.control_plane.items() if name not in away]

    @property
    def control_plane(self) -> Mapping[str, str]:
        """The private addresses of the control plane's hosts by name, as far as they are known."""
        return {name: self.addresses[name] for name in self.checked.cluster.control_plane if name in self.addresses}

    @property
    def apiserver_names(self) -> list[str]:
        """What settings put into every API server's certificate; see kubeadm.apiserver_names()."""
        return kubeadm.apiserver_names(self.settings, self.hosts, self.control_plane)

    @property
    def acts_for_all(self) -> bool:
        """Whether this is the host whose operations ask and tell the control plane for all hosts of the run."""
        return self.name == (self.leader if self.leader in self.targeted else self.targeted[0])

    @property
    def report(self) -> HostReport:
        """The host as preflight found it: for what no run changes, such as the release of its system."""
        return self.checked.reports[self.name]

    @property
    def due(self) -> Due:
        """Which of the host's certificates this run renews."""
        report, days = self.report, self.settings.certificate_renew_days
        if not (report.kubelet_conf or report.renewing):
            return Due()  # what is there is not of this cluster
        return due(report.certificates, report.renewing, datetime.now(UTC), days)

    @property
    def addresses(self) -> Mapping[str, str]:
        """The private addresses of the cluster's hosts by name, as far as they are known."""
        return self.checked.addresses

    @property
    def address(self) -> str:
        return self.addresses[self.name]

    @property
    def reserved_ports(self) -> tuple[int, ...]:
        """The NodePorts that no Service may get, sorted."""
        return self.checked.reserved_ports

    @property
    def volumes(self) -> Mapping[str, str] | Unknown:
        """The "namespace/name" of a claim -> the folder of its volume, of those of the stack storage on this host."""
        leader = self.checked.reports[self.leader]
        if leader.cluster_error and leader.initialized:  # before that, nobody has had a volume
            return Unknown(leader.cluster_error)
        living = leader.cluster
        return {
            claim: volume.path
            for claim, volume in (living.volumes if living else {}).items()
            if (volume.storage_class, volume.node) == (STORAGE_CLASS, self.name) and volume.path and not volume.leaving
        }

    def waits_for_a_node(self, stack: Stack) -> bool:
        """Whether a volume of the stack's lay on a node that was not Ready: until it is back, the stack can't serve."""
        living = self.checked.reports[self.leader].cluster
        own = stack.namespace.name if stack.namespace else ""
        return any(claim.partition("/")[0] == own for claim in (living.out_of_reach if living else ()))

    @property
    def stack_objects(self) -> StackObjects:
        """What stacks had put into the cluster when preflight asked."""
        leader = self.checked.reports[self.leader]
        if leader.cluster:
            return leader.cluster.stack_objects
        return StackObjects(error=leader.cluster_error or "no answer") if leader.admin_conf else StackObjects()

    def taints(self, name: str) -> tuple[str, ...]:
        """The taints that the node `name` is to have."""
        worker = name not in self.checked.cluster.control_plane
        own = () if worker or self.settings.schedule_on_control_plane else (CONTROL_PLANE_TAINT,)
        return (*self.hosts[name].node_taints, *own)
