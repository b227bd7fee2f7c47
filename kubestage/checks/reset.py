"""Check that hosts may be made what they were before any run, before any of them is touched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from pyinfra import logger
from pyinfra.api import Host
from pyinfra.api.state import State

from kubestage.checks import removal
from kubestage.checks.cluster_hosts import ClusterHosts
from kubestage.checks.preflight import FORCE, WITH_DOCKER, Checked, PreflightError, checked, gather, of_each, once
from kubestage.checks.runtimes import few
from kubestage.checks.wanted import folders
from kubestage.cluster import traces
from kubestage.cluster.answers import ask
from kubestage.facts.host_report.wanted import DOCKER
from kubestage.facts.leftovers import Guests, GuestsFact
from kubestage.facts.untouched import FULL, Untouched, UntouchedFact
from kubestage.settings import Problem


def check(state: State) -> Checked:
    """The hosts that this run is for may be reset. PreflightError with all that is in the way."""
    return once(state, _check)


@dataclass(frozen=True)
class _Found:
    untouched: Untouched
    guests: Guests


def _check(state: State) -> Checked:
    hosts, problems = gather(state)
    given = state.inventory.override_data
    leaving = [host.name for host in state.inventory.get_active_hosts()]

    def found(host: Host) -> _Found:
        docker = folders(hosts.common, hosts.cluster.hosts[host.name])[DOCKER]
        return _Found(ask(UntouchedFact, of=host), ask(GuestsFact, of=host, docker=docker))

    answers = of_each(state, [name for name in leaving if name in hosts.reports], state.config.PARALLEL, found)
    untouched = {name: answer.untouched for name, answer in answers.items()}
    problems += unknown(hosts, untouched)
    if not given.get(WITH_DOCKER):
        guests = {name: answer.guests for name, answer in answers.items()}
        problems += strangers(untouched, guests)
    whole = hosts.are_all(leaving)
    tells = not whole and not given.get(FORCE) and any(map(hosts.is_known, leaving))
    if tells:
        problems += [
            replace(each, remedy=f"{each.remedy}; or without telling anybody: --data {FORCE}=True")
            for each in removal.in_the_way(state, hosts, leaving)
        ]
    if problems:
        raise PreflightError("Reset", problems)
    for line in (*removal.lost(hosts, leaving), *gone(hosts, untouched, whole)):
        logger.warning(line)
    own = {name: was for name, was in untouched.items() if was.at}
    return replace(checked(state, hosts), untouched=own, tells=tells)


def unknown(hosts: ClusterHosts, untouched: Mapping[str, Untouched]) -> Iterator[Problem]:
    """What a host was can't be guessed."""
    for name, was in untouched.items():
        report = hosts.reports[name]
        if not was.at and (report.ours or report.kubelet_conf or report.admin_conf or report.debris):
            yield Problem(
                name,
                "it is of a cluster, and nobody has written down what it was before",
                f"take it out of the cluster (remove.py --limit {name}), and install it anew",
            )


def strangers(untouched: Mapping[str, Untouched], guests: Mapping[str, Guests]) -> Iterator[Problem]:
    """What somebody has put into a Docker, or a containerd, that goes."""
    for name, found in guests.items():
        was = untouched[name]
        if not was.at:
            continue
        containers = [each for each in found.containers if not (was.had_containerd if "/" in each else was.had_docker)]
        volumes = [] if was.had_docker else found.volumes
        if containers or volumes:
            parts = {"containers": containers, "volumes": volumes}
            held = "; ".join(f"{what} {few(names)}" for what, names in parts.items() if names)
            yield Problem(
                name,
                f"Docker and containerd go, which came by a run, and with them what is not the cluster's: {held}",
                f"take them elsewhere and remove them there; or let them go: --data {WITH_DOCKER}=True",
            )


def gone(hosts: ClusterHosts, untouched: Mapping[str, Untouched], whole: bool) -> Iterator[str]:
    """What the run ends, and can't bring back."""
    if whole and hosts.ca:
        yield f"The cluster {hosts.common.cluster_name} ends, with all that is in it, and the backups on its hosts"
    for name, was in untouched.items():
        if not was.at:
            yield f"{name}: no run has touched it, and none does now"
            continue
        yield f"{name}: will be as it was on {was.at[:16].replace('T', ' at ')} UTC; images and logs of containers go"
        data = traces.data(hosts.common, hosts.cluster.hosts[name], was)
        if let_be := [folder for folder in data if was.folders.get(folder) == FULL]:
            yield f"{name}: {', '.join(let_be)} held something then, and will be let be"
