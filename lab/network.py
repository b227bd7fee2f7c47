"""The lab's network: a bridge with the machine's own end, firewall chains of its own, and a link for each host."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from lab.build import product
from lab.definition import BRIDGE, GATEWAY, NETWORK
from lab.progress import StepFailed, resume_command

CHAIN = "KUBESTAGE"


def chains() -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    """Table, chain of the kernel's that jumps to ours first, rules of ours in their order.

    A Service's or a pod's address means nothing outside of the cluster. A packet to one, for which a host has no rule,
    or from one must not leave by the machine's own uplink, where something may answer.
    """
    inside = (product()[name] for name in ("service_cidr", "pod_cidr"))
    return (
        ("nat", "POSTROUTING", (f"-s {NETWORK} ! -d {NETWORK} -j MASQUERADE",)),
        (
            "filter",
            "FORWARD",
            (
                f"-i {BRIDGE} -o {BRIDGE} -j ACCEPT",
                *(f"-d {cidr} -i {BRIDGE} -j REJECT --reject-with icmp-net-unreachable" for cidr in inside),
                f"! -s {NETWORK} -i {BRIDGE} -j DROP",
                f"-i {BRIDGE} -j ACCEPT",
                f"-o {BRIDGE} -j ACCEPT",
            ),
        ),
        ("filter", "INPUT", (f"-i {BRIDGE} -j ACCEPT",)),
    )


def link_name(address: str) -> str:
    """The machine's end of a host's link: at most 15 characters, as the kernel wants it."""
    return f"{BRIDGE}-{address.rpartition('.')[2]}"


def hardware_address(address: str) -> str:
    """The same for the same address, so that a rebuilt host needs no neighbour's memory to expire."""
    return "02:4b:53:" + ":".join(f"{int(part):02x}" for part in address.split(".")[1:])


def command(*argv: str | Path, given: str | None = None) -> str:
    """Run a short command; StepFailed with its words and its error if it fails."""
    words = [str(word) for word in argv]
    result = subprocess.run(words, check=False, input=given, capture_output=True, text=True)
    if result.returncode:
        raise StepFailed(
            f"{' '.join(words)}: exit code {result.returncode}\n{(result.stderr or result.stdout).strip()}\n"
            f"To go on once that is mended: {resume_command()}"
        )
    return result.stdout


def _iptables(table: str, *words: str) -> bool:
    argv = ["iptables", "--wait", "--table", table, *words]
    return subprocess.run(argv, check=False, capture_output=True).returncode == 0


def links() -> list[str]:
    """The lab's links on the machine."""
    return sorted(path.name for path in Path("/sys/class/net").iterdir() if path.name.startswith(BRIDGE))


def firewall_rules() -> list[str]:
    """The lab's chains and rules, as iptables-save writes them."""
    return [line for line in command("iptables-save").splitlines() if f"{CHAIN}-" in line]


def mtu() -> int:
    """Of the link that the machine's default route takes: larger packets would not leave it whole."""
    route = command("ip", "-4", "route", "show", "default").split()
    if "dev" not in route:
        return 1500
    return min(1500, int(Path("/sys/class/net", route[route.index("dev") + 1], "mtu").read_text()))


def up() -> None:
    """Make the bridge and the firewall chains, where they are missing."""
    if BRIDGE not in links():
        lines = [
            f"link add {BRIDGE} mtu {mtu()} address {hardware_address(GATEWAY)} type bridge",
            f"address add {GATEWAY}/{NETWORK.prefixlen} dev {BRIDGE}",
            f"link set {BRIDGE} up",
        ]
        command("ip", "-batch", "-", given="\n".join(lines))
    for table, parent, rules in chains():
        chain = f"{CHAIN}-{parent}"
        if not _iptables(table, "--list-rules", chain):
            command("iptables", "--wait", "--table", table, "--new-chain", chain)
        wanted = [f"-N {chain}", *(f"-A {chain} {rule}" for rule in rules)]
        if command("iptables", "--wait", "--table", table, "--list-rules", chain).splitlines() != wanted:
            command("iptables", "--wait", "--table", table, "--flush", chain)
            for rule in rules:
                command("iptables", "--wait", "--table", table, "--append", chain, *rule.split())
        if not _iptables(table, "--check", parent, "--jump", chain):
            command("iptables", "--wait", "--table", table, "--insert", parent, "--jump", chain)


def down() -> None:
    """Remove what `up` and `connect` made."""
    for table, parent, _rules in chains():
        chain = f"{CHAIN}-{parent}"
        while _iptables(table, "--check", parent, "--jump", chain):
            command("iptables", "--wait", "--table", table, "--delete", parent, "--jump", chain)
        if _iptables(table, "--list-rules", chain):
            command("iptables", "--wait", "--table", table, "--flush", chain)
            command("iptables", "--wait", "--table", table, "--delete-chain", chain)
    for link in links():
        remove_link(link)


def remove_link(link: str) -> None:
    """Remove a link; its other end goes with it."""
    if Path("/sys/class/net", link).exists():
        command("ip", "link", "delete", link)


def connect(address: str, namespace: Path) -> None:
    """Make a network namespace that the file `namespace` holds, with one link to the bridge and `address` on it."""
    namespace.touch()
    command("unshare", f"--net={namespace}", "true")
    link = link_name(address)
    remove_link(link)
    # Made inside, and the bridge's end sent out: no name of the machine's own can be in its way.
    inside = [
        f"link add {link} mtu {mtu()} type veth peer name eth0 mtu {mtu()} address {hardware_address(address)}",
        f"link set {link} netns {os.getpid()}",
        "link set lo up",
        f"address add {address}/{NETWORK.prefixlen} dev eth0",
        "link set eth0 up",
        f"route add default via {GATEWAY}",
    ]
    enter = ["nsenter", f"--net={namespace}", "--"]
    command(*enter, "ip", "-batch", "-", given="\n".join(inside))
    command("ip", "-batch", "-", given=f"link set {link} master {BRIDGE}\nlink set {link} up")
    # A new namespace takes it over from the machine, where the lab needs it on; a bare server has it off.
    command(*enter, "sh", "-c", "echo 0 >/proc/sys/net/ipv4/ip_forward")
