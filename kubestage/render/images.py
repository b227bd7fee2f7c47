"""Where the images that a cluster runs come from."""

from __future__ import annotations

import re

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
    profile = settings.profile
    addresses = list(profile.registries.get(registry, ()))
    if profile.registry_fallback or not addresses:
        addresses.append(_SERVERS.get(registry, f"https://{registry}"))
    return addresses


def registries(settings: ClusterSettings) -> list[str]:
    """The registries of all images that the cluster runs, sorted."""
    manifests = [stack.manifest.content for stack in (flannel(settings), *chosen(settings).values())]
    images = [settings.pause_image, *re.findall(r"^[- ]*image: *(\S+)", "\n".join(manifests), re.MULTILINE)]
    return sorted({_KUBEADM, *(image.partition("/")[0] for image in images)})
