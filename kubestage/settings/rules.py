"""Rules that compare settings with each other or between hosts. Each yields its problems; a rule runs only
where the settings it reads are valid in themselves, so that one mistake is told once."""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import docker_keys
from .model import Settings
from .problems import Problem, shown
from .values import (
    CONTROL_PLANE_PORTS,
    FLANNEL_VXLAN_PORT,
    MOST_RESERVED_PORTS,
    NODE_PORTS_OF_KUBERNETES,
    is_dns_name,
    is_host_name,
    near,
    parse_cidr,
    parse_version,
)

CONTROL_PLANE = "control_plane"
WORKERS = "workers"
INVENTORY = "the inventory"
ALL_HOSTS = "all hosts"

# What may differ between hosts. The rest describes the cluster: kubeadm keeps it once, for all nodes.
PER_HOST = frozenset(
    {
        "kubernetes_version",
        "kubernetes_package_revision",
        "docker_version",
        "containerd_version",
        "mirror",
        "mirrors",
        "containerd_config",
        "docker_config",
        "docker_log_max_size",
        "docker_log_max_files",
        "kubelet_config",
        "kubeadm_ignore_preflight",
        "private_address",
        "public_address",
        "node_labels",
        "node_taints",
        "sysctls",
        "take_over_runtime",
        "require_cpus",
        "require_memory_mib",
        "require_disk_mib",
    }
)
OLDEST_KUBERNETES = (1, 31, 0)  # the first with kubeadm's configuration v1beta4
KUBELET_SKEW = 3  # minor versions, https://kubernetes.io/releases/version-skew-policy/
# Of each private network one, for Docker.
_EXAMPLES = [ipaddress.IPv4Network(net) for net in ("192.168.99.0/24", "172.31.99.0/24", "10.199.99.0/24")]


@dataclass(frozen=True)
class Draft:
    """An inventory on its way to a Cluster: `settings` holds valid values only, `raw` all that pyinfra has."""

    raw: Mapping[str, Mapping[str, Any]] = field(repr=False)
    groups: Mapping[str, Sequence[str]]
    settings: Mapping[str, Settings]
    invalid: Mapping[str, frozenset[str]]  # host -> names of the settings that have no valid value

    @property
    def control_plane(self) -> list[str]:
        return [name for name in dict.fromkeys(self.groups.get(CONTROL_PLANE, ())) if name in self.raw]

    @property
    def nodes(self) -> list[str]:
        """Every host, the control plane first."""
        return list(dict.fromkeys([*self.control_plane, *self.raw]))

    @property
    def alone(self) -> bool:
        """Whether there is no worker: whatever runs, runs on the control plane."""
        return self.nodes == self.control_plane

    def takes_pods(self, host: str, settings: Settings) -> bool:
        """Whether a pod that tolerates no taint may run there."""
        scheduled = self.alone if settings.schedule_on_control_plane is None else settings.schedule_on_control_plane
        if host in self.control_plane and not scheduled:
            return False
        return not any(taint.endswith((":NoSchedule", ":NoExecute")) for taint in settings.node_taints)

    def valid(self, *names: str) -> Iterator[tuple[str, Settings]]:
        """The hosts on which all these settings are valid."""
        for host in self.nodes:
            if not self.invalid[host].intersection(names):
                yield host, self.settings[host]


def groups(draft: Draft) -> Iterator[Problem]:
    leaders, workers = draft.control_plane, set(draft.groups.get(WORKERS, ()))
    if not leaders:
        others = [name for name in draft.groups if name not in ("all", WORKERS)]
        yield Problem(
            INVENTORY,
            f'there is no host in the group "{CONTROL_PLANE}"'
            + (f" (groups: {', '.join(sorted(others))})" if others else ""),
            f'list the one control plane host as {CONTROL_PLANE} = [("cp1", {{...}})]',
        )
    elif len(leaders) > 1:
        yield Problem(
            INVENTORY,
            "several control plane hosts are not supported yet",
            f"leave one host in {CONTROL_PLANE}, and move the others to {WORKERS}",
            CONTROL_PLANE,
            leaders,
        )
    for host in leaders:
        if host in workers:
            yield Problem(
                host,
                f"it is in {CONTROL_PLANE} and in {WORKERS}",
                f"take it out of {WORKERS}; schedule_on_control_plane lets it run pods as well",
            )
    for host in draft.raw:
        if host not in leaders and host not in workers:
            yield Problem(
                host,
                f"it is neither in {CONTROL_PLANE} nor in {WORKERS}",
                "put it in one of them, or in an inventory file of its own",
            )
    hosts = len(draft.raw)
    if leaders and hosts == len(leaders):
        for host, settings in draft.valid("schedule_on_control_plane"):
            if settings.schedule_on_control_plane is False:
                yield Problem(
                    host,
                    "there is no worker, so nothing could run, cluster DNS included",
                    "leave it out, or add a host to workers",
                    "schedule_on_control_plane",
                    False,
                )


def host_names(draft: Draft) -> Iterator[Problem]:
    for host in draft.raw:
        if not is_dns_name(host):
            yield Problem(
                host,
                "the name can't be a node's: lower-case letters, digits, inner hyphens and dots (RFC 1123)",
                'rename it in the inventory, e.g. "worker-1", and give its address as ssh_hostname',
            )
        elif _is_address(host):
            yield Problem(
                host,
                "an address can't be a node's name",
                f'write ("worker-1", {{"ssh_hostname": "{host}"}}) in the inventory',
            )
        elif not is_host_name(host):
            yield Problem(
                host,
                "the name can't be a node's: its last part is a number, so programs take it for an address",
                f'rename it in the inventory, e.g. "node-{host.replace(".", "-")}", and give its address as '
                "ssh_hostname",
            )
        elif len(host) > 63:
            yield Problem(
                host,
                "the name can't be a node's: its label kubernetes.io/hostname takes 63 characters",
                "choose a shorter name in the inventory",
            )
        elif host == "localhost" or host.endswith(".localhost"):
            yield Problem(
                host,
                "the name can't be a node's: to each host it is the host itself",
                'rename it in the inventory, e.g. "worker-1"',
            )


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _shared(values: Iterator[tuple[str, Hashable]]) -> Iterator[tuple[Hashable, list[str]]]:
    owners: dict[Hashable, list[str]] = defaultdict(list)
    for host, value in values:
        owners[value].append(host)
    return ((value, hosts) for value, hosts in owners.items() if len(hosts) > 1)


def connections(draft: Draft) -> Iterator[Problem]:
    """pyinfra's own data, of which rules make use as well."""
    for host, data in draft.raw.items():
        name, port = data.get("ssh_hostname"), data.get("ssh_port")
        if name is not None and not isinstance(name, str):
            yield Problem(host, "not a text", 'put it in quotes, e.g. "10.0.0.11"', "ssh_hostname", name)
        if port is not None and (type(port) is not int or not 1 <= port <= 65535):
            yield Problem(host, "not a port", "write a number within 1-65535, without quotes", "ssh_port", port)


def ssh_port(data: Mapping[str, Any]) -> int:
    """Where SSH listens on a host with that data; the usual port where its own is none."""
    port = data.get("ssh_port")
    return port if type(port) is int else 22


def unique_addresses(draft: Draft) -> Iterator[Problem]:
    def ssh(host: str) -> Hashable:
        return str(draft.raw[host].get("ssh_hostname") or host), ssh_port(draft.raw[host])

    for address, hosts in _shared((host, ssh(host)) for host in draft.raw):
        assert isinstance(address, tuple)
        yield Problem(
            ", ".join(hosts),
            "one machine under several names",
            "give each host its own ssh_hostname (or ssh_port), or drop the doubles",
            "ssh_hostname, ssh_port",
            f"{address[0]}:{address[1]}",
        )
    given = ((host, s.private_address) for host, s in draft.valid("private_address") if s.private_address)
    for value, hosts in _shared(given):
        yield Problem(
            ", ".join(hosts),
            "several hosts have the same private address",
            "give each host its own, or leave it empty to take that of its default route",
            "private_address",
            value,
        )


def same_everywhere(draft: Draft) -> Iterator[Problem]:
    if not draft.nodes:
        return
    first, *others = draft.nodes
    for name in Settings.model_fields:
        if name in PER_HOST or name not in draft.raw[first] or name in draft.invalid[first]:
            continue
        for host in others:
            data = draft.raw[host]
            if name in data and name not in draft.invalid[host] and data[name] != draft.raw[first][name]:
                yield Problem(
                    host,
                    f"{first} has {shown(name, draft.raw[first][name])}, but it is one setting for the whole cluster",
                    "set it once in group_data, for all hosts",
                    name,
                    data[name],
                )


def networks(draft: Draft) -> Iterator[Problem]:
    for host, s in draft.valid("pod_cidr", "service_cidr"):
        if parse_cidr(s.pod_cidr).overlaps(parse_cidr(s.service_cidr)):
            yield Problem(
                host,
                f"it overlaps service_cidr = {s.service_cidr!r}",
                "choose two networks that share no address, "
                'e.g. pod_cidr = "10.244.0.0/16" and service_cidr = "10.96.0.0/16"',
                "pod_cidr",
                s.pod_cidr,
            )
    for host, s in draft.valid("pod_cidr"):
        network = parse_cidr(s.pod_cidr)
        nodes, room = len(draft.raw), 2 ** (24 - network.prefixlen)
        if room < nodes:
            yield Problem(
                host,
                f"every node takes a /24 of it: it has room for {room}, and there are {nodes} hosts",
                f'choose a larger network, e.g. "{network.supernet(new_prefix=24 - (nodes - 1).bit_length())}"',
                "pod_cidr",
                s.pod_cidr,
            )
    for cidr_name in ("pod_cidr", "service_cidr"):
        for host, s in draft.valid(cidr_name):
            network = parse_cidr(getattr(s, cidr_name))
            for name, value in _addresses(draft, host):
                if ipaddress.IPv4Address(value) in network:
                    yield Problem(
                        host,
                        f"it lies inside {cidr_name} = {str(network)!r}, so pods could not reach the host",
                        f"choose a {cidr_name} that shares no address with the hosts' network",
                        name,
                        value,
                    )


def docker_networks(draft: Draft) -> Iterator[Problem]:
    for host, s in draft.valid("pod_cidr", "service_cidr", "docker_config"):
        cidrs = {name: parse_cidr(getattr(s, name)) for name in ("pod_cidr", "service_cidr")}
        hosts = [ipaddress.IPv4Network(value) for name in draft.raw for _, value in _addresses(draft, name)]
        free = next((net for net in _EXAMPLES if not any(map(net.overlaps, [*cidrs.values(), *hosts]))), _EXAMPLES[0])
        for key, docker in docker_keys.networks(s.docker_config):
            for cidr_name in (name for name, network in cidrs.items() if docker.overlaps(network)):
                if key == "bip":
                    yield Problem(
                        host,
                        f"it overlaps the network of Docker's own bridge, {docker}",
                        f'choose another network, or move Docker\'s with docker_config = {{"bip": "{free[1]}/24"}}',
                        cidr_name,
                        getattr(s, cidr_name),
                    )
                else:
                    yield Problem(
                        host,
                        f'"{key}" has {docker}, which overlaps {cidr_name} = {getattr(s, cidr_name)!r}',
                        f'choose others, e.g. docker_config = {{"{key}": [{{"base": "{free}", "size": 28}}]}}',
                        "docker_config",
                    )


def _addresses(draft: Draft, host: str) -> Iterator[tuple[str, str]]:
    for name in ("private_address", "public_address", "ssh_hostname"):
        value = draft.raw[host].get(name)
        if isinstance(value, str) and _is_address(value) and ":" not in value and name not in draft.invalid[host]:
            yield name, value


def node_ports(draft: Draft) -> Iterator[Problem]:
    own = {*CONTROL_PLANE_PORTS, *NODE_PORTS_OF_KUBERNETES}
    for host, s in draft.valid("node_port_range", "node_port_reserved", "api_port"):
        ssh = {ssh_port(data) for data in draft.raw.values()}
        unasked = own | ssh | {s.api_port, FLANNEL_VXLAN_PORT}
        taken = unasked.union(s.reserved_ports)
        held = [port for port in range(s.node_ports.first, s.node_ports.last + 1) if port in taken]
        if len(held) == len(s.node_ports):
            yield Problem(
                host,
                "no port of it is left for a Service: all are Kubernetes' own, SSH's or in node_port_reserved",
                "choose a wider range, or reserve less",
                "node_port_range",
                s.node_port_range,
            )
        elif len(held) > MOST_RESERVED_PORTS:
            room = MOST_RESERVED_PORTS - len([port for port in unasked if port in s.node_ports])
            yield Problem(
                host,
                f"with Kubernetes' own and SSH's, {len(held)} ports would be held, and the API server can write no "
                f"more than {MOST_RESERVED_PORTS} of them in one go",
                f"reserve no more than {room} ports of node_port_range; "
                "or narrow that: no Service gets a port outside of it",
                "node_port_reserved",
                list(s.node_port_reserved),
            )
        clash = own & {s.api_port}
        if clash:
            yield Problem(
                host, "another part of Kubernetes listens on it", "choose another, e.g. 6443", "api_port", s.api_port
            )


def versions(draft: Draft) -> Iterator[Problem]:
    leaders = draft.control_plane
    for host, s in draft.valid("kubernetes_version"):
        name, own = "kubernetes_version", parse_version(s.kubernetes_version)
        if own < OLDEST_KUBERNETES:
            yield Problem(
                host,
                "too old: kubeadm's configuration format v1beta4 came with 1.31",
                "set 1.31.0 or newer",
                name,
                s.kubernetes_version,
            )
        if not leaders or host == leaders[0] or name in draft.invalid[leaders[0]]:
            continue
        ours = draft.settings[leaders[0]].kubernetes_version
        control_plane = parse_version(ours)
        if own > control_plane:
            yield Problem(
                host,
                f"the kubelet may not be newer than the control plane ({leaders[0]}: {ours})",
                f"set it to {ours}, or upgrade the control plane first",
                name,
                s.kubernetes_version,
            )
        elif own[0] != control_plane[0] or own[1] < control_plane[1] - KUBELET_SKEW:
            yield Problem(
                host,
                f"the kubelet may be at most {KUBELET_SKEW} minor versions older than the control plane ({ours})",
                f"set it to {control_plane[0]}.{control_plane[1] - KUBELET_SKEW}.0 or newer",
                name,
                s.kubernetes_version,
            )
    for host, s in draft.valid("containerd_version"):
        if parse_version(s.containerd_version)[0] < 2:
            yield Problem(
                host,
                "too old: its configuration is written in version 3, which needs containerd 2, as kubelet 1.36 does",
                "set 2.0.0 or newer",
                "containerd_version",
                s.containerd_version,
            )


def mirrors(draft: Draft) -> Iterator[Problem]:
    for host, s in draft.valid("mirror"):
        known = draft.raw[host].get("mirrors")
        if isinstance(known, Mapping) and s.mirror not in known:
            yield Problem(
                host,
                f"no such profile in mirrors{near(s.mirror, (str(name) for name in known))}",
                f"use one of: {', '.join(sorted(str(name) for name in known))}; or add it to mirrors",
                "mirror",
                s.mirror,
            )
    for host, s in draft.valid("mirror", "mirrors"):
        profile = draft.raw[host]["mirrors"].get(s.mirror)
        for registry, addresses in profile["registries"].items() if profile else ():
            if not addresses and not profile["registry_fallback"]:
                yield Problem(
                    host,
                    "it names no mirror, and registry_fallback = False leaves none to ask",
                    "name a mirror, drop the registry, or set registry_fallback = True",
                    f"mirrors.{s.mirror}.registries.{registry}",
                    list(addresses),
                )


def taints(draft: Draft) -> Iterator[Problem]:
    for host, s in draft.valid("node_taints"):
        owners = _shared((taint, _key_and_effect(taint)) for taint in dict.fromkeys(s.node_taints))
        for _, doubled in owners:
            yield Problem(
                host,
                f"a node has one value for a key and effect: {' and '.join(doubled)}",
                "leave one of them",
                "node_taints",
                list(s.node_taints),
            )


def _key_and_effect(taint: str) -> Hashable:
    key_and_value, _, effect = taint.partition(":")
    return key_and_value.partition("=")[0], effect


RULES: tuple[Callable[[Draft], Iterator[Problem]], ...] = (
    groups,
    host_names,
    connections,
    unique_addresses,
    same_everywhere,
    networks,
    docker_networks,
    node_ports,
    versions,
    mirrors,
    taints,
)
