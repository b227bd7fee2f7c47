"""Where the images that a cluster runs come from."""

from __future__ import annotations

from urllib.parse import urlsplit

from kubestage.settings import ClusterSettings, HostSettings
from kubestage.stacks.catalogue import chosen
from kubestage.stacks.network import flannel

# Where a registry itself answers, when that is not the name in its images.
_SERVERS = {"docker.io": "https://registry-1.docker.io"}
_KUBEADM = "registry.k8s.io"  # its own images


def asked(settings: HostSettings, registry: str) -> list[str]:
    """The addresses at which containerd asks for a registry's images, in its order; one at least.

    The registry itself is the last of them, where the mirror profile allows it or has no mirror for it.
    """
    addresses = list(settings.mirrors_by_registry.get(registry, ()))
    if settings.profile.registry_fallback or not addresses:
        addresses.append(_SERVERS.get(registry, f"https://{registry}"))
    return addresses


def registries(settings: ClusterSettings) -> list[str]:
    """The registries of all images that the cluster runs, sorted."""
    images = [settings.pause_image, *(image for found in by_stack(settings).values() for image in found)]
    return sorted({_KUBEADM, *(image.partition("/")[0] for image in images)})


def by_stack(settings: ClusterSettings) -> dict[str, list[str]]:
    """The images of the pod network and of each stack that is on, sorted, by the stack's own name."""
    stacks = (flannel(settings), *chosen(settings).values())
    return {stack.name: stack.images for stack in stacks}


def manifest_url(image: str, address: str) -> str:
    """Where an address at which containerd asks for the images of a registry has the manifest of this one."""
    name, _, digest = image.partition("/")[2].partition("@")
    path, _, tag = name.partition(":")
    prefix = address.rstrip("/") if urlsplit(address).path.strip("/") else f"{address.rstrip('/')}/v2"
    return f"{prefix}/{path}/manifests/{digest or tag}"
