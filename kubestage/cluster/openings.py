"""What firewalls and security groups have to let pass: one list, from the settings alone, for people and for checks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from kubestage.render import images
from kubestage.settings import Cluster, PortRange
from kubestage.settings.cluster import CONTROL_PLANE, ssh_port
from kubestage.settings.values import ETCD_PORTS, FLANNEL_VXLAN_PORT, KUBELET_PORT, is_host_name
from kubestage.stacks.catalogue import chosen

# Who is at an end, beside CONTROL_PLANE.
NODES = "nodes"  # every host, of the control plane or a worker
OPERATOR = "operator"  # the machine on which runs are started
USERS = "users"  # whoever uses the cluster, the operator among them
MIRRORS = "mirrors"  # where packages, images and files come from
NAMESERVERS = "nameservers"

DNS_PORT = 53


@dataclass(frozen=True)
class Opening:
    """Ports that have to be open from `source` to `target`: roles as above, or host names with commas between them.

    `sources`, `targets`: the names of the hosts there; none where they are not the cluster's. `what` listens there, and
    `why` is it asked. `required`: whether a cluster works without.
    """

    protocol: Literal["tcp", "udp"]
    ports: PortRange
    source: str
    target: str
    what: str
    why: str
    sources: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    required: bool = True

    @property
    def between_hosts(self) -> bool:
        """Whether it is from one host of the cluster to another."""
        return bool(self.sources and self.targets)

    @property
    def port(self) -> str:
        """As people write it: "443", "2379-2380"."""
        return str(self.ports) if len(self.ports) > 1 else str(self.ports.first)


def openings(cluster: Cluster) -> list[Opening]:
    """All of them: from outside first, then between hosts, by their private addresses, then to the outside."""
    return [*_from_outside(cluster), *_between_hosts(cluster), *_to_outside(cluster)]


def _from_outside(cluster: Cluster) -> Iterator[Opening]:
    s, nodes = cluster.common, tuple(cluster.nodes)
    by_port: dict[int, list[str]] = {}
    for name, data in cluster.raw.items():
        by_port.setdefault(ssh_port(data), []).append(name)
    for port, names in sorted(by_port.items()):
        target = NODES if len(by_port) == 1 else ", ".join(names)
        yield Opening("tcp", _one(port), OPERATOR, target, "SSH", "runs", targets=tuple(names))
    control_plane = tuple(cluster.control_plane)
    yield Opening(
        "tcp", _one(s.api_port), USERS, CONTROL_PLANE, "the API server", "kubectl, verify", targets=control_plane
    )
    if "ingress" in s.stacks:
        if s.http_port:
            yield Opening("tcp", _one(s.http_port), USERS, NODES, "the ingress", "sites by HTTP", targets=nodes)
        yield Opening("tcp", _one(s.https_port), USERS, NODES, "the ingress", "sites by HTTPS", targets=nodes)
    yield Opening(
        "tcp",
        s.node_ports,
        USERS,
        NODES,
        "NodePorts",
        "optional: single ports of it, for Services of your own",
        targets=nodes,
        required=False,
    )


def _between_hosts(cluster: Cluster) -> Iterator[Opening]:
    """Without these a join, or the pod network, ends badly."""
    s, nodes, control_plane = cluster.common, tuple(cluster.nodes), tuple(cluster.control_plane)
    if len(nodes) == 1:
        return
    yield Opening(
        "tcp",
        _one(s.api_port),
        NODES,
        CONTROL_PLANE,
        "the API server",
        "kubelet, kube-proxy, flannel",
        nodes,
        control_plane,
    )
    metrics = "metrics" in s.stacks  # its server runs on any node, and leaves that by the node's address
    yield Opening(
        "tcp",
        _one(KUBELET_PORT),
        NODES if metrics else CONTROL_PLANE,
        NODES,
        "the kubelet",
        "logs, exec, metrics" if metrics else "logs, exec",
        nodes if metrics else control_plane,
        nodes,
    )
    yield Opening("udp", _one(FLANNEL_VXLAN_PORT), NODES, NODES, "the pod network", "flannel's VXLAN", nodes, nodes)
    if len(control_plane) > 1:
        yield Opening(
            "tcp",
            PortRange(*ETCD_PORTS),
            CONTROL_PLANE,
            CONTROL_PLANE,
            "etcd",
            "its clients and its other members",
            control_plane,
            control_plane,
        )


def _to_outside(cluster: Cluster) -> Iterator[Opening]:
    nodes = tuple(cluster.nodes)
    for port in sorted({port for _, port in mirrors(cluster)}):
        yield Opening("tcp", _one(port), NODES, MIRRORS, "mirrors, registries", "packages, images, files", nodes)
    if any(is_host_name(host) for host, _ in mirrors(cluster)):
        yield Opening("udp", _one(DNS_PORT), NODES, NAMESERVERS, "DNS", "the mirrors' names", nodes)


def mirrors(cluster: Cluster) -> list[tuple[str, int]]:
    """Host and port of all that the hosts' mirror profiles name for what the settings choose, sorted.

    Registries themselves too, where a profile falls back on them.
    """
    s = cluster.common
    addresses = set()
    for own in cluster.hosts.values():
        profile = own.profile
        addresses |= {profile.kubernetes_apt, profile.kubernetes_key, profile.docker_apt, profile.docker_key}
        addresses |= {address for registry in images.registries(s) for address in images.asked(own, registry)}
        addresses |= {profile.file(each.url) for stack in chosen(s).values() for each in stack.upstream}
    urls = [urlsplit(address) for address in addresses]
    return sorted({(url.hostname or "", url.port or (80 if url.scheme == "http" else 443)) for url in urls})


def _one(port: int) -> PortRange:
    return PortRange(port, port)
