"""A host's addresses, and the ports on which something listens, as preflight asks for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface
from itertools import pairwise

from kubestage.facts.host_report.answers import Answers

_SCRIPT = r"""
ip -4 route show default 2>/dev/null | sed 's/^/route /'
ip -4 -o address show 2>/dev/null | sed 's/^/address /'
for table in tcp:0A tcp6:0A udp:07 udp6:07; do
    awk -v protocol="${table%%[6:]*}" -v state="${table#*:}" '
        FNR > 1 && $4 == state { n = split($2, part, ":"); print protocol, part[n] }
    ' /proc/net/${table%:*} 2>/dev/null
done | sort -u
echo "ephemeral $(cat /proc/sys/net/ipv4/ip_local_port_range)"
"""


@dataclass(frozen=True, kw_only=True)
class Network:
    """`default_address`: the IPv4 address of the interface with the default route, or "".

    `addresses`: all, with prefixes; `devices`: the network devices that have them.
    `tcp_ports`, `udp_ports`: what anything listens on, at any address; `ephemeral_ports`: first and last of the range
    that Linux gives to outgoing connections.
    """

    default_address: str
    addresses: tuple[IPv4Interface, ...]
    devices: frozenset[str]
    tcp_ports: frozenset[int]
    udp_ports: frozenset[int]
    ephemeral_ports: tuple[int, int]


def script() -> str:
    return _SCRIPT


def read(said: Answers) -> Network:
    addresses = [(words[1], words[3]) for words in (line.split() for line in said.all("address"))]
    low, high = said.one("ephemeral").split()
    return Network(
        default_address=_default_address(said.all("route"), addresses),
        addresses=tuple(IPv4Interface(address) for _, address in addresses),
        devices=frozenset(device for device, _ in addresses),
        tcp_ports=frozenset(int(port, 16) for port in said.all("tcp")),
        udp_ports=frozenset(int(port, 16) for port in said.all("udp")),
        ephemeral_ports=(int(low), int(high)),
    )


def _default_address(routes: Sequence[str], addresses: Sequence[tuple[str, str]]) -> str:
    """The source address of the default route with the lowest metric, else the first address of its interface."""
    best: tuple[int, str, str] | None = None
    for route in routes:
        words = route.split()
        options = dict(pairwise(words))
        found = (int(options.get("metric", 0)), options.get("dev", ""), options.get("src", ""))
        if best is None or found[0] < best[0]:
            best = found
    if best is None:
        return ""
    _, device, source = best
    return source or next((str(IPv4Interface(a).ip) for name, a in addresses if name == device), "")
