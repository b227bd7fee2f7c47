"""Volumes on the nodes' own disks."""

from __future__ import annotations

from kubestage.cluster.phase import PODS, phase
from kubestage.cluster.plan import HostPlan
from kubestage.operations import stacks, storage
from kubestage.stacks.registry import registry
from kubestage.stacks.storage import STORAGE_CLASS
from kubestage.stacks.storage import storage as storage_stack


@phase("Volumes", look_at=PODS)
def volumes(plan: HostPlan) -> None:
    """The folders that a rebuilt host has lost, before its kubelet makes them: for root alone, and so for no pod."""
    if plan.volumes and not plan.report.kubelet_conf:
        storage.folders(volumes=plan.volumes, name="Folders of the volumes")


@phase("Storage", look_at=PODS)
def install(plan: HostPlan) -> None:
    """The provisioner with the default StorageClass; or nothing of it, the folder on each node included."""
    settings = plan.settings
    on = "storage" in settings.stacks
    if plan.is_leader and on:
        stacks.kept(
            stacks=[storage_stack(settings)],
            seen=plan.stack_objects,
            timeout_s=plan.settings.timeout_s(180),
            name="local-path-provisioner",
        )
    if plan.is_leader and not on:
        if "registry" not in settings.stacks:
            # Its volume may be one of these: it goes while there is somebody to delete it.
            stacks.removed(
                stack=registry(settings),
                seen=plan.stack_objects,
                timeout_s=plan.settings.timeout_s(180),
                name="No registry",
            )
        storage.removed(
            stack=storage_stack(settings),
            storage_class=STORAGE_CLASS,
            seen=plan.stack_objects,
            timeout_s=plan.settings.timeout_s(180),
            name="No local-path-provisioner",
        )
    if not on:
        storage.empty_folder_absent(path=settings.storage_path, name="No folder of volumes")
