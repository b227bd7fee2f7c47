"""Check that a cluster may be upgraded, before any host is touched."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from pyinfra.api.state import State

from kubestage.checks import made
from kubestage.checks.cluster_hosts import ClusterHosts
from kubestage.checks.preflight import RULES, Checked, PreflightError, checked, gather, once
from kubestage.cluster.answers import ask
from kubestage.cluster.encryption import planned
from kubestage.facts.disruptions import Disruptions
from kubestage.facts.etcd import EtcdAnswering, EtcdMembers
from kubestage.facts.unknown import Unknown
from kubestage.settings import Problem
from kubestage.settings.cluster import CONTROL_PLANE
from kubestage.settings.values import parse_version


def check(state: State) -> Checked:
    """The hosts that this run is for may be upgraded. PreflightError with all that is in the way."""
    return once(state, _check)


def _check(state: State) -> Checked:
    hosts, problems = gather(state)
    targeted = {host.name for host in state.inventory.get_active_hosts()}
    problems += [problem for rule in RULES if rule not in (made.version, made.kubelets) for problem in rule(hosts)]
    problems += [*versions(hosts), *ready(hosts, targeted), *order(hosts, targeted)]
    if not problems and upgrades(hosts, targeted):
        speaker = state.inventory.get_host(hosts.leader)
        problems += etcd(hosts, ask(EtcdMembers, of=speaker), ask(EtcdAnswering, of=speaker))
        problems += budgets(hosts, ask(Disruptions, of=speaker))
    if problems:
        raise PreflightError("Upgrade", problems)
    return replace(checked(state, hosts), encryption=planned(state, hosts, rotates=False))


def upgrades(hosts: ClusterHosts, targeted: Collection[str]) -> bool:
    """Whether a host of this run is of another version than it is to be."""
    return (
        any(
            name in targeted and report.packages.get("kubelet", "").partition("-")[0] != own.kubernetes_version
            for name, own, report in hosts
        )
        or hosts.version != hosts.cluster.kubernetes_version
    )


def versions(hosts: ClusterHosts) -> Iterator[Problem]:
    """https://kubernetes.io/releases/version-skew-policy/: one minor version at a time, and never back."""
    now, then = hosts.version, hosts.cluster.kubernetes_version
    if not now:
        yield Problem(
            "the cluster",
            "there is none to upgrade",
            "make it, of the version that you want: give this inventory to deploy.py",
        )
    elif parse_version(then) < parse_version(now):
        yield hosts.wrong(
            "kubernetes_version",
            f"the cluster is of {now}, and kubeadm leads to no older version",
            f"set it to {now}, or a newer one",
            "the cluster",
        )
    elif parse_version(then)[:2] > (parse_version(now)[0], parse_version(now)[1] + 1):
        major, minor, _ = parse_version(now)
        yield hosts.wrong(
            "kubernetes_version",
            f"the cluster is of {now}, and kubeadm leaves out no minor version",
            f"set it to one of {major}.{minor + 1} first, and upgrade; then go on",
            "the cluster",
        )


def ready(hosts: ClusterHosts, targeted: Collection[str]) -> Iterator[Problem]:
    """What is broken before is not told from what an upgrade breaks."""
    if not hosts.ca:
        return
    if hosts.living is None:
        yield Problem(
            "the cluster", "its API does not answer", "mend it first: run the deploy, with the version that it has"
        )
        return
    for name in [name for name in hosts.cluster.nodes if name in targeted or name in hosts.cluster.control_plane]:
        node = hosts.living.nodes.get(name)
        if node is None or not node.ready:
            away = "take it out: remove.py" if name in hosts.cluster.control_plane else "leave it out: --limit"
            yield Problem(
                name,
                "it is no node of the cluster" if node is None else "its node is not Ready",
                f"bring it back first (journalctl -u kubelet there; a deploy), or {away}",
            )


def order(hosts: ClusterHosts, targeted: Collection[str]) -> Iterator[Problem]:
    """No kubelet is newer than an API server that it may ask."""
    if not hosts.ca:
        return
    wanted = hosts.cluster.kubernetes_version
    behind = [
        name
        for name in hosts.cluster.control_plane
        if name not in targeted and name in hosts.reports and hosts.reports[name].made.get("version") != wanted
    ]
    workers = sorted(set(targeted) - set(hosts.cluster.control_plane))
    if behind and workers:
        yield Problem(
            ", ".join(workers),
            f"a kubelet may not be newer than the control plane, and {', '.join(behind)} is older and not of this run",
            f"upgrade the control plane first: --limit {CONTROL_PLANE}",
        )


def etcd(
    hosts: ClusterHosts, members: tuple[object, ...] | Unknown, answering: frozenset[str] | Unknown
) -> Iterator[Problem]:
    """Each member is away for a while, one after the other."""
    if isinstance(members, Unknown) or isinstance(answering, Unknown) or len(answering) < len(members):
        found = "unknown" if isinstance(members, Unknown) or isinstance(answering, Unknown) else f"{len(answering)}"
        yield Problem(
            "etcd",
            "not all of its members answer, and an upgrade has each of them away for a while",
            f"on {hosts.leader}: see /var/log/pods/kube-system_etcd-*/etcd/*.log ; take a dead one out: remove.py",
            "members that answer",
            found,
        )


def budgets(hosts: ClusterHosts, found: tuple[str, ...] | Unknown) -> Iterator[Problem]:
    """A drain would wait for them until its time is over."""
    if len(hosts.cluster.nodes) == 1:
        return  # its pods have nowhere to go to, and are not moved
    for name in () if isinstance(found, Unknown) else found:
        namespace, _, budget = name.partition("/")
        yield Problem(
            f"PodDisruptionBudget {name}",
            "it allows of no disruption now, so its pods would let no node be drained",
            f"have one more replica, or one less asked for: kubectl -n {namespace} describe pdb {budget}",
        )
