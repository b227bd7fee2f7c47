"""Rules about the volumes that a living cluster has: what lies on them is not lost, nor left behind, by a setting."""

from __future__ import annotations

from collections.abc import Iterator

from kubestage.checks.cluster_hosts import ClusterHosts
from kubestage.settings import Problem
from kubestage.stacks.registry import CLAIM, NAMESPACE, RegistrySettings
from kubestage.stacks.storage import STORAGE_CLASS, storage_class

REGISTRY = f"{NAMESPACE}/{CLAIM}"
_BEGIN_ANEW = 'to give up all images in it, run once without "registry" in stacks'


def storage_in_use(hosts: ClusterHosts) -> Iterator[Problem]:
    """What the stack registry has is removed with it; what others have is theirs."""
    common, living = hosts.common, hosts.living
    if living is None or "storage" in common.stacks:
        return
    in_use = (claim for claim, volume in living.volumes.items() if not volume.leaving)
    ours = sorted(claim for claim in in_use if living.volumes[claim].storage_class == STORAGE_CLASS)
    others = [claim for claim in ours if not claim.startswith(f"{NAMESPACE}/")]
    if others:
        namespace, _, name = others[0].partition("/")
        yield hosts.wrong(
            "stacks",
            f"volumes of the stack storage are in use, by {', '.join(others)}: nothing could free them without it",
            f'add "storage"; or move the data, and delete each claim: '
            f"kubectl --namespace {namespace} delete persistentvolumeclaim {name}",
            "the cluster",
        )


def registry(hosts: ClusterHosts) -> Iterator[Problem]:
    """A claim's StorageClass is for good, and local-path changes no volume's size."""
    common, living = hosts.common, hosts.living
    if living is None or "registry" not in common.stacks or REGISTRY not in living.volumes:
        return
    volume = living.volumes[REGISTRY]
    if volume.leaving:
        return
    if volume.storage_class != storage_class(common):
        yield hosts.wrong(
            "storage_class",
            f"the registry's volume is of the StorageClass \"{volume.storage_class}\", which can't be changed",
            f"set it back; {_BEGIN_ANEW}",
            "the cluster",
        )
    elif volume.storage_class == STORAGE_CLASS and volume.size != _as_kept(common.of(RegistrySettings).size):
        yield hosts.wrong(
            "registry.size",
            f"the registry's volume was made with {volume.size}, and {STORAGE_CLASS} changes no volume's size",
            f"set it back (a volume of {STORAGE_CLASS} may grow as long as there is room on its disk); {_BEGIN_ANEW}",
            "the cluster",
        )


def _as_kept(size: str) -> str:
    """A volume's size in the largest unit of which it is a whole number, as the API server writes it."""
    number, unit = int(size[:-2]), size[-2:]
    for larger in ("Gi", "Ti", "Pi")[("Mi", "Gi", "Ti").index(unit) :]:
        if number % 1024:
            break
        number, unit = number // 1024, larger
    return f"{number}{unit}"
