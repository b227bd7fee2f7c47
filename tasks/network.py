"""The pod network, and the NodePorts that no Service may have."""

from __future__ import annotations

from kubestage.cluster.phase import phase
from kubestage.cluster.plan import HostPlan
from kubestage.operations import node_certificates, nodes, stacks
from kubestage.stacks import network


@phase("Network", look_at="`kubectl get pods -A -o wide`; `journalctl -u kubelet` on the node that is not Ready")
def install(plan: HostPlan) -> None:
    """flannel and the reserved NodePorts; ends with every node Ready, labelled, tainted and serving."""
    if plan.is_leader:
        reserved = network.reserved_node_ports(plan.reserved_ports)
        flannel = network.flannel(plan.settings)
        if plan.reserved_ports:
            stacks.stacks(
                stacks=[reserved, flannel],
                seen=plan.stack_objects,
                timeout_s=plan.settings.timeout_s(180),
                name="flannel, reserved NodePorts",
            )
        else:  # a range above all that listens: a Service without ports is refused
            stacks.stacks(
                stacks=[flannel], seen=plan.stack_objects, timeout_s=plan.settings.timeout_s(180), name="flannel"
            )
            stacks.no_stack(
                stack=reserved,
                seen=plan.stack_objects,
                timeout_s=plan.settings.timeout_s(180),
                name="No reserved NodePorts",
            )
    if plan.acts_for_all:
        nodes.marks(
            control_plane=plan.speaker,
            labels={name: plan.hosts[name].node_labels for name in plan.targeted},
            taints={name: plan.taints(name) for name in plan.targeted},
            name="Labels and taints",
        )
        nodes.readiness(
            control_plane=plan.speaker,
            names=plan.targeted,
            timeout_s=plan.settings.timeout_s(180),
            name="Nodes are Ready",
        )
        if any(name in plan.targeted for name in plan.joining):
            nodes.cluster_dns_anew(control_plane=plan.speaker, name="Cluster DNS spreads")
        node_certificates.approvals(
            control_plane=plan.speaker,
            addresses=plan.addresses,
            awaited=plan.targeted,
            timeout_s=plan.settings.timeout_s(120),
            name="Kubelets' serving certificates",
        )
