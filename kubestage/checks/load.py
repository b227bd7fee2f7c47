"""From an inventory's data to a Cluster, or to every reason why not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from kubestage.checks import component_files, own_certificates, own_manifests, platform, settings
from kubestage.settings import Cluster, Problem, SettingsError
from kubestage.settings.cluster import ALL_HOSTS
from kubestage.settings.model import Invalid
from kubestage.settings.read import read
from kubestage.stacks import catalogue

# Rules about settings that are valid in themselves; see kubestage.checks.settings.
RULES = (*settings.RULES, *platform.RULES, *own_certificates.RULES, *component_files.RULES, *own_manifests.RULES)
HOST_RULES = (*settings.HOST_RULES, *platform.HOST_RULES)


def load(hosts: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Sequence[str]]) -> Cluster:
    """A Cluster from each host's merged data and the groups' host names.

    Raises SettingsError with all problems of all hosts.
    """
    cluster, problems = read(hosts, groups, {name: kind.settings for name, kind in catalogue.STACKS.items()})
    for rule in RULES:
        problems += _told(rule, cluster)
    for name, own in cluster.hosts.items():
        for host_rule in HOST_RULES:
            problems += _told(host_rule, cluster, name, own)
    if problems:
        raise SettingsError(_merge(problems, set(hosts)))
    common = cluster.common
    stacks = {
        name: common.by_stack[name].model_copy(update=kind.fits(cluster)) for name, kind in catalogue.STACKS.items()
    }
    if common.schedule_on_control_plane is None:
        common = common.model_copy(update={"schedule_on_control_plane": cluster.alone})
    return replace(cluster, common=common.with_stacks(stacks))


def _told(rule: Callable[..., Iterator[Problem]], *about: object) -> Iterator[Problem]:
    """What a rule finds until it asks for a setting that has no valid value: that one is told of already."""
    with suppress(Invalid):
        yield from rule(*about)


def _merge(problems: list[Problem], hosts: set[str]) -> list[Problem]:
    """What hosts have in common is told once: a host's own settings come from group data as well."""
    first: dict[str, Problem] = {}
    where: dict[str, list[str]] = defaultdict(list)
    for problem in problems:
        told = str(replace(problem, where=""))
        first.setdefault(told, problem)
        where[told].append(problem.where)
    return [
        replace(problem, where=ALL_HOSTS if len(hosts) > 1 and hosts <= {*where[told]} else ", ".join(where[told]))
        for told, problem in first.items()
    ]
