"""What is asked of mirrors before images are pulled: whether they answer, and whether they serve what is wanted.

The latter takes a question of its own, to one host of those with the same mirrors, and so it is asked in runs alone
that bring a stack into the cluster.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from kubestage.checks.cluster_hosts import ClusterHosts
from kubestage.facts.mirror_images import FORBIDDEN
from kubestage.render import images
from kubestage.settings import ClusterSettings, HostSettings, Problem
from kubestage.stacks.dashboard import FLAVOURS

_DASHBOARDS = {f"dashboard.{flavour.replace('-', '_')}_image": flavour for flavour in FLAVOURS}


@dataclass(frozen=True)
class Asked:
    """What one host asks for all `hosts` that have its mirrors.

    `images`: an image -> the URLs of its manifest, in the order in which containerd would ask.
    """

    hosts: tuple[str, ...]
    images: Mapping[str, tuple[str, ...]]


def asked(hosts: ClusterHosts) -> dict[str, Asked]:
    """By host; empty where the cluster has all the stacks already, where it is silent, and where there are no mirrors.

    Only images of registries that have a mirror.
    """
    wanted = _new_images(hosts)
    same: dict[tuple[object, ...], list[str]] = {}
    for name, own, _ in hosts:
        same.setdefault((tuple(own.mirrors_by_registry.items()), own.profile.registry_fallback), []).append(name)
    found = {}
    for names in same.values():
        own = hosts.cluster.hosts[names[0]]
        urls = {image: _manifests(own, image) for image in wanted if _mirrors(own, image)}
        if urls:
            found[names[0]] = Asked(tuple(names), urls)
    return found


def _new_images(hosts: ClusterHosts) -> list[str]:
    by_stack = images.by_stack(hosts.common)
    if hosts.living:
        there = {each.stack for each in hosts.living.stack_objects.objects}
        known = hosts.living.stack_objects.known
        return sorted({image for name, own in by_stack.items() if known and name not in there for image in own})
    if hosts.ca:
        return []
    return sorted({hosts.common.pause_image, *(image for own in by_stack.values() for image in own)})


def _mirrors(own: HostSettings, image: str) -> tuple[str, ...]:
    return own.mirrors_by_registry.get(image.partition("/")[0], ())


def _manifests(own: HostSettings, image: str) -> tuple[str, ...]:
    return tuple(images.manifest_url(image, address) for address in images.asked(own, image.partition("/")[0]))


def refused(hosts: ClusterHosts, answers: Mapping[str, Mapping[str, Mapping[str, str]]]) -> Iterator[Problem]:
    """Images that every mirror refuses, and that the registry itself, if it may be asked, does not serve either.

    `answers`: by host, what it was told (see MirrorImages).
    """
    for name, known in asked(hosts).items():
        own = hosts.cluster.hosts[name]
        for image, said in answers.get(name, {}).items():
            mirrors = [images.manifest_url(image, address) for address in _mirrors(own, image)]
            others = [why for url, why in said.items() if url not in mirrors]
            if not all(said.get(url, "").startswith(FORBIDDEN) for url in mirrors) or not all(map(_no_answer, others)):
                continue
            told = "; ".join(f"{urlsplit(url).netloc}: {why}" for url, why in said.items())
            setting = _setting(hosts.common, image)
            flavours = [flavour for flavour in FLAVOURS if flavour != _DASHBOARDS.get(setting)]
            registry = image.partition("/")[0]
            yield Problem(
                ", ".join(known.hosts),
                f"no mirror serves this image: {told}",
                (f'set dashboard.flavour = "{flavours[0]}", or ' if setting in _DASHBOARDS else "")
                + f'name a mirror that has it: registry_mirrors = {{"{registry}": ["https://..."]}}',
                setting,
                image,
            )


def _no_answer(why: str) -> bool:
    """A refusal, or no answer by HTTP at all."""
    return why.startswith(FORBIDDEN) or not (why == "" or why[:3].isdigit())


def _setting(settings: ClusterSettings, image: str) -> str:
    """The one that names it."""
    return next((name for name, named in settings.images.items() if named == image), "image")


def silent(hosts: ClusterHosts) -> Iterator[str]:
    """The first mirror for a registry's images that can't be reached; where nothing can, there is a rule."""
    told: dict[str, list[str]] = {}
    for name, own, report in hosts:
        for registry, errors in report.registries.items():
            mirrors = own.mirrors_by_registry.get(registry, ())
            dead = next((address for address in mirrors if errors.get(address)), "")
            answering = next((address for address, error in errors.items() if not error), "")
            if not dead or not answering:
                continue
            first = dead == mirrors[0]
            line = f"the mirror {dead} for images of {registry} can't be reached: {errors[dead]}; " + (
                f"each pull waits for it, until {answering} is asked" if first else "the next one stands in for it"
            )
            told.setdefault(line, []).append(name)
    for line, names in told.items():
        yield f"{', '.join(names)}: {line}. They are those of registry_mirrors, then of the profile"
