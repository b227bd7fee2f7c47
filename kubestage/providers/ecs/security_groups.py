"""Whether the security groups of ECS instances let pass what a cluster needs, as far as their rules can tell.

How rules are judged: the reference of DescribeSecurityGroupAttribute, and help.aliyun.com/document_detail/25387. All
groups of an instance count together; the lowest priority number decides, and Drop where two have the same; what no rule
is about is denied. Members of one basic group reach each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

from kubestage.cluster.openings import USERS, Opening
from kubestage.providers.ecs.client import Client, EcsError
from kubestage.providers.ecs.instances import Instance

_PAGE = 1000


@dataclass(frozen=True)
class Rule:
    """An inbound one. `first`, `last`: its ports. `cidr`, `group`: whom it is about; "" both where that is not said."""

    accepts: bool
    priority: int
    protocol: str
    first: int
    last: int
    cidr: str = ""
    group: str = ""

    @property
    def is_unclear(self) -> bool:
        """Whether it goes by a list of addresses or ports that is kept elsewhere."""
        return not (self.cidr or self.group) or self.last < self.first

    def is_about(self, protocol: str, port: int) -> bool:
        return self.protocol in ("all", protocol) and self.first <= port <= self.last

    def is_from(self, source: Instance) -> bool:
        if self.group:
            return self.group in source.groups
        return bool(source.private) and ip_address(source.private) in ip_network(self.cidr, strict=False)


@dataclass(frozen=True)
class Group:
    """`open_inside`: its members reach each other."""

    id: str
    open_inside: bool
    rules: tuple[Rule, ...]


def groups(client: Client, ids: Sequence[str]) -> dict[str, Group]:
    """By their ids; EcsError where the key may not see them."""
    return {each: _group(client, each) for each in ids}


def _group(client: Client, group: str) -> Group:
    rules: list[Rule] = []
    token, inside = "", False
    while True:
        more = {"NextToken": token} if token else {}
        body = client.call(
            "DescribeSecurityGroupAttribute", SecurityGroupId=group, Direction="ingress", MaxResults=_PAGE, **more
        )
        inside = body.get("InnerAccessPolicy") == "Accept"
        listed = (body.get("Permissions") or {}).get("Permission")
        if not isinstance(listed, list):
            raise EcsError(f"{client.endpoint}: DescribeSecurityGroupAttribute: the answer has no list of rules")
        rules += map(_rule, listed)
        token = str(body.get("NextToken") or "")
        if not token:
            return Group(group, inside, tuple(rules))


def _rule(said: Mapping[str, Any]) -> Rule:
    first, _, last = str(said.get("PortRange") or "").partition("/")
    ports = (int(first), int(last)) if first.lstrip("-").isdigit() and last.lstrip("-").isdigit() else (1, 0)
    return Rule(
        accepts=str(said.get("Policy") or "Accept").lower() == "accept",
        priority=int(said.get("Priority") or 1),
        protocol=str(said.get("IpProtocol") or "").lower(),
        first=0 if ports == (-1, -1) else ports[0],
        last=65535 if ports == (-1, -1) else ports[1],
        cidr=str(said.get("SourceCidrIp") or ""),
        group=str(said.get("SourceGroupId") or ""),
    )


def lets_pass(source: Instance, target: Instance, protocol: str, port: int, known: Mapping[str, Group]) -> bool | None:
    """Whether the target's groups do; None where a rule decides that can't be judged from here."""
    if any(known[group].open_inside for group in set(source.groups) & set(target.groups)):
        return True
    return _decided([rule for group in target.groups for rule in known[group].rules], protocol, port, source)


def _decided(rules: Sequence[Rule], protocol: str, port: int, source: Instance | None) -> bool | None:
    """By the rules about it; `source`: None for anybody outside."""
    unclear = False
    for rule in sorted(rules, key=lambda rule: (rule.priority, rule.accepts)):
        if rule.is_unclear:
            unclear = True
        elif rule.is_about(protocol, port) and ((source is None and rule.accepts) or (source and rule.is_from(source))):
            return None if unclear else rule.accepts
    return None if unclear else False


def missing(openings: Sequence[Opening], hosts: Mapping[str, Instance], known: Mapping[str, Group]) -> Iterator[str]:
    """A line for each of `openings` that the groups surely do not let pass, with the rule that would.

    `hosts`: node name -> instance. From outside, any rule that lets somebody in is taken for the right one.
    """
    for each in openings:
        port, between = each.ports.first, each.between_hosts
        if not each.required or not each.targets or (not between and each.source != USERS):
            continue
        closed: dict[str, list[str]] = {}
        for target in each.targets:
            sources = [name for name in each.sources if name != target] if between else [""]
            for source in sources:
                rules = [rule for group in hosts[target].groups for rule in known[group].rules]
                passes = (
                    lets_pass(hosts[source], hosts[target], each.protocol, port, known)
                    if source
                    else _decided(rules, each.protocol, port, None)
                )
                if passes is False:
                    closed.setdefault(target, []).append(source)
        for target, sources in closed.items():
            group = next(iter(hosts[target].groups), "its security group")
            whom = (
                ", ".join(hosts[source].private for source in sources) if between else "you (no rule lets anybody in)"
            )
            yield (
                f"{target}: {each.protocol.upper()} {each.port} ({each.what}) is closed to {whom}: add to {group} an "
                f"inbound rule: {each.protocol.upper()} {port}/{each.ports.last} from "
                + (", ".join(f"{hosts[source].private}/32" for source in sources) if between else "your address")
            )
