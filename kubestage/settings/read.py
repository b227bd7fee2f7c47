"""From an inventory's data to settings: those of the cluster once, and each host's own."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError, create_model
from pydantic_core import ErrorDetails
from pyinfra.api.connectors import get_all_connectors

from .cluster import ALL_HOSTS, CONTROL_PLANE, Cluster
from .model import SETTINGS, ClusterSettings, HostSettings, Mirror, StackSettings
from .problems import ABSENT, Problem, may_be_secret, shown
from .values import near

S = TypeVar("S", bound=BaseModel)


def read(
    hosts: Mapping[str, Mapping[str, Any]],
    groups: Mapping[str, Sequence[str]],
    stacks: Mapping[str, type[StackSettings]],
) -> tuple[Cluster, list[Problem]]:
    """A Cluster of each host's merged data and the groups' host names, and what is wrong with single settings.

    `stacks`: what the settings of each stack are, by its name.
    """
    problems: list[Problem] = []
    first = [name for name in groups.get(CONTROL_PLANE, ()) if name in hosts]
    given = {host: _settings_only(hosts[host]) for host in dict.fromkeys([*first, *hosts])}
    common, owners = _cluster_data(given, (*ClusterSettings.model_fields, *stacks))
    flat = {name: value for name, value in common.items() if name not in stacks}
    valid, found, invalid = _validated(ClusterSettings, ALL_HOSTS, flat)
    problems += found
    of_stacks = {}
    for name, kind in stacks.items():
        data = common.get(name, {})
        if not isinstance(data, Mapping):
            problems.append(Problem(ALL_HOSTS, *_TYPES["dict_type"], name))  # it may be a password
            data = {}
        of_stacks[name], found, _ = _validated(kind, ALL_HOSTS, {str(key): each for key, each in data.items()}, name)
        problems += found
    own = {}
    for host, data in given.items():
        its = {name: value for name, value in data.items() if name not in common}
        own[host], found, _ = _validated(HostSettings, host, its, others=stacks)
        problems += found
        problems += _differing(host, data, common, owners, invalid)
    return Cluster(hosts, groups, common, valid.with_stacks(of_stacks), own), problems


def _cluster_data(
    given: Mapping[str, Mapping[str, Any]], names: Iterable[str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """The settings `names`, each as most hosts have it, and one of those hosts; the control plane's among as many.

    pyinfra gives every host all data that concerns it: that of the cluster comes from group data, and is the same.
    """
    common, owners = {}, {}
    for name in names:
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


def _validated(
    model: type[S], where: str, data: dict[str, Any], stack: str = "", others: Collection[str] = ()
) -> tuple[S, list[Problem], frozenset[str]]:
    """The settings (the valid ones only, when there are problems), the problems, and the names of the others.

    `stack`: whose they are. `others`: names that are settings beside the model's.
    """
    try:
        return model(**data), [], frozenset()
    except ValidationError as error:
        details = error.errors(include_url=False)
    invalid = frozenset(str(detail["loc"][0]) for detail in details)
    fields = {name: (each.annotation, each) for name, each in model.model_fields.items() if name not in invalid}
    part = create_model("Part", __config__=model.model_config, **fields)  # type: ignore[call-overload]
    valid = part(**{name: data[name] for name in fields if name in data})
    known = model.model_fields if stack else {*SETTINGS, *others, *_connector_keys()}
    return model.model_construct(**vars(valid)), [_problem(where, detail, stack, known) for detail in details], invalid


_TYPES = {
    "string_type": ("not a text", "write text in quotes"),
    "int_type": ("not a whole number", "write it as digits, without quotes"),
    "float_type": ("not a number", "write it as digits, without quotes"),
    "bool_type": ("neither True nor False", "write True or False, without quotes"),
    "dict_type": ("not a mapping", "write it as {NAME: VALUE}"),
}


def _problem(where: str, detail: ErrorDetails, stack: str, known: Iterable[str]) -> Problem:
    kind, loc, value = detail["type"], detail["loc"], detail["input"]
    path = [*filter(None, [stack]), *(str(part) for part in loc if part != "[key]")]
    setting = ".".join(path)
    if kind == "setting":
        context = detail["ctx"]
        return Problem(where, context["reason"], context["remedy"], setting, value)
    if kind == "missing":
        source = "group_data/all.py has every setting" if len(path) == 1 else "a mirror profile holds all of its keys"
        return Problem(where, "it is missing", f"add it; {source}", setting)
    if kind == "extra_forbidden":
        return _unknown(where, path, value, known if len(path) == 1 or stack else Mirror.model_fields)
    if kind == "tuple_type":
        wrapped = f"write it as [{value!r}]" if isinstance(value, str | int) else "write it as [ONE, TWO]"
        return Problem(where, "not a list", wrapped, setting, value)
    if kind == "literal_error":
        choices = sorted(re.findall(r"'([^']+)'", detail["ctx"]["expected"]))
        return Problem(
            where, f"no such value{near(str(value), choices)}", f"use one of: {', '.join(choices)}", setting, value
        )
    if kind == "greater_than_equal":
        least = detail["ctx"]["ge"]
        remedy = f"give a number above {least - 1}, or drop the line for the default"
        return Problem(where, f"has to be at least {least}", remedy, setting, value)
    if kind in _TYPES:
        reason, remedy = _TYPES[kind]
        return Problem(where, reason, remedy, setting, value)
    return Problem(where, detail["msg"], "see the comment on this setting in group_data/all.py", setting, value)


def _unknown(where: str, path: list[str], value: Any, known: Iterable[str]) -> Problem:
    *parents, name = path
    guess = near(name, known)
    remedy = "correct the name" if guess else "remove it"
    if not parents:
        remedy += "; a helper variable of your own begins with an underscore"
    # A mapping of a wrong name may be of passwords: registry.users, for one.
    told = ABSENT if may_be_secret(guess) or (parents[:1] != ["mirrors"] and isinstance(value, Mapping)) else value
    return Problem(where, f"no such setting{guess}", remedy, ".".join(path), told)
