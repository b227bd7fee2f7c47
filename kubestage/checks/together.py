"""Rules about hosts among each other, and about the living cluster."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import combinations
from statistics import median

from kubestage.checks.cluster_hosts import ClusterHosts
from kubestage.kubernetes import RESET
from kubestage.settings import Problem


def _apart(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Seconds by which two clocks differ at least; 0 while the round trips leave room for none."""
    return max(0.0, one[0] - other[1], other[0] - one[1])


def clocks(hosts: ClusterHosts) -> Iterator[Problem]:
    limit = hosts.common.max_clock_skew_s
    ahead = {name: report.clock for name, _, report in hosts}
    if len(ahead) < 2:
        return
    middle = median(sum(clock) / 2 for clock in ahead.values())
    # Told of the host that is off, not of everyone who differs from it.
    usual = min(ahead, key=lambda name: abs(sum(ahead[name]) / 2 - middle))
    off = [(name, usual) for name in ahead if _apart(ahead[name], ahead[usual]) > limit]
    if not off:
        off = [pair for pair in combinations(ahead, 2) if _apart(ahead[pair[0]], ahead[pair[1]]) > limit][:1]
    for name, other in off:
        yield Problem(
            name,
            f"its clock is not that of {other}: more than max_clock_skew_s = {limit} s apart",
            "switch time synchronisation on there: timedatectl set-ntp true",
            "clock difference",
            f"{_apart(ahead[name], ahead[other]):.1f} s",
        )


# What Kubernetes' own certificates allow for: they begin five minutes before they are made.
_OPERATOR_SKEW_S = 300
_OURS = (0.0, 0.0)  # how far this machine's clock is ahead of itself


def _off(hosts: ClusterHosts) -> float:
    """Seconds by which this machine's clock is behind most of the hosts', below 0: ahead; 0 where they may agree."""
    limit = hosts.common.max_clock_skew_s
    clocks = [report.clock for _, _, report in hosts]
    off = [sum(clock) / 2 for clock in clocks if _apart(clock, _OURS) > limit]
    return median(off) if 2 * len(off) > len(clocks) else 0.0


def _said(off: float) -> str:
    return f"{abs(off):.0f} s {'behind' if off > 0 else 'ahead of'} most hosts'"


def operators_clock(hosts: ClusterHosts) -> Iterator[Problem]:
    """Certificates are made here, and whether one ends is told by the clock here."""
    off, limit = _off(hosts), max(hosts.common.max_clock_skew_s, _OPERATOR_SKEW_S)
    if abs(off) > limit:
        yield Problem(
            "this machine",
            f"its clock is {_said(off)}: certificates that it makes would not be valid yet, or end too soon",
            "set it right: timedatectl set-ntp true; or set the hosts' right, if it is they that are wrong",
            "clock",
            f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
        )


def operators_clock_is_off(hosts: ClusterHosts) -> Iterator[str]:
    """A warning: too little to do harm."""
    off, limit = _off(hosts), hosts.common.max_clock_skew_s
    if 0 < abs(off) <= _OPERATOR_SKEW_S:
        yield f"This machine's clock is {_said(off)}, which is more than max_clock_skew_s = {limit}"


def node_names(hosts: ClusterHosts) -> Iterator[Problem]:
    addresses = hosts.addresses()
    for name, _, report in hosts:
        if report.node_name and hosts.is_member(name):
            if report.node_name != name:
                yield Problem(
                    name,
                    "the host is a node of this cluster under another name",
                    f"call it {report.node_name!r} in the inventory, or drain it, and give there: {RESET}",
                    "node name",
                    report.node_name,
                )
            continue
        node = hosts.living.nodes.get(name) if hosts.living else None
        # A rebuilt host's Node is soon not Ready, or has the host's address still.
        if node and node.ready and node.address and node.address != addresses.get(name):
            yield Problem(
                name,
                f"another machine, {node.address}, is a Ready node of the cluster under this name",
                "rename this host in the inventory; if the other machine is gone, wait a minute and run again",
                "node name",
                name,
            )
