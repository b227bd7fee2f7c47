"""What preflight has to know of a host's settings to ask the host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kubestage.render import images
from kubestage.settings import Settings

KUBERNETES_PACKAGES = ("kubelet", "kubeadm", "kubectl")
# What folders() are for.
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


def folders(settings: Settings) -> dict[str, str]:
    """What for -> the folder, there or not yet, whose file system a cluster goes by on a host."""
    return {
        PACKAGES: "/var/lib",
        KUBELET: "/var/lib/kubelet",
        IMAGES: _absolute(settings.containerd_config.get("root"), "/var/lib/containerd"),
        DOCKER: _absolute(settings.docker_config.get("data-root"), "/var/lib/docker"),
        CNI: "/opt/cni/bin",
        VOLUMES: settings.storage_path,
    }


def _absolute(path: object, default: str) -> str:
    return path if isinstance(path, str) and path.startswith("/") else default


def wanted(settings: Settings) -> Wanted:
    """The pinned versions and the mirror of one host. Docker's versions end with the system's release."""
    profile = settings.profile
    docker = f"5:{settings.docker_version}-1~"
    versions = dict.fromkeys(KUBERNETES_PACKAGES, settings.kubernetes_package_version)
    versions |= {"docker-ce": docker, "docker-ce-cli": docker, "containerd.io": f"{settings.containerd_version}-1~"}
    return Wanted(
        versions,
        profile.kubernetes_apt,
        profile.kubernetes_key,
        profile.docker_apt,
        profile.docker_key,
        folders(settings),
        {registry: images.asked(settings, registry) for registry in images.registries(settings)},
    )
