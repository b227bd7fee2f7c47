"""Volumes on the nodes' own disks: local-path-provisioner, with the default StorageClass."""

from __future__ import annotations

from kubestage.facts.kubernetes import Workload
from kubestage.settings import ClusterSettings
from kubestage.stacks.stack import Stack, manifest

STORAGE_CLASS = "local-path"


def storage(settings: ClusterSettings) -> Stack:
    """The provisioner. Volumes are folders in settings.storage_path of the node where their first pod runs."""
    return Stack(
        "storage",
        manifest("storage", settings),
        workloads=(Workload("local-path-storage", "Deployment", "local-path-provisioner"),),
    )


def storage_class(settings: ClusterSettings) -> str:
    """The StorageClass of the platform's own volumes."""
    return settings.storage_class or STORAGE_CLASS
