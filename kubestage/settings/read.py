"""From an inventory's data to settings: those of the cluster once, and each host's own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError, create_model
from pydantic_core import ErrorDetails
from pyinfra.api.connectors import get_all_connectors

from .cluster import ALL_HOSTS, CONTROL_PLANE, Cluster
from .model import SETTINGS, ClusterSettings, HostSettings, Mirror
from .problems import ABSENT, Problem, may_be_secret, shown
from .values import near

S = TypeVar("S", bound=BaseModel)


def read(hosts: Mapping[str, Mapping[str, Any]], groups: Mapping[str, Sequence[str]]) -> tuple[Cluster, list[Problem]]:
    """A Cluster of each host's merged data and the groups' host names, and what is wrong with single settings."""
    problems: list[Problem] = []
    first = [name for name in groups.get(CONTROL_PLANE, ()) if name in hosts]
    given = {host: _settings_only(hosts[host]) for host in dict.fromkeys([*first, *hosts])}
    common, owners = _cluster_data(given)
    valid, found, invalid = _validated(ClusterSettings, ALL_HOSTS, common)
    problems += found
    own = {}
    for host, data in given.items():
        its = {name: value for name, value in data.items() if name not in ClusterSettings.model_fields}
        own[host], found, _ = _validated(HostSettings, host, its)
        problems += found
        problems += _differing(host, data, common, owners, invalid)
    return Cluster(hosts, groups, common, valid, own), problems


def _cluster_data(given: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, Any], dict[str, str]]:
    """The cluster's settings, each as most hosts have it, and one of those hosts; the control plane's among as many.

    pyinfra gives every host all data that concerns it: that of the cluster comes from group data, and is the same.
    """
    common, owners = {}, {}
    for name in ClusterSettings.model_fields:
        values = {host: data[name] for host, data in given.items() if name in data}
        if values:
            every = list(values.values())
            owners[name] = max(values, key=lambda host: every.count(values[host]))
            common[name] = values[owners[name]]
    return common, owners


def _differing(
    host: str, data: Mapping[str, Any], common: Mapping[str, Any], owners: Mapping[str, str], invalid: frozenset[str]
) -> Iterator[Problem]:
    for name in common:
        if name in data and name not in invalid and data[name] != common[name]:
            yield Problem(
                host,
                f"{owners[name]} has {shown(name, common[name])}, but it is one setting for the whole cluster",
                "set it once in group_data, for all hosts",
                name,
                data[name],
            )


def _connector_keys() -> frozenset[str]:
    """Names of pyinfra's own connection data: ssh_user and the like."""
    connectors = get_all_connectors()  # type: ignore[no-untyped-call]
    return frozenset(key for connector in connectors.values() for key in getattr(connector, "data_meta", {}))


def _settings_only(data: Mapping[str, Any]) -> dict[str, Any]:
    ignored = _connector_keys()
    named = {str(key): value for key, value in data.items()}
    return {key: value for key, value in named.items() if not key.startswith("_") and key not in ignored}


def _validated(model: type[S], where: str, data: dict[str, Any]) -> tuple[S, list[Problem], frozenset[str]]:
    """The settings (the valid ones only, when there are problems), the problems, and the names of the others."""
    try:
        return model(**data), [], frozenset()
    except ValidationError as error:
        details = error.errors(include_url=False)
    invalid = frozenset(str(detail["loc"][0]) for detail in details)
    fields = {name: (each.annotation, each) for name, each in model.model_fields.items() if name not in invalid}
    part = create_model("Part", __config__=model.model_config, **fields)  # type: ignore[call-overload]
    valid = part(**{name: data[name] for name in fields})
    return model.model_construct(**vars(valid)), [_problem(where, detail) for detail in details], invalid


_TYPES = {
    "string_type": ("not a text", "write text in quotes"),
    "int_type": ("not a whole number", "write it as digits, without quotes"),
    "float_type": ("not a number", "write it as digits, without quotes"),
    "bool_type": ("neither True nor False", "write True or False, without quotes"),
    "dict_type": ("not a mapping", "write it as {NAME: VALUE}"),
}


def _problem(where: str, detail: ErrorDetails) -> Problem:
    kind, loc, value = detail["type"], detail["loc"], detail["input"]
    path = [str(part) for part in loc if part != "[key]"]
    setting = ".".join(path)
    if kind == "setting":
        context = detail["ctx"]
        return Problem(where, context["reason"], context["remedy"], setting, value)
    if kind == "missing":
        source = "group_data/all.py has every setting" if len(path) == 1 else "a mirror profile holds all of its keys"
        return Problem(where, "it is missing", f"add it; {source}", setting)
    if kind == "extra_forbidden":
        return _unknown(where, path, value)
    if kind == "tuple_type":
        wrapped = f"write it as [{value!r}]" if isinstance(value, str | int) else "write it as [ONE, TWO]"
        return Problem(where, "not a list", wrapped, setting, value)
    if kind == "literal_error":
        known = sorted(re.findall(r"'([^']+)'", detail["ctx"]["expected"]))
        return Problem(
            where, f"no such value{near(str(value), known)}", f"use one of: {', '.join(known)}", setting, value
        )
    if kind == "greater_than_equal":
        least = detail["ctx"]["ge"]
        remedy = f"give a number above {least - 1}, or drop the line for the default"
        return Problem(where, f"has to be at least {least}", remedy, setting, value)
    if kind in _TYPES:
        reason, remedy = _TYPES[kind]
        return Problem(where, reason, remedy, setting, value)
    return Problem(where, detail["msg"], "see the comment on this setting in group_data/all.py", setting, value)


def _unknown(where: str, path: list[str], value: Any) -> Problem:
    *parents, name = path
    known: Iterable[str] = Mirror.model_fields if parents else {*SETTINGS, *_connector_keys()}
    guess = near(name, known)
    remedy = "correct the name" if guess else "remove it"
    if not parents:
        remedy += "; a helper variable of your own begins with an underscore"
    # A mapping of a wrong name may be of passwords: registry_users, for one.
    told = ABSENT if may_be_secret(guess) or (not parents and isinstance(value, Mapping)) else value
    return Problem(where, f"no such setting{guess}", remedy, ".".join(path), told)
