"""A host's addresses, and the ports on which something listens, as preflight asks for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Interface
from itertools import pairwise

from kubestage.facts.answers import Answers

_SCRIPT = r"""
ip -4 route show default 2>/dev/null | sed 's/^/route /'
ip -4 -o address show 2>/dev/null | sed 's/^/address /'
for device in /sys/class/net/*; do
    # linux/if_arp.h: PPP, nothing (tun, WireGuard), IP in IP, GRE. A file of tun's own tells a tap.
    read -r type 2>/dev/null <"$device/type" || continue
    case $type in
        512 | 65534 | 768 | 778) echo "tunnel ${device##*/}" ;;
        *) if [ -e "$device/tun_flags" ]; then echo "tunnel ${device##*/}"; fi ;;
    esac
done
sed -n 's/^nameserver[[:space:]]*//p' /etc/resolv.conf /run/systemd/resolve/resolv.conf 2>/dev/null |
    sed 's/^/nameserver /'
# As sudo forgets it, the process above that has it is asked.
pid=$$
while [ -z "${SSH_CONNECTION-}" ] && [ "${pid:-1}" -gt 1 ]; do
    pid=$(sed -n 's/^PPid:[^0-9]*//p' "/proc/$pid/status")
    SSH_CONNECTION=$(tr '\0' '\n' 2>/dev/null <"/proc/$pid/environ" | sed -n 's/^SSH_CONNECTION=//p')
done
echo "client ${SSH_CONNECTION%% *}"
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

    `addresses`: all, with prefixes; `devices`: the network devices that have them, `device_of`: each one's.
    `tunnels`: devices that lead into a tunnel, of a VPN mostly. `nameservers`: IPv4 addresses that the host asks.
    `client`: the IPv4 address from which SSH was connected, as the host sees it, or "".
    `tcp_ports`, `udp_ports`: what anything listens on, at any address; `ephemeral_ports`: first and last of the range
    that Linux gives to outgoing connections.
    """

    default_address: str
    addresses: tuple[IPv4Interface, ...]
    devices: frozenset[str]
    device_of: Mapping[str, str]
    tunnels: frozenset[str]
    nameservers: tuple[str, ...]
    client: str
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
        device_of={str(IPv4Interface(address).ip): device for device, address in addresses},
        tunnels=frozenset(said.all("tunnel")),
        nameservers=tuple(dict.fromkeys(filter(None, map(_ipv4, said.all("nameserver"))))),
        client=_ipv4(said.first("client").removeprefix("::ffff:")),
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


def _ipv4(text: str) -> str:
    """The address; "" where it is none of IPv4."""
    try:
        return str(IPv4Address(text))
    except AddressValueError:
        return ""
