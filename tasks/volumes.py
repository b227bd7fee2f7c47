"""Volumes on the nodes' own disks."""

from __future__ import annotations

from kubestage.cluster.phase import PODS, phase
from kubestage.cluster.plan import HostPlan
from kubestage.operations import storage


@phase("Volumes", look_at=PODS)
def keep(plan: HostPlan) -> None:
    """The folders that a rebuilt host has lost, before its kubelet makes them: for root alone, and so for no pod."""
    if plan.volumes and not plan.report.kubelet_conf:
        storage.folders(volumes=plan.volumes, name="Folders of the volumes")
