"""The user's own manifests."""

from __future__ import annotations

from kubestage.cluster.phase import PODS, phase
from kubestage.cluster.plan import HostPlan
from kubestage.operations import own_manifests as operations
from kubestage.stacks.own_manifests import own_manifests


@phase("Manifests", look_at=PODS)
def keep(plan: HostPlan) -> None:
    """Applied in the order of the settings; what has left those is removed."""
    if not plan.is_leader:
        return
    kept = own_manifests(plan.settings)
    for own in kept:
        operations.entry(
            own=own,
            address=plan.host_settings.profile.file(own.source.url) if own.source.url else "",
            seen=plan.stack_objects,
            timeout_s=plan.settings.timeout_s(60),
            name=own.name,
        )
    operations.no_others(kept=kept, seen=plan.stack_objects, timeout_s=plan.settings.timeout_s(180), name="No others")
