"""What is tried between hosts before any of them joins: the ports without which a join, or the pod network, ends badly.

It takes a question of its own, and so it is asked in runs alone in which a host has not joined.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from kubestage.checks.cluster_hosts import ClusterHosts
from kubestage.cluster.openings import Opening, openings
from kubestage.facts.reach import Peer, Port, Reached
from kubestage.settings import Problem

SECONDS = 10


@dataclass(frozen=True)
class Trial:
    """One host's part: its address, the ports on which it listens meanwhile, and whom it tries."""

    own: str
    listens: tuple[Port, ...]
    peers: tuple[Peer, ...]


def trials(hosts: ClusterHosts) -> dict[str, Trial]:
    """By host; empty where all have joined. Two that have joined need no trial, they have passed it."""
    asked = [name for name, _, _ in hosts]
    new = {name for name in asked if not hosts.is_member(name)}
    if not new:
        return {}
    addresses = hosts.addresses()
    needed = [opening for opening in openings(hosts.cluster) if opening.between_hosts]

    def tried(by: str, at: str) -> tuple[Port, ...]:
        """By UDP, a host that has joined would answer to its own pods alone."""
        if by not in new and at not in new:
            return ()
        ports = _ports(opening for opening in needed if by in opening.sources and at in opening.targets)
        return tuple(port for port in ports if port[0] == "tcp" or at in new)

    found = {}
    for name in asked:
        peers = [Peer(addresses[other], tried(name, other), tried(other, name)) for other in asked if other != name]
        if peers := [peer for peer in peers if peer.tried or peer.awaited]:
            listens = _ports(opening for opening in needed if name in opening.targets) if name in new else ()
            found[name] = Trial(addresses[name], listens, tuple(peers))
    return found


def _ports(needed: Iterable[Opening]) -> tuple[Port, ...]:
    return tuple((each.protocol, port) for each in needed for port in range(each.ports.first, each.ports.last + 1))


def blocked(hosts: ClusterHosts, answers: Mapping[str, Reached]) -> Iterator[Problem]:
    """What hosts could not reach of each other. A port on which nothing listened proves nothing by refusing."""
    known = trials(hosts)
    what = {port: each.what for each in openings(hosts.cluster) if each.between_hosts for port in _ports([each])}
    names = {trial.own: name for name, trial in known.items()}
    sources: dict[tuple[str, int, str], dict[str, list[str]]] = {}
    for source, answer in answers.items():
        for (protocol, port, address), why in answer.failed.items():
            target = names[address]
            there = answers[target]
            listened = (protocol, port) in known[target].listens and not (
                there.unable or (protocol, port) in there.busy
            )
            if not listened and (protocol == "udp" or "refused" in why):
                continue
            sources.setdefault((protocol, port, target), {}).setdefault(why, []).append(source)
    for (protocol, port, target), reasons in sources.items():
        for why, where in reasons.items():
            senders = ", ".join(f"{name} ({known[name].own})" for name in where)
            yield Problem(
                ", ".join(where),
                f"{what[protocol, port]} of {target} ({known[target].own}) will not be reached from there: {why}",
                "have the hosts' own firewalls, and your cloud's security group, "
                f"let {protocol.upper()} {port} pass from {senders} to {target} ({known[target].own}); "
                "python -m kubestage ports INVENTORY lists all that has to be open",
                f"{protocol.upper()} port",
                port,
            )
