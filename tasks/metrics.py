"""metrics-server."""

from __future__ import annotations

from kubestage.cluster.phase import PODS, phase
from kubestage.cluster.plan import HostPlan
from kubestage.operations import certificates, files, stacks
from kubestage.stacks import metrics


@phase("Metrics", look_at=PODS)
def install(plan: HostPlan) -> None:
    """metrics-server with a certificate of its own; or nothing of it."""
    if not plan.is_leader:
        return
    on = "metrics" in plan.settings.stacks
    if on:
        certificates.mutual(
            folder=metrics.SERVING,
            uses=metrics.SERVING_USES,
            renew_days=plan.settings.certificate_renew_days,
            name="metrics-server's certificate",
        )
    stacks.switched(
        stack=metrics.metrics(plan.settings),
        on=on,
        seen=plan.stack_objects,
        timeout_s=plan.settings.timeout_s(180),
        name="metrics-server",
    )
    if not on:
        files.folder_absent(path=metrics.SERVING, name="No certificate of metrics-server")
