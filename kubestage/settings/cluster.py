"""From an inventory's data to a Cluster, or to every reason why not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pyinfra.api.connectors import get_all_connectors

from . import certificate_rules, component_rules, platform_rules, rules
from .model import Mirror, Settings
from .problems import ABSENT, Problem, SettingsError, may_be_secret
from .rules import ALL_HOSTS, CONTROL_PLANE, WORKERS, Draft
from .values import near


@dataclass(frozen=True)
class Cluster:
    """Valid settings of every host of the inventory, by host name."""

    settings: dict[str, Settings]
    control_plane: list[str]
    workers: list[str]

    @property
    def nodes(self) -> list[str]:
        """Every host's name, the control plane first."""
        return [*self.control_plane, *self.workers]

    @property
    def common(self) -> Settings:
        """The control plane's settings: where one setting holds for the whole cluster, read it here."""
        return self.settings[self.control_plane[0]]


def load(hosts: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Sequence[str]]) -> Cluster:
    """A Cluster from each host's merged data and the groups' host names.

    Raises SettingsError with all problems of all hosts.
    """
    problems: list[Problem] = []
    settings: dict[str, Settings] = {}
    invalid: dict[str, frozenset[str]] = {}
    for host, data in hosts.items():
        found, settings[host], invalid[host] = _validate(host, _settings_only(data))
        problems += found
    draft = Draft(hosts, groups, settings, invalid)
    for rule in (*rules.RULES, *platform_rules.RULES, *certificate_rules.RULES, *component_rules.RULES):
        problems += rule(draft)
    if problems:
        raise SettingsError(_merge(problems, list(hosts)))
    return Cluster(_fitted(draft), draft.control_plane, list(dict.fromkeys(groups.get(WORKERS, ()))))


def _fitted(draft: Draft) -> dict[str, Settings]:
    """Every host's settings, with what is left to the number of hosts filled in."""
    room = sum(draft.takes_pods(host, settings) for host, settings in draft.settings.items())
    fits = {"schedule_on_control_plane": draft.alone, "ingress_replicas": max(1, min(2, room))}
    return {
        host: settings.model_copy(
            update={name: value for name, value in fits.items() if getattr(settings, name) is None}
        )
        for host, settings in draft.settings.items()
    }


def _connector_keys() -> frozenset[str]:
    """Names of pyinfra's own connection data: ssh_user and the like."""
    connectors = get_all_connectors()  # type: ignore[no-untyped-call]
    return frozenset(key for connector in connectors.values() for key in getattr(connector, "data_meta", {}))


def _settings_only(data: Mapping[str, Any]) -> dict[str, Any]:
    ignored = _connector_keys()
    named = {str(key): value for key, value in data.items()}
    return {key: value for key, value in named.items() if not key.startswith("_") and key not in ignored}


def _validate(host: str, data: dict[str, Any]) -> tuple[list[Problem], Settings, frozenset[str]]:
    """Problems, the settings (the valid ones only, when there are problems), and the names of the others."""
    try:
        return [], Settings(**data), frozenset()
    except ValidationError as error:
        details = error.errors(include_url=False)
    invalid = frozenset(str(detail["loc"][0]) for detail in details)
    valid = {name: data[name] for name in Settings.model_fields if name in data and name not in invalid}
    problems = [_problem(host, detail) for detail in details]
    return problems, Settings.model_construct(**valid), invalid


_TYPES = {
    "string_type": ("not a text", "write text in quotes"),
    "int_type": ("not a whole number", "write it as digits, without quotes"),
    "float_type": ("not a number", "write it as digits, without quotes"),
    "bool_type": ("neither True nor False", "write True or False, without quotes"),
    "dict_type": ("not a mapping", "write it as {NAME: VALUE}"),
}


def _problem(host: str, detail: ErrorDetails) -> Problem:
    kind, loc, value = detail["type"], detail["loc"], detail["input"]
    path = [str(part) for part in loc if part != "[key]"]
    setting = ".".join(path)
    if kind == "setting":
        context = detail["ctx"]
        return Problem(host, context["reason"], context["remedy"], setting, value)
    if kind == "missing":
        source = "group_data/all.py has every setting" if len(path) == 1 else "a mirror profile holds all of its keys"
        return Problem(host, "it is missing", f"add it; {source}", setting)
    if kind == "extra_forbidden":
        return _unknown(host, path, value)
    if kind == "tuple_type":
        wrapped = f"write it as [{value!r}]" if isinstance(value, str | int) else "write it as [ONE, TWO]"
        return Problem(host, "not a list", wrapped, setting, value)
    if kind in _TYPES:
        reason, remedy = _TYPES[kind]
        return Problem(host, reason, remedy, setting, value)
    return Problem(host, detail["msg"], "see the comment on this setting in group_data/all.py", setting, value)


def _unknown(host: str, path: list[str], value: Any) -> Problem:
    *parents, name = path
    known: Iterable[str] = Mirror.model_fields if parents else {*Settings.model_fields, *_connector_keys()}
    guess = near(name, known)
    remedy = "correct the name" if guess else "remove it"
    if not parents:
        remedy += "; a helper variable of your own begins with an underscore"
    # A mapping of a wrong name may be of passwords: registry_users, for one.
    told = ABSENT if may_be_secret(guess) or (not parents and isinstance(value, Mapping)) else value
    return Problem(host, f"no such setting{guess}", remedy, ".".join(path), told)


def _merge(problems: list[Problem], hosts: list[str]) -> list[Problem]:
    """What several hosts have in common is told once: it comes from group data."""
    where: dict[tuple[str, str, str, str], list[str]] = {}
    first: dict[tuple[str, str, str, str], Problem] = {}
    for problem in problems:
        key = (problem.setting, problem.shown_value, problem.reason, problem.remedy)
        first.setdefault(key, problem)
        where.setdefault(key, []).append(problem.where)
    merged = []
    for key, problem in first.items():
        everywhere = len(hosts) > 1 and set(where[key]) == set(hosts)
        merged.append(replace(problem, where=ALL_HOSTS if everywhere else ", ".join(dict.fromkeys(where[key]))))
    return merged


__all__ = ["CONTROL_PLANE", "WORKERS", "Cluster", "load"]
