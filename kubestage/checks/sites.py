"""Rules about the ports at which the platform's sites answer on every node."""

from __future__ import annotations

from collections.abc import Iterator

from kubestage.checks.cluster_hosts import ClusterHosts
from kubestage.settings import Problem

ENVOY = "projectcontour/envoy"  # the Service that is to have them


def ports(hosts: ClusterHosts) -> Iterator[Problem]:
    """A port that a Service has and a program listens on is told of by the rule about NodePorts."""
    common = hosts.cluster.common
    if "ingress" not in common.stacks:
        return
    listening, reserved = hosts.listening(), hosts.reserved_ports()
    for setting in ("http_port", "https_port"):
        port: int = getattr(common, setting)
        health = hosts.living.health_ports.get(port, ()) if hosts.living else ()
        services = [*hosts.services_at(port), *health]
        others = [name for name in services if name != ENVOY]
        if others:
            yield Problem(
                "the cluster",
                f"Service {', '.join(others)} has this NodePort, so no site can have it",
                f"give that Service another port: kubectl -n {others[0].replace('/', ' edit service ')} ; "
                f"or choose another {setting}",
                setting,
                port,
            )
        elif port in listening and not services:
            yield Problem(
                ", ".join(listening[port]),
                "a program listens on it there, so no site can have it",
                f"see what it is, and stop it: ss -lntup 'sport = :{port}' ; or choose another {setting}",
                setting,
                port,
            )
        elif port in reserved and not services:
            yield Problem(
                "the cluster",
                "it is held for a host that this run does not ask, on which a program listened",
                "run once without --limit",
                setting,
                port,
            )
