"""Rules about the addresses of hosts, and what else may not lie inside of the cluster's networks."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, TypeVar

from kubestage.kubernetes import RESET
from kubestage.settings import Cluster, ClusterSettings, HostSettings, Problem, docker_keys

if TYPE_CHECKING:  # a command that only reads settings loads no more than it needs
    from kubestage.checks.cluster_hosts import ClusterHosts
    from kubestage.facts.host_report import HostReport

T = TypeVar("T", bound=Hashable)

# What the cluster and Docker make for themselves: no host has an address of its own there.
_MADE = re.compile(r"lo|cni0|flannel\.1|kube-ipvs0|docker0|veth.*")
_INSIDE = re.compile(r"lo|dummy.*|cni0|flannel\..*|kube-ipvs0|docker0|br-[0-9a-f]{12}|veth.*|virbr.*|lxcbr.*|lxdbr.*")
# Of each private network one, for Docker.
_EXAMPLES = [IPv4Network(net) for net in ("192.168.99.0/24", "172.31.99.0/24", "10.199.99.0/24")]
_CLUSTER_DNS = 10  # its place in service_cidr, by kubeadm


def chosen(settings: HostSettings, report: HostReport) -> str:
    """The address by which others are to reach the host, or ""."""
    return settings.private_address or report.default_address


def shared(values: Iterable[tuple[str, T]]) -> Iterator[tuple[T, list[str]]]:
    """Values that several have, and those who have each."""
    owners: dict[T, list[str]] = defaultdict(list)
    for name, value in values:
        owners[value].append(name)
    return ((value, names) for value, names in owners.items() if len(names) > 1)


def given(cluster: Cluster) -> Iterator[Problem]:
    return _unique({host: own.private_address for host, own in cluster.hosts.items() if own.private_address})


def unique(hosts: ClusterHosts) -> Iterator[Problem]:
    """Those of default routes as well."""
    return _unique(hosts.addresses())


def _unique(addresses: Mapping[str, str]) -> Iterator[Problem]:
    for address, hosts in shared(addresses.items()):
        yield Problem(
            ", ".join(hosts),
            "several hosts have the same private address",
            "give each host its own; where it is empty, that of the default route is taken",
            "private_address",
            address,
        )


def cluster_networks(cluster: Cluster) -> Iterator[Problem]:
    network = cluster.common.pod_cidr
    nodes, room = len(cluster.raw), 2 ** (24 - network.prefixlen)
    if room < nodes:
        yield cluster.wrong(
            "pod_cidr",
            f"every node takes a /24 of it: it has room for {room}, and there are {nodes} hosts",
            f'choose a larger network, e.g. "{network.supernet(new_prefix=24 - (nodes - 1).bit_length())}"',
        )
    if network.overlaps(cluster.common.service_cidr):
        yield cluster.wrong(
            "pod_cidr",
            f"it overlaps service_cidr = '{cluster.common.service_cidr}'",
            "choose two networks that share no address, "
            'e.g. pod_cidr = "10.244.0.0/16" and service_cidr = "10.96.0.0/16"',
        )


def inside(cluster: Cluster, host: str, own: HostSettings) -> Iterator[Problem]:
    for name, address in _addresses(cluster, host):
        for cidr, network in _around(cluster.common, address):
            yield cluster.wrong(
                name,
                f"it lies inside {cidr} = '{network}', so pods could not reach the host",
                f"choose a {cidr} that shares no address with the hosts' network",
                host,
            )


def docker_networks(cluster: Cluster, host: str, own: HostSettings) -> Iterator[Problem]:
    cidrs = dict(cluster.common.networks)
    hosts = [IPv4Network(address) for name in cluster.raw for _, address in _addresses(cluster, name)]
    free = next((net for net in _EXAMPLES if not any(map(net.overlaps, [*cidrs.values(), *hosts]))), _EXAMPLES[0])
    for key, docker in docker_keys.networks(own.docker_config):
        for cidr in (name for name, network in cidrs.items() if docker.overlaps(network)):
            if key == "bip":
                yield cluster.wrong(
                    cidr,
                    f"it overlaps the network of Docker's own bridge, {docker}",
                    f'choose another network, or move Docker\'s with docker_config = {{"bip": "{free[1]}/24"}}',
                    host,
                )
            else:
                yield Problem(
                    host,
                    f"\"{key}\" has {docker}, which overlaps {cidr} = '{cidrs[cidr]}'",
                    f'choose others, e.g. docker_config = {{"{key}": [{{"base": "{free}", "size": 28}}]}}',
                    "docker_config",
                )


def _addresses(cluster: Cluster, host: str) -> Iterator[tuple[str, IPv4Address]]:
    for name in ("private_address", "public_address", "ssh_hostname"):
        with suppress(ValueError):
            yield name, IPv4Address(str(cluster.raw[host].get(name)))


def private(hosts: ClusterHosts) -> Iterator[Problem]:
    """It is one that the host has, and that others reach. Where a member's is gone, `moved` tells of it."""
    for name, settings, report in hosts:
        address = chosen(settings, report)
        own = [str(interface.ip) for interface in report.addresses]
        if not address:
            yield Problem(
                name,
                f"it has no IPv4 default route to tell its address by; its addresses: {_listed(report)}",
                "set private_address for it in the inventory",
                "private_address",
                "",
            )
        elif address not in own and address != hosts.joined_as(name):
            yield Problem(
                name,
                f"no network card of the host has this address; it has: {_listed(report)}",
                "set one of those, or leave it empty to take that of the default route",
                "private_address",
                address,
            )
        elif why := _not_for_others(settings, report, address):
            others = [other for other in own if not _not_for_others(settings, report, other)]
            yield Problem(
                name,
                why,
                f"set private_address to that of a network card which the other hosts reach: {', '.join(others)}"
                if others
                else "give the host a network card which the other hosts reach, and set private_address to its address",
                "private_address",
                address,
            )


def _listed(report: HostReport) -> str:
    addresses = sorted(str(each.ip) for each in report.addresses if not each.ip.is_loopback)
    return ", ".join(addresses) or "none"


def _not_for_others(settings: HostSettings, report: HostReport, address: str) -> str:
    """Why the cluster can't go by the address; ""."""
    device = report.device_of.get(address, "")
    if _INSIDE.fullmatch(device):
        return f"it is that of {device}, which other hosts don't reach by a network card of this one"
    if device in report.tunnels and address != settings.private_address:
        return f"the default route leads through {device}, the tunnel of a VPN"
    prefixes = {
        str(each.ip): each.network.prefixlen
        for each in report.addresses
        if report.device_of.get(str(each.ip)) == device
    }
    if prefixes.get(address) == 32 and min(prefixes.values()) < 32:
        return f"it is a virtual address of {device} (/32), which moves between hosts (keepalived and the like)"
    return ""


def moved(hosts: ClusterHosts) -> Iterator[Problem]:
    """A node's address is in certificates and in what its peers have: it is for as long as the host is a node."""
    for name, settings, report in hosts:
        then, now = hosts.joined_as(name), chosen(settings, report)
        if not then or not now:
            continue
        if name in hosts.cluster.control_plane:
            anew = "a control plane keeps its address: with another one, make a new cluster on blank hosts"
        else:
            anew = f"or have it join anew: on {name}: {RESET} ; then run again"
        if then not in report.device_of:
            yield Problem(
                name,
                f"the host has joined with {then}, which none of its network cards has any more; "
                f"it has: {_listed(report)}",
                f"give the card that address again (for good: by a fixed lease, or in its configuration); {anew}",
                "private_address",
                now,
            )
        elif then != now:
            yield Problem(
                name,
                f"the host has joined with {then}, and a run can't give a node another address",
                f'set private_address = "{then}" for it; {anew}',
                "private_address",
                now,
            )


def networks(hosts: ClusterHosts) -> Iterator[Problem]:
    """Whatever network card it is: what lies behind it could not be reached any more."""
    for name, _, report in hosts:
        told = set()
        for each in report.addresses:
            device = report.device_of[str(each.ip)]
            for cidr, network in hosts.common.networks:
                clash = _MADE.fullmatch(device) is None and each.network.overlaps(network)
                if clash and (cidr, each.network) not in told:
                    told.add((cidr, each.network))
                    yield hosts.wrong(
                        cidr,
                        f"it overlaps the host's own network {each.network} (address {each.ip} of {device})",
                        _elsewhere(hosts, cidr, "take that address from the host"),
                        name,
                    )


def nameservers(hosts: ClusterHosts) -> Iterator[Problem]:
    for name, _, report in hosts:
        for server in report.nameservers:
            for cidr, network in _around(hosts.common, server):
                if cidr == "service_cidr" and server == str(network[_CLUSTER_DNS]):
                    continue  # the cluster's own
                yield hosts.wrong(
                    cidr,
                    f"the host's nameserver {server} lies inside it, so no name could be looked up any more",
                    _elsewhere(hosts, cidr, "give the host another nameserver"),
                    name,
                )


def operator(hosts: ClusterHosts) -> Iterator[Problem]:
    for name, _, report in hosts:
        for cidr, _ in _around(hosts.common, report.client) if report.client else ():
            yield hosts.wrong(
                cidr,
                f"you reach the host from {report.client}, which lies inside it: the host's answers would stay there",
                _elsewhere(hosts, cidr, "reach the hosts from another network, through a jump host, say"),
                name,
            )


def _around(settings: ClusterSettings, address: str | IPv4Address) -> Iterator[tuple[str, IPv4Network]]:
    """The cluster's networks that hold the address, by their settings."""
    return ((name, network) for name, network in settings.networks if IPv4Address(address) in network)


def _elsewhere(hosts: ClusterHosts, cidr: str, instead: str) -> str:
    if hosts.ca:
        return f"a living cluster keeps its {cidr}: {instead}"
    return f"choose a {cidr} that shares no address with it, or {instead}"
