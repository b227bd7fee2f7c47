"""Rules about the platform's settings: the sites' ports and domain, and stacks that need others.

Each rule ends where it asks for a setting that has no valid value: that one is told of already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

from kubestage.settings import Cluster, HostSettings, Problem
from kubestage.settings.cluster import ALL_HOSTS
from kubestage.settings.model import Invalid
from kubestage.settings.values import near
from kubestage.stacks import catalogue, network
from kubestage.stacks.registry import RegistrySettings

_HTTP, _HTTPS = 80, 443  # what browsers ask where an address names no port


def stacks(cluster: Cluster) -> Iterator[Problem]:
    s = cluster.common
    doubled = sorted({name for name in s.stacks if s.stacks.count(name) > 1})
    if doubled:
        yield cluster.wrong("stacks", f"it names {', '.join(doubled)} more than once", "name it once")
    for number, name in enumerate(s.stacks):
        if name not in catalogue.STACKS:
            yield Problem(
                ALL_HOSTS,
                f"no such stack{near(name, catalogue.STACKS)}",
                f"use one of: {', '.join(sorted(catalogue.STACKS))}",
                f"stacks.{number}",
                name,
            )
    needs_ingress = [name for name in catalogue.site_names() if name in s.stacks]
    if needs_ingress and "ingress" not in s.stacks:
        yield cluster.wrong(
            "stacks",
            f"{' and '.join(needs_ingress)} can't be reached without ingress",
            f'add "ingress", or leave out {" and ".join(needs_ingress)}',
        )


def of_stacks(cluster: Cluster) -> Iterator[Problem]:
    """What the stacks that are on say of their own settings."""
    for name, kind in catalogue.STACKS.items():
        if name in cluster.common.stacks:
            for rule in kind.rules:
                with suppress(Invalid):
                    yield from rule(cluster)


def site_ports(cluster: Cluster) -> Iterator[Problem]:
    """The ports of the sites are NodePorts of the ingress' Service."""
    s = cluster.common
    if "ingress" not in s.stacks:
        return
    if s.http_port == s.https_port:
        yield cluster.wrong(
            "http_port",
            "HTTP and HTTPS can't share a port",
            "choose another, or for HTTPS alone http_port = 0 and http_redirect = False",
        )
    reserved = dict.fromkeys(s.reserved_ports, "node_port_reserved holds it")
    names = {"Kubernetes": "Kubernetes itself", "flannel": "the pod network"}
    owners = s.own_ports(cluster.ssh_ports).items()
    listens = {port: f"{names.get(whose, whose)} listens on it" for port, whose in owners}
    for name, port in (("http_port", s.http_port), ("https_port", s.https_port)):
        if port and port not in s.node_ports:
            yield cluster.wrong(
                name,
                f"it is outside of node_port_range = {s.node_port_range!r}, and sites are served by NodePorts",
                f"choose a port of that range, or widen it to include {port}",
            )
        if why := (reserved | listens).get(port):
            yield cluster.wrong(name, f"{why}, so no site can have it", "choose another port")


def redirect(cluster: Cluster) -> Iterator[Problem]:
    s = cluster.common
    if "ingress" not in s.stacks or not s.http_redirect:
        return
    if not s.http_port:
        why, remedy = "there is no HTTP to redirect from: http_port is 0", "set it to False"
    elif s.https_port != _HTTPS:
        why = f"a redirect goes to port {_HTTPS}, and https_port is {s.https_port}"
        remedy = f"set it to False, or https_port to {_HTTPS}"
    elif s.http_port != _HTTP:
        # Envoy keeps the port that was asked, unless it is HTTP's own.
        why = f"a redirect would go to HTTPS on port {s.http_port}, where HTTP is served"
        remedy = f"set it to False, or http_port to {_HTTP}"
    else:
        return
    yield cluster.wrong("http_redirect", why, remedy)


def site_domain(cluster: Cluster) -> Iterator[Problem]:
    s = cluster.common
    if _asked_of_the_cluster(s.domain, s.cluster_domain):
        others = (name for name in _EXAMPLES if not _asked_of_the_cluster(name, s.cluster_domain))
        yield cluster.wrong(
            "domain",
            f"pods would ask the cluster's own DNS for it: it is in cluster_domain = {s.cluster_domain!r}",
            f'choose a domain of its own, e.g. "{next(others)}"',
        )


_EXAMPLES = ("lab.test", "platform.example")


def _asked_of_the_cluster(domain: str, cluster_domain: str) -> bool:
    """Whether a site of that domain, or the domain itself, is a name in the cluster's own."""
    names = (domain, *(f"{name}.{domain}" for name in catalogue.site_names()))
    return any(f".{name}".endswith(f".{cluster_domain}") for name in names)


def site_names(cluster: Cluster) -> Iterator[Problem]:
    s = cluster.common
    for site in catalogue.sites(s):
        if site in cluster.raw:
            yield Problem(
                site,
                f"a site of the platform has this name: domain = {s.domain!r}",
                "rename the host in the inventory, or choose another domain",
            )


def own_registry(cluster: Cluster, host: str, own: HostSettings) -> Iterator[Problem]:
    """Its certs.d/NAME/hosts.toml is what makes hosts trust its certificate."""
    s = cluster.common
    profile = own.mirrors.get(own.mirror)
    named = {
        f"mirrors.{own.mirror}.registries": profile.registries if profile else {},
        "registry_mirrors": own.registry_mirrors,
    }
    for setting, registries in named.items():
        if "registry" in s.stacks and s.site("registry") in registries:
            reason = "it is the platform's own registry, which has no mirror"
            yield Problem(host, reason, "remove it", setting, s.site("registry"))


def images(cluster: Cluster) -> Iterator[Problem]:
    """The registry comes up after what it stands on: a cold start would never end."""
    s = cluster.common
    for name, image in s.images.items():
        if "registry" in s.stacks and image.startswith(f"{s.site('registry')}/"):
            yield cluster.wrong(
                name,
                "it would come from the platform's own registry, which can't start before it",
                "name a registry outside of the cluster",
            )


def pull_namespaces(cluster: Cluster) -> Iterator[Problem]:
    """Their labels are what the stacks' own manifests say: nobody else may have a say in them."""
    s = cluster.common
    theirs = {network.FLANNEL, *(kind.namespace for kind in catalogue.STACKS.values())}
    for name in s.of(RegistrySettings).pull_namespaces:
        if name in theirs:
            yield cluster.wrong(
                "registry.pull_namespaces",
                f'the namespace "{name}" is the platform\'s own',
                "leave it out: pods of yours belong in a namespace of yours",
            )


RULES: tuple[Callable[[Cluster], Iterator[Problem]], ...] = (
    stacks,
    site_ports,
    redirect,
    of_stacks,
    site_domain,
    site_names,
    images,
    pull_namespaces,
)
HOST_RULES: tuple[Callable[[Cluster, str, HostSettings], Iterator[Problem]], ...] = (own_registry,)
