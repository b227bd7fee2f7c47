"""What a cluster has at work on a host goes: programs, rules, links.

Nothing here flushes what is not the cluster's, or cuts the way by which the run has come.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from itertools import pairwise

from pyinfra import host
from pyinfra.api import OperationError, StringCommand

from kubestage.cluster.answers import ask
from kubestage.cluster.operation import operation
from kubestage.facts.firewall import Links, NftTables, Rules
from kubestage.facts.leftovers import Namespaces, Work, WorkFact
from kubestage.facts.units import UnitStates
from kubestage.facts.untouched import Untouched

DOCKER_UNITS = ("docker.socket", "docker.service")
CONTAINERD_UNIT = "containerd.service"


@operation()
def nothing_at_work(
    units: Sequence[str], namespaces: Sequence[str], folders: Sequence[str]
) -> Generator[StringCommand, None, None]:
    """Make `units` be stopped, and the containers of these `namespaces` of containerd's, with what is mounted for them.

    Containers first: they go on, with all that they hold, when containerd is stopped or taken away.
    """
    work = ask(WorkFact, units=units, namespaces=namespaces, folders=folders)
    if work == Work():
        host.noop("nothing of it is at work")
        return
    if CONTAINERD_UNIT in units and work.shims:
        yield StringCommand("; ".join(map(_no_containers, namespaces)))
    if work.units:
        yield StringCommand("systemctl stop", *work.units)
    if host.state.is_executing:
        work = ask(WorkFact, fresh=True, units=units, namespaces=namespaces, folders=folders)
        if work.shims:
            raise OperationError(
                f"{host.name}: containers go on though containerd was stopped: {'; '.join(work.shims)}\n"
                "    -> end these processes there, then run again"
            )
    if work.mounts:
        yield StringCommand("umount", *map(shlex.quote, work.mounts))


def _no_containers(namespace: str) -> str:
    ctr = f"ctr --namespace {namespace}"
    return (
        f"for task in $({ctr} tasks list --quiet); do {ctr} tasks rm --force $task; done; "
        f"for container in $({ctr} containers list --quiet); do {ctr} containers rm $container; done"
    )


@operation()
def no_docker_containers() -> Generator[StringCommand, None, None]:
    """Make Docker have no container; it has to be at work for that."""
    docker = DOCKER_UNITS[-1]
    state = ask(UnitStates, units={docker: ()}).get(docker)
    if state and state.active:
        yield StringCommand('for id in $(docker ps --all --quiet); do docker rm --force "$id" >/dev/null || exit; done')
    else:
        host.noop("Docker is not at work")


@operation()
def no_images(namespace: str) -> Generator[StringCommand, None, None]:
    """Make a containerd that stays have nothing in this namespace."""
    if namespace not in ask(Namespaces):
        host.noop(f"containerd has no {namespace}")
        return
    ctr = f"ctr --namespace {namespace}"
    yield StringCommand(
        f"{_no_containers(namespace)}; images=$({ctr} images list --quiet) && "
        f'{{ test -z "$images" || {ctr} images rm --sync $images >/dev/null; }} && '
        f"for snapshot in $({ctr} snapshots list | awk 'NR > 1 {{ print $1 }}' | tac); do "
        f"{ctr} snapshots rm $snapshot; done; "
        f"for lease in $({ctr} leases list --quiet); do {ctr} leases rm --sync $lease; done; "
        f"ctr namespaces rm {namespace} >/dev/null"
    )


# Whose chains: kube-proxy's and the kubelet's, those of CNI plugins, flannel's.
_KUBERNETES = ("KUBE-", "CNI-", "FLANNEL-")
_DOCKER = ("DOCKER",)
_BRIDGE = re.compile(r"docker0|br-[0-9a-f]{12}|docker_gwbridge")  # as Docker names them


def without(lines: Sequence[str], program: str, policies: Mapping[str, str], docker: bool) -> str:
    """What `program`-restore --noflush takes to be rid of a cluster's rules, of those that `program`-save prints.

    With `docker`, of Docker's as well, and what may be forwarded is again what it was by `policies`. "" for nothing.
    Everybody else's rules stay: each rule and each chain that goes is named.
    """
    text = ""
    for table, chains, rules in _tables(lines):
        own = [name for name in chains if name.startswith((*_KUBERNETES, *(_DOCKER if docker else ())))]
        edits = [f"-F {name}" for name in own]
        edits += [f"-D{rule[2:]}" for rule in rules if _is_of(rule, own, docker)]
        edits += [f"-X {name}" for name in own]
        was = policies.get(f"{program}/{table}/FORWARD", "ACCEPT")
        if docker and table == "filter" and chains.get("FORWARD", was) != was:
            edits.insert(0, f":FORWARD {was} [0:0]")
        if edits:
            text += "\n".join([f"*{table}", *edits, "COMMIT", ""])
    return text


def _tables(lines: Sequence[str]) -> Iterator[tuple[str, dict[str, str], list[str]]]:
    """(table, chain -> its policy, rules), as iptables-save prints them."""
    table, chains, rules = "", dict[str, str](), list[str]()
    for line in lines:
        if line.startswith("*"):
            table, chains, rules = line[1:], {}, []
        elif line.startswith(":"):
            chain, policy = line[1:].split(" ")[:2]
            chains[chain] = policy
        elif line.startswith("-A "):
            rules.append(line)
        elif line == "COMMIT":
            yield table, chains, rules


def _is_of(rule: str, own: Collection[str], docker: bool) -> bool:
    """Whether a rule of another chain leads to one of `own`, or is about a bridge of Docker's."""
    _, chain, *words = shlex.split(rule)
    if chain in own:
        return False
    values = list(pairwise(words))
    return any(
        (option in ("-j", "-g") and value in own) or (docker and option in ("-i", "-o") and _BRIDGE.fullmatch(value))
        for option, value in values
    )


@operation()
def no_rules(was: Untouched, docker: bool) -> Generator[StringCommand, None, None]:
    """Make the firewall have no rule of the cluster's, nor, with `docker`, of Docker's."""
    edits = {program: without(lines, program, was.policies, docker) for program, lines in ask(Rules).items()}
    own = {"kube-proxy", "flannel-ipv4", "flannel-ipv6", *(["docker-bridges"] if docker else [])}
    tables = [table for table in ask(NftTables) if table.partition(" ")[2] in own]
    for program, text in edits.items():
        if text:
            yield StringCommand(f"{program}-restore --noflush --wait 10", _stdin=text)
    for table in tables:
        yield StringCommand(f"nft delete table {table}")
    if not (tables or any(edits.values())):
        host.noop("no rule of the cluster's is here")


_LINKS = re.compile(r"cni0|flannel\.1|flannel-v6\.1|kube-ipvs0|nodelocaldns|netns cni-[0-9a-f-]+")


@operation()
def no_links(docker: bool) -> Generator[StringCommand, None, None]:
    """Make no link of the pod network's be here, nor, with `docker`, a bridge of Docker's."""
    links = ask(Links)
    own = [name for name in links if _LINKS.fullmatch(name) or (docker and _BRIDGE.fullmatch(name))]
    for name in own:
        words = name.split(" ")
        yield StringCommand(f"ip netns delete {words[1]}" if len(words) == 2 else f"ip link delete {name}")
    if not own:
        host.noop("no link of the cluster's is here")
