"""Rules about ports: those that Kubernetes needs on a host, NodePorts, and those at which sites answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from kubestage.kubernetes import ENDPOINT_PORT
from kubestage.settings import Cluster, Problem
from kubestage.settings.values import (
    CONTROL_PLANE_PORTS,
    FLANNEL_VXLAN_PORT,
    MOST_RESERVED_PORTS,
    NODE_PORTS_OF_KUBERNETES,
)

if TYPE_CHECKING:  # a command that only reads settings loads no more than it needs
    from kubestage.checks.cluster_hosts import ClusterHosts

ENVOY = "projectcontour/envoy"  # the Service that is to have them


def node_ports(cluster: Cluster) -> Iterator[Problem]:
    s = cluster.common
    if s.api_port in (*CONTROL_PLANE_PORTS, *NODE_PORTS_OF_KUBERNETES):
        yield cluster.wrong("api_port", "another part of Kubernetes listens on it", "choose another, e.g. 6443")
    own = s.own_ports(cluster.ssh_ports)
    held = [port for port in {*own, *s.reserved_ports} if port in s.node_ports]
    if len(held) == len(s.node_ports):
        yield cluster.wrong(
            "node_port_range",
            "no port of it is left for a Service: all are Kubernetes' own, SSH's or in node_port_reserved",
            "choose a wider range, or reserve less",
        )
    elif len(held) > MOST_RESERVED_PORTS:
        room = MOST_RESERVED_PORTS - len([port for port in own if port in s.node_ports])
        yield cluster.wrong(
            "node_port_reserved",
            f"with Kubernetes' own and SSH's, {len(held)} ports would be held, and the API server can write no "
            f"more than {MOST_RESERVED_PORTS} of them in one go",
            f"reserve no more than {room} ports of node_port_range; "
            "or narrow that: no Service gets a port outside of it",
        )


def needed(hosts: ClusterHosts) -> Iterator[Problem]:
    for name, _, report in hosts:
        foreign = report.kubelet_conf or report.admin_conf or report.debris  # its ports are what membership tells of
        if report.uid != 0 or foreign or hosts.is_member(name):
            continue
        needed = list(NODE_PORTS_OF_KUBERNETES)
        if name in hosts.cluster.control_plane:
            needed += [*CONTROL_PLANE_PORTS, hosts.common.api_port]
        for port in sorted(needed):
            if port in report.tcp_ports and not (port == ENDPOINT_PORT and report.endpoint):
                yield _in_use(name, "TCP", port, "Kubernetes needs it", f"ss -ltnp 'sport = :{port}'")
        # `kubeadm reset` leaves flannel's device, which a run deletes.
        if FLANNEL_VXLAN_PORT in report.udp_ports and "flannel.1" not in report.devices:
            found = f"ss -lunp 'sport = :{FLANNEL_VXLAN_PORT}'"
            yield _in_use(name, "UDP", FLANNEL_VXLAN_PORT, "the pod network needs it", found)


def _in_use(name: str, protocol: str, port: int, reason: str, command: str) -> Problem:
    return Problem(
        name,
        f"something listens on it, and {reason}",
        f"see what it is, and stop it: {command}",
        f"{protocol} port",
        port,
    )


def node_port_range(hosts: ClusterHosts) -> Iterator[Problem]:
    common, held = hosts.common, hosts.reserved_ports()
    if len(held) == len(common.node_ports):
        yield hosts.wrong(
            "node_port_range",
            "no port of it is left for a Service: hosts listen on them, or they are reserved",
            "choose a wider range",
        )
    elif len(held) > MOST_RESERVED_PORTS:
        found = len(set(held).difference(common.reserved_ports))
        yield hosts.wrong(
            "node_port_range",
            f"{len(held)} ports of it would be held, {found} of them as something listens there, "
            f"and the API server can write no more than {MOST_RESERVED_PORTS} of them in one go",
            "narrow it: no Service gets a port outside of it; or reserve fewer ports by node_port_reserved",
        )
    if hosts.living is None:
        return
    for port in sorted({*hosts.living.node_ports, *hosts.living.health_ports}):
        services = ", ".join([*hosts.services_at(port), *hosts.living.health_ports.get(port, ())])
        if services and port not in common.node_ports:
            yield hosts.wrong(
                "node_port_range",
                f"Service {services} has NodePort {port}, which is outside of it",
                f"widen the range to include {port}, or change that Service first",
                "the cluster",
            )


def node_port_reservation(hosts: ClusterHosts) -> Iterator[Problem]:
    common = hosts.common
    listening, own = hosts.listening(), hosts.own_ports()
    for port in sorted({*common.reserved_ports, *own, *listening}):
        services = ", ".join(hosts.services_at(port))
        if not services:
            continue
        if port in own:
            whose = f"{own[port]} itself listens on it"
        elif port in listening:
            whose = f"a program on {', '.join(listening[port])} listens on it"
        else:
            whose = "node_port_reserved holds it"
        yield Problem(
            "the cluster",
            f"Service {services} has it as a NodePort, and {whose}",
            "give that Service another port"
            + ("" if port in own else ", or stop the program" if port in listening else ", or reserve it no more"),
            "NodePort",
            port,
        )


def of_sites(hosts: ClusterHosts) -> Iterator[Problem]:
    """A port that a Service has and a program listens on is told of by the rule about NodePorts."""
    common = hosts.common
    if "ingress" not in common.stacks:
        return
    listening, reserved = hosts.listening(), hosts.reserved_ports()
    for setting in ("http_port", "https_port"):
        port: int = getattr(common, setting)
        health = hosts.living.health_ports.get(port, ()) if hosts.living else ()
        services = [*hosts.services_at(port), *health]
        others = [name for name in services if name != ENVOY]
        if others:
            yield hosts.wrong(
                setting,
                f"Service {', '.join(others)} has this NodePort, so no site can have it",
                f"give that Service another port: kubectl -n {others[0].replace('/', ' edit service ')} ; "
                f"or choose another {setting}",
                "the cluster",
            )
        elif port in listening and not services:
            yield hosts.wrong(
                setting,
                "a program listens on it there, so no site can have it",
                f"see what it is, and stop it: ss -lntup 'sport = :{port}' ; or choose another {setting}",
                ", ".join(listening[port]),
            )
        elif port in reserved and not services:
            yield hosts.wrong(
                setting,
                "it is held for a host that this run does not ask, on which a program listened",
                "run once without --limit",
                "the cluster",
            )
