"""Volumes on the nodes' own disks: local-path-provisioner, with the default StorageClass."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from kubestage.facts.kubernetes import Workload
from kubestage.settings import ClusterSettings
from kubestage.settings.model import StackSettings, setting
from kubestage.settings.values import Image, refuse
from kubestage.stacks.stack import Namespace, Stack, template
from kubestage.stacks.stack_type import Place, Row, StackType

STORAGE_CLASS = "local-path"
NAMESPACE = "local-path-storage"  # as upstream has it

# What systems keep there is their own, or gone with the next boot.
_NO_VOLUMES = re.compile(
    r"/(bin|boot|dev|etc|lib|lib64|proc|run|sbin|sys|tmp|usr|var/(run|lock|tmp)|var/lib/(containerd|docker|etcd|kubelet))"
    r"(/.*)?|/(home|mnt|opt|root|srv|var|var/lib)"
)


def _path(value: str) -> str:
    if not re.fullmatch(r"(/[A-Za-z0-9._-]+)+", value) or {"..", "."} & set(value.split("/")):
        raise refuse("not an absolute path of plain characters", 'write e.g. "/var/lib/kubestage/volumes"')
    if _NO_VOLUMES.fullmatch(value):
        raise refuse("a folder of the system's own", 'name one for volumes alone, e.g. "/var/lib/kubestage/volumes"')
    return value


class StorageSettings(StackSettings):
    """`storage` in group_data."""

    image: Image = setting("docker.io/rancher/local-path-provisioner:v0.0.30", "of the provisioner")
    path: Annotated[str, AfterValidator(_path)] = setting(
        "/var/lib/kubestage/volumes", "where volumes are kept on each node"
    )


def storage(settings: ClusterSettings) -> Stack:
    """The provisioner. Volumes are folders in the `path` of the node where their first pod runs."""
    own = settings.of(StorageSettings)
    return Stack(
        "storage",
        template("storage", settings, own=own),
        namespace=Namespace(NAMESPACE, "privileged"),  # the helper pods mount a folder of the node
        workloads=(Workload(NAMESPACE, "Deployment", "local-path-provisioner"),),
        storage_class=STORAGE_CLASS,
        node_folder=own.path,
    )


def storage_class(settings: ClusterSettings) -> str:
    """The StorageClass of the platform's own volumes."""
    return settings.storage_class or STORAGE_CLASS


def _row(settings: ClusterSettings, place: Place) -> Row:
    return Row("storage", f"StorageClass {STORAGE_CLASS}")


STORAGE = StackType("storage", StorageSettings, storage, _row, namespace=NAMESPACE)
