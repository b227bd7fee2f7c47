"""Check that hosts may be taken out of their cluster, before any of them is touched."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from pyinfra import logger
from pyinfra.api.state import State

from kubestage.checks.cluster_hosts import ClusterHosts
from kubestage.checks.preflight import WITH_REGISTRY, Checked, PreflightError, checked, gather, once
from kubestage.checks.volumes import REGISTRY
from kubestage.cluster.answers import ask
from kubestage.cluster.unreached import is_unreached
from kubestage.facts.etcd import EtcdAnswering, EtcdMembers
from kubestage.facts.unknown import Unknown
from kubestage.settings import Problem
from kubestage.settings.cluster import CONTROL_PLANE, INVENTORY


def check(state: State) -> Checked:
    """The hosts that this run is for may go. PreflightError with all that is in the way."""
    return once(state, _check)


def _check(state: State) -> Checked:
    hosts, problems = gather(state)
    leaving = [host.name for host in state.inventory.get_active_hosts()]
    dead = [name for name in leaving if is_unreached(state.inventory.get_host(name))]
    problems = [problem for problem in problems if problem.where not in dead]
    problems += list(whole(hosts, leaving)) or in_the_way(state, hosts, leaving)
    if problems:
        raise PreflightError("Removal", problems)
    for line in lost(hosts, leaving):
        logger.warning(line)
    for name in dead:
        logger.warning(f"{name} can't be reached: it is taken out of the cluster, and nothing is done on it")
    return checked(state, hosts)


def whole(hosts: ClusterHosts, leaving: Collection[str]) -> Iterator[Problem]:
    """A run without --limit is for all hosts, and hardly meant."""
    if hosts.are_all(leaving):
        yield Problem(
            INVENTORY,
            "all hosts of it would be taken out of their cluster",
            "name those that are to leave: --limit HOST",
        )


def in_the_way(state: State, hosts: ClusterHosts, leaving: Collection[str]) -> list[Problem]:
    """All that keeps the hosts that are `leaving` in their cluster, in which others stay."""
    problems = list(chosen(hosts, leaving))
    if not problems and any(name in hosts.cluster.control_plane for name in leaving):
        speaker = state.inventory.get_host(remaining(hosts, leaving)[0])
        members, answering = ask(EtcdMembers, of=speaker), ask(EtcdAnswering, of=speaker)
        if isinstance(members, Unknown) or isinstance(answering, Unknown):
            problems.append(
                Problem(
                    speaker.name,
                    "etcd does not say which members it has, and which of them answer",
                    "see there: /var/log/pods/kube-system_etcd-*/etcd/*.log",
                )
            )
        else:
            addresses = hosts.addresses()
            names = {address: name for name, address in addresses.items()}
            going = {addresses[name] for name in leaving if name in addresses}
            problems += quorum(names, {member.address for member in members}, answering, going)
    if not state.inventory.override_data.get(WITH_REGISTRY):
        problems += registry(hosts, leaving)
    return problems


def remaining(hosts: ClusterHosts, leaving: Collection[str]) -> list[str]:
    """The control plane hosts of the cluster that stay, those that answer first."""
    known = [
        name
        for name in hosts.cluster.control_plane
        if name in hosts.reports and hosts.is_member(name) and name not in leaving
    ]
    return sorted(known, key=lambda name: hosts.reports[name].cluster is None)


def chosen(hosts: ClusterHosts, leaving: Collection[str]) -> Iterator[Problem]:
    """Whether there is a cluster that can be told."""
    if not hosts.living:
        report = hosts.reports.get(hosts.leader)
        yield Problem(
            "the cluster",
            "its API does not answer, so nobody can be taken out of it"
            + (f": {report.cluster_error}" if report and report.cluster_error else ""),
            "mend it first: run the deploy; where it was never made, there is nothing to take a host out of",
        )
    elif not remaining(hosts, leaving):
        yield Problem(
            ", ".join(name for name in hosts.cluster.control_plane if name in leaving),
            f"nobody of the {CONTROL_PLANE} would be left that answers, and the cluster would be gone",
            "leave one that works; or join another first, by a deploy",
        )


def quorum(
    names: Mapping[str, str], members: Collection[str], answering: Collection[str], going: Collection[str]
) -> Iterator[Problem]:
    """etcd forgets a member only while most answer, and most of those that are left have to. The dead go first.

    Addresses: of all members, of those that answer, of those that are to go; `names`: the hosts there.
    """
    left, well = set(members), set(members) & set(answering)
    for address in sorted(set(going) & left, key=lambda each: each in well):
        after, well_after = left - {address}, well - {address}
        silent = ", ".join(
            sorted(names.get(each, each) for each in left - well - {address}) or [names.get(address, address)]
        )
        reason = remedy = ""
        if 2 * len(well) <= len(left):
            reason, remedy = "etcd gives up a member only while most of them answer", f"bring back {silent}"
        elif 2 * len(well_after) <= len(after):
            reason = (
                f"of the {len(after)} that would be left {len(well_after)} would answer: nobody could write any more"
            )
            remedy = f"bring back {silent}, or take it out first"
        if reason:
            host, found = names.get(address, address), f"{len(well)} of {len(left)}"
            yield Problem(host, reason, remedy, "members of etcd that answer", found)
            return
        left, well = after, well_after


def registry(hosts: ClusterHosts, leaving: Collection[str]) -> Iterator[Problem]:
    """What people have pushed is nowhere else."""
    volume = hosts.living.volumes.get(REGISTRY) if hosts.living else None
    if volume and volume.node in leaving:
        yield Problem(
            volume.node,
            "the registry's images are on its disk, and would be gone",
            f"push them again afterwards: --data {WITH_REGISTRY}=True",
            "volume",
            REGISTRY,
        )


def lost(hosts: ClusterHosts, leaving: Collection[str]) -> Iterator[str]:
    """What is gone with the hosts."""
    volumes = hosts.living.volumes if hosts.living else {}
    for name in leaving:
        held = sorted(f"{claim} ({each.size})" for claim, each in volumes.items() if each.node == name)
        if held:
            yield f"{name}: gone with it, with their claims and what is in them: the volumes {', '.join(held)}"
    stay = [name for name in hosts.cluster.nodes if name not in leaving]
    if all(name in hosts.cluster.control_plane for name in stay) and not hosts.common.schedule_on_control_plane:
        yield "No worker is left: nothing of yours runs until one joins, or schedule_on_control_plane = True"
