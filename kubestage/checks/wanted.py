"""What preflight has to know of settings to ask a host."""

from __future__ import annotations

from kubestage.facts.host_report.wanted import (
    CNI,
    DOCKER,
    IMAGES,
    KUBELET,
    KUBERNETES_PACKAGES,
    PACKAGES,
    VOLUMES,
    Wanted,
)
from kubestage.render import images
from kubestage.settings import ClusterSettings, HostSettings
from kubestage.stacks.storage import StorageSettings


def folders(settings: ClusterSettings, own: HostSettings) -> dict[str, str]:
    """What for -> the folder, there or not yet, whose file system a cluster goes by on a host."""
    docker = own.docker_config.get("data-root")
    return {
        PACKAGES: "/var/lib",
        KUBELET: "/var/lib/kubelet",
        IMAGES: "/var/lib/containerd",
        DOCKER: docker if isinstance(docker, str) and docker.startswith("/") else "/var/lib/docker",
        CNI: "/opt/cni/bin",
        VOLUMES: settings.of(StorageSettings).path,
    }


def packages(own: HostSettings) -> dict[str, str]:
    """The pinned versions of one host. Docker's end with the system's release."""
    docker = f"5:{own.docker_version}-1~"
    return {
        **dict.fromkeys(KUBERNETES_PACKAGES, own.kubernetes_package_version),
        "docker-ce": docker,
        "docker-ce-cli": docker,
        "containerd.io": f"{own.containerd_version}-1~",
    }


def wanted(settings: ClusterSettings, own: HostSettings) -> Wanted:
    profile = own.profile
    return Wanted(
        packages(own),
        profile.kubernetes_apt,
        profile.kubernetes_key,
        profile.docker_apt,
        profile.docker_key,
        folders(settings, own),
        {registry: images.asked(own, registry) for registry in images.registries(settings)},
    )
