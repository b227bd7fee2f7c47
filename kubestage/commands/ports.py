"""What firewalls and security groups have to let pass for a cluster, there or not yet: `make ports`."""

from __future__ import annotations

import argparse
import json

from kubestage.cluster import openings
from kubestage.cluster.inventory import read
from kubestage.cluster.openings import Opening
from kubestage.output.table import table
from kubestage.settings import Cluster
from kubestage.settings.cluster import CONTROL_PLANE

_UNKNOWN = "its default route's address"  # which a run finds out


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own words."""
    parser.add_argument("--json", action="store_true", help="for programs")


def main(given: argparse.Namespace) -> int:
    """Print the list, for an inventory file. No host is asked."""
    cluster = read(given.inventory, made=False).cluster
    print(as_json(cluster) if given.json else text(cluster))
    return 0


def text(cluster: Cluster) -> str:
    """For people: a line each, then who that is. Answers to what was let pass need no line of their own."""
    found = openings.openings(cluster)
    rows = [[each.source, each.target, each.protocol.upper(), each.port, each.what, each.why] for each in found]
    return "\n".join([*table(["FROM", "TO", "PROTOCOL", "PORT", "WHAT", "WHY"], rows), "", *_who(cluster, found)])


def _who(cluster: Cluster, found: list[Opening]) -> list[str]:
    roles = dict.fromkeys(role for each in found for role in (each.source, each.target))
    said = {
        openings.OPERATOR: "where pyinfra runs, or your jump host",
        openings.USERS: "whoever uses the cluster, you and your CI among them",
        CONTROL_PLANE: _hosts(cluster, cluster.control_plane),
        openings.NODES: _hosts(cluster, cluster.nodes),
        openings.MIRRORS: ", ".join(
            host if port == 443 else f"{host}:{port}" for host, port in openings.mirrors(cluster)
        ),
        openings.NAMESERVERS: "those that the hosts have",
    }
    return table(["WHO", "IS"], [[role, said[role]] for role in roles if role in said])


def _hosts(cluster: Cluster, names: list[str]) -> str:
    return ", ".join(f"{name} ({cluster.hosts[name].private_address or _UNKNOWN})" for name in names)


def as_json(cluster: Cluster) -> str:
    """For programs: `openings`, each host's addresses where the settings name them, and the `mirrors`."""
    hosts = {
        name: {"private_address": own.private_address, "public_address": own.public_address}
        for name, own in cluster.hosts.items()
    }
    mirrors = [{"host": host, "port": port} for host, port in openings.mirrors(cluster)]
    found = [_opening(each) for each in openings.openings(cluster)]
    return json.dumps({"openings": found, "hosts": hosts, "mirrors": mirrors}, indent=2)


def _opening(opening: Opening) -> dict[str, object]:
    return {
        "protocol": opening.protocol,
        "first_port": opening.ports.first,
        "last_port": opening.ports.last,
        "from": opening.source,
        "to": opening.target,
        "from_hosts": opening.sources,
        "to_hosts": opening.targets,
        "what": opening.what,
        "why": opening.why,
        "required": opening.required,
    }
