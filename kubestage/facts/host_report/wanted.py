"""What preflight has to know of a host's settings to ask the host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kubestage import images
from kubestage.settings import Settings

KUBERNETES_PACKAGES = ("kubelet", "kubeadm", "kubectl")


@dataclass(frozen=True)
class Wanted:
    """What a host is to have: package -> version, or its beginning; and the repositories, with "{os}" in them.

    `storage_path`: the folder in which it keeps volumes. `registries`: of its images -> where it asks for them.
    """

    packages: Mapping[str, str]
    kubernetes_apt: str
    kubernetes_key: str
    docker_apt: str
    docker_key: str
    storage_path: str
    registries: Mapping[str, Sequence[str]]

    def __str__(self) -> str:
        return ", ".join(f"{name} {version}" for name, version in self.packages.items())


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
        settings.storage_path,
        {registry: images.asked(settings, registry) for registry in images.registries(settings)},
    )
