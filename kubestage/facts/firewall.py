"""The kernel's firewall, by each of the programs that have rules in it."""

from __future__ import annotations

from collections.abc import Sequence

from kubestage.facts.framed import Fact, Lines

# Debian's and Ubuntu's names: both families of addresses, each by the kernel's old and by its new tables.
PROGRAMS = ("iptables-nft", "iptables-legacy", "ip6tables-nft", "ip6tables-legacy")


class Rules(Fact[dict[str, list[str]]]):
    """Program -> what its `-save` prints, line by line; one that has no table prints nothing, and makes none."""

    @staticmethod
    def default() -> dict[str, list[str]]:
        return {}

    def ask(self) -> str:
        return (
            f"for program in {' '.join(PROGRAMS)}; do if command -v $program-save >/dev/null; then "
            '$program-save 2>/dev/null | sed "s/^/$program /"; fi; done'
        )

    def parse(self, output: Sequence[str]) -> dict[str, list[str]]:
        rules: dict[str, list[str]] = {}
        for line in output:
            program, _, rule = line.partition(" ")
            rules.setdefault(program, []).append(rule)
        return rules


class NftTables(Lines):
    """The tables of nftables: "ip kube-proxy". Those of iptables are among them."""

    def ask(self) -> str:
        return "if command -v nft >/dev/null; then nft list tables | sed -n 's/^table //p'; fi"


class Links(Lines):
    """The names of network links, and of network namespaces, with "netns " before those."""

    def ask(self) -> str:
        return "ls /sys/class/net; ls /run/netns 2>/dev/null | sed 's/^/netns /'"
