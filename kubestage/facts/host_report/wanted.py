"""What a host is asked about: it is of its settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

KUBERNETES_PACKAGES = ("kubelet", "kubeadm", "kubectl")
# What folders are for.
PACKAGES, KUBELET, IMAGES, DOCKER, CNI, VOLUMES = "packages", "kubelet", "images", "docker", "cni", "volumes"


@dataclass(frozen=True)
class Wanted:
    """What a host is to have: package -> version, or its beginning; and the repositories, with "{os}" in them.

    `folders`: what for -> a folder whose file system counts. `registries`: of its images -> where it asks for them.
    """

    packages: Mapping[str, str]
    kubernetes_apt: str
    kubernetes_key: str
    docker_apt: str
    docker_key: str
    folders: Mapping[str, str]
    registries: Mapping[str, Sequence[str]]

    def __str__(self) -> str:
        return ", ".join(f"{name} {version}" for name, version in self.packages.items())
