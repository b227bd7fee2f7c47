"""The dashboard, a page of the cluster for people."""

from __future__ import annotations

from kubestage.cluster.phase import PODS, phase
from kubestage.cluster.plan import HostPlan
from kubestage.operations import stacks
from kubestage.stacks import dashboard


@phase("Dashboard", look_at=PODS)
def install(plan: HostPlan) -> None:
    """The flavour of the settings, and no other one."""
    if plan.is_leader:
        stacks.switched(
            stack=dashboard.other_dashboard(plan.settings),
            on=False,
            seen=plan.stack_objects,
            timeout_s=plan.settings.timeout_s(180),
            name="The dashboard's other flavour is gone",
        )
        stacks.switched(
            stack=dashboard.dashboard(plan.settings),
            on="dashboard" in plan.settings.stacks,
            seen=plan.stack_objects,
            timeout_s=plan.settings.timeout_s(180),
            name="Dashboard",
        )
