"""Rules that compare settings with each other or between hosts. Each yields its problems.

A rule ends where it asks for a setting that has no valid value, so that one mistake is told once.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Hashable, Iterator, Mapping

from kubestage.checks import addresses, ports
from kubestage.settings import HostSettings, Problem
from kubestage.settings.cluster import CONTROL_PLANE, INVENTORY, WORKERS, Cluster, ssh_port
from kubestage.settings.component_flags import ENCRYPTION_FLAG
from kubestage.settings.values import is_dns_name, is_host_name, near, parse_version

OLDEST_KUBERNETES = (1, 31, 0)  # the first with kubeadm's configuration v1beta4
KUBELET_SKEW = 3  # minor versions, https://kubernetes.io/releases/version-skew-policy/


def groups(cluster: Cluster) -> Iterator[Problem]:
    leaders, workers = cluster.control_plane, set(cluster.groups.get(WORKERS, ()))
    if not leaders:
        others = [name for name in cluster.groups if name not in ("all", WORKERS)]
        yield Problem(
            INVENTORY,
            f'there is no host in the group "{CONTROL_PLANE}"'
            + (f" (groups: {', '.join(sorted(others))})" if others else ""),
            f'list a control plane host as {CONTROL_PLANE} = [("cp1", {{...}})]',
        )
    for host in leaders:
        if host in workers:
            yield Problem(
                host,
                f"it is in {CONTROL_PLANE} and in {WORKERS}",
                f"take it out of {WORKERS}; schedule_on_control_plane lets it run pods as well",
            )
    for host in cluster.raw:
        if host not in leaders and host not in workers:
            yield Problem(
                host,
                f"it is neither in {CONTROL_PLANE} nor in {WORKERS}",
                "put it in one of them, or in an inventory file of its own",
            )
    if leaders and cluster.alone and cluster.common.schedule_on_control_plane is False:
        yield cluster.wrong(
            "schedule_on_control_plane",
            "there is no worker, so nothing could run, cluster DNS included",
            "leave it out, or add a host to workers",
        )


def host_names(cluster: Cluster) -> Iterator[Problem]:
    for host in cluster.raw:
        if wrong := _no_name(host):
            yield Problem(host, *wrong)


def _no_name(host: str) -> tuple[str, str] | None:
    """Why a node can't have that name, and what to do; None where it can."""
    cant = "the name can't be a node's:"
    if not is_dns_name(host):
        return (
            f"{cant} lower-case letters, digits, inner hyphens and dots (RFC 1123)",
            'rename it in the inventory, e.g. "worker-1", and give its address as ssh_hostname',
        )
    if _is_address(host):
        remedy = f'write ("worker-1", {{"ssh_hostname": "{host}"}}) in the inventory'
        return "an address can't be a node's name", remedy
    if not is_host_name(host):
        name = f"node-{host.replace('.', '-')}"
        return (
            f"{cant} its last part is a number, so programs take it for an address",
            f'rename it in the inventory, e.g. "{name}", and give its address as ssh_hostname',
        )
    if len(host) > 63:
        reason = f"{cant} its label kubernetes.io/hostname takes 63 characters"
        return reason, "choose a shorter name in the inventory"
    if host == "localhost" or host.endswith(".localhost"):
        return f"{cant} to each host it is the host itself", 'rename it in the inventory, e.g. "worker-1"'
    return None


def encryption(cluster: Cluster) -> Iterator[Problem]:
    if cluster.common.encrypt_secrets and ENCRYPTION_FLAG in cluster.common.apiserver_extra_args:
        yield cluster.wrong(
            "encrypt_secrets",
            f'apiserver_extra_args has "{ENCRYPTION_FLAG}", and an API server takes one',
            f'set encrypt_secrets = False to keep your own; or remove "{ENCRYPTION_FLAG}"',
        )


def backups(cluster: Cluster) -> Iterator[Problem]:
    if cluster.common.backup_schedule and not cluster.common.backup_recipients:
        yield cluster.wrong(
            "backup_recipients",
            "there is a backup_schedule, and nobody is named who could read a backup",
            "name a public key, or leave backup_schedule out",
        )


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def connections(cluster: Cluster) -> Iterator[Problem]:
    """pyinfra's own data, of which rules make use as well."""
    for host, data in cluster.raw.items():
        name, port = data.get("ssh_hostname"), data.get("ssh_port")
        if name is not None and not isinstance(name, str):
            yield Problem(host, "not a text", 'put it in quotes, e.g. "10.0.0.11"', "ssh_hostname", name)
        if port is not None and (type(port) is not int or not 1 <= port <= 65535):
            yield Problem(host, "not a port", "write a number within 1-65535, without quotes", "ssh_port", port)


def machines(cluster: Cluster) -> Iterator[Problem]:
    """Every host is a machine of its own."""
    where = {host: (str(data.get("ssh_hostname") or host), ssh_port(data)) for host, data in cluster.raw.items()}
    for address, hosts in addresses.shared(where.items()):
        yield Problem(
            ", ".join(hosts),
            "one machine under several names",
            "give each host its own ssh_hostname (or ssh_port), or drop the doubles",
            "ssh_hostname, ssh_port",
            "{}:{}".format(*address),
        )


def kubernetes_version(cluster: Cluster, host: str, own: HostSettings) -> Iterator[Problem]:
    def wrong(reason: str, remedy: str) -> Problem:
        return cluster.wrong("kubernetes_version", reason, remedy, host)

    version = parse_version(own.kubernetes_version)
    if host in cluster.control_plane and own.kubernetes_version != cluster.hosts[cluster.first].kubernetes_version:
        yield wrong(
            f"all hosts of the control plane have one version; {cluster.first} has "
            f"{cluster.hosts[cluster.first].kubernetes_version}",
            "set it once in group_data, for all hosts",
        )
        return
    if version < OLDEST_KUBERNETES:
        yield wrong("too old: kubeadm's configuration format v1beta4 came with 1.31", "set 1.31.0 or newer")
    first = cluster.first if cluster.control_plane else host
    ours = cluster.hosts[first].kubernetes_version
    major, minor, _ = parse_version(ours)
    if version > parse_version(ours):
        yield wrong(
            f"the kubelet may not be newer than the control plane ({first}: {ours})",
            f"set it to {ours}, or upgrade the control plane first",
        )
    elif version[:2] < (major, minor - KUBELET_SKEW):
        yield wrong(
            f"the kubelet may be at most {KUBELET_SKEW} minor versions older than the control plane ({ours})",
            f"set it to {major}.{minor - KUBELET_SKEW}.0 or newer",
        )


def containerd_version(cluster: Cluster, host: str, own: HostSettings) -> Iterator[Problem]:
    if parse_version(own.containerd_version)[0] < 2:
        yield cluster.wrong(
            "containerd_version",
            "too old: its configuration is written in version 3, which needs containerd 2, as kubelet 1.36 does",
            "set 2.0.0 or newer",
            host,
        )


def mirror(cluster: Cluster, host: str, own: HostSettings) -> Iterator[Problem]:
    """Also where a profile is wrong: by its name in the data."""
    known = cluster.raw[host].get("mirrors")
    if isinstance(known, Mapping) and own.mirror not in known:
        names = sorted(map(str, known))
        yield cluster.wrong(
            "mirror",
            f"no such profile in mirrors{near(own.mirror, names)}",
            f"use one of: {', '.join(names)}; or add it to mirrors",
            host,
        )
        return
    profile = own.mirrors[own.mirror]
    for registry, mirrors in profile.registries.items():
        if not (mirrors or own.registry_mirrors.get(registry) or profile.registry_fallback):
            yield Problem(
                host,
                "it names no mirror, and registry_fallback = False leaves none to ask",
                "name a mirror, drop the registry, or set registry_fallback = True",
                f"mirrors.{own.mirror}.registries.{registry}",
                list(mirrors),
            )


def taints(cluster: Cluster, host: str, own: HostSettings) -> Iterator[Problem]:
    for _, doubled in addresses.shared((taint, _key_and_effect(taint)) for taint in dict.fromkeys(own.node_taints)):
        reason = f"a node has one value for a key and effect: {' and '.join(doubled)}"
        yield cluster.wrong("node_taints", reason, "leave one of them", host)


def _key_and_effect(taint: str) -> Hashable:
    key_and_value, _, effect = taint.partition(":")
    return key_and_value.partition("=")[0], effect


RULES: tuple[Callable[[Cluster], Iterator[Problem]], ...] = (
    groups,
    host_names,
    encryption,
    backups,
    connections,
    machines,
    addresses.given,
    addresses.cluster_networks,
    ports.node_ports,
)
HOST_RULES: tuple[Callable[[Cluster, str, HostSettings], Iterator[Problem]], ...] = (
    addresses.inside,
    addresses.docker_networks,
    kubernetes_version,
    containerd_version,
    mirror,
    taints,
)
