"""The end of the platform's phases: every stack serves."""

from __future__ import annotations

from kubestage.cluster.phase import PODS, phase
from kubestage.cluster.plan import HostPlan
from kubestage.operations import stacks
from kubestage.stacks import network
from kubestage.stacks.catalogue import chosen


@phase("Platform", look_at=PODS)
def serve(plan: HostPlan) -> None:
    """Waits for all at once: they have pulled their images and started side by side."""
    if plan.acts_for_all:
        wanted = [network.flannel(plan.settings), *chosen(plan.settings).values()]
        kept = [stack for stack in wanted if not plan.waits_for_a_node(stack)]
        stacks.readiness(
            control_plane=plan.speaker,
            workloads=[network.CLUSTER_DNS, network.KUBE_PROXY, *(each for stack in kept for each in stack.workloads)],
            timeout_s=plan.settings.timeout_s(300),
            apis=[api for stack in kept for api in stack.apis],
            name="Every stack serves",
        )
