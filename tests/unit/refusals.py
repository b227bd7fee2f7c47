"""Refused settings, and their remedies followed: what a message tells to write must not be refused in its turn.

A remedy is read as a person would: `_VERBS` has the words that tell what to do, and behind them stands what to write.
"""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from sample_cluster import GROUPS

from kubestage.checks.load import load
from kubestage.settings import SETTINGS, ClusterSettings, HostSettings, Problem, SettingsError
from kubestage.stacks.catalogue import STACKS

Data = dict[str, dict[str, Any]]
Groups = Mapping[str, Sequence[str]]


def refused(data: Data, groups: Groups = GROUPS) -> SettingsError:
    """What `load` raises. Whoever does as one of its remedies says is not told the same again."""
    error = told(data, groups)
    for problem in error.problems:
        follow(problem, data, groups)
    return error


def told(data: Data, groups: Groups = GROUPS) -> SettingsError:
    """What `load` raises."""
    with pytest.raises(SettingsError) as caught:
        load(data, groups)
    return caught.value


def follow(problem: Problem, data: Data, groups: Groups = GROUPS) -> None:
    """Do as the remedy says, each of its ways for itself. All that it quotes has to be in one of them."""
    ways = list(_ways(problem.remedy))
    for match in re.finditer(r'"[^"]*"', problem.remedy):
        known = match[0].startswith('"-----') or any(way.begin <= match.start() < way.end for way in ways)
        assert known, f"nobody knows what to do with {match[0]}: {problem.remedy}"
    for way in ways:
        draft = _Draft(data, groups, problem)
        way.act(draft)
        try:
            load(draft.data, draft.groups)
        except SettingsError as error:
            again = [str(one) for one in error.problems if draft.is_about_the_same(one)]
            assert not again, f"{problem}\nand then, with {problem.remedy[way.begin : way.end]}:\n{again[0]}"


class _Draft:
    """A copy of an inventory's data, to be changed on the hosts that a problem is about."""

    def __init__(self, data: Data, groups: Groups, problem: Problem) -> None:
        self.data = {name: copy.deepcopy(values) for name, values in data.items()}  # no host shares with another
        self.groups, self.problem = {**groups}, problem
        named = [name for name in data if name in problem.where.split(", ")]
        everywhere = problem.setting.partition(".")[0] in {*ClusterSettings.model_fields, *STACKS}
        self.hosts = list(data) if everywhere or not named else named

    def is_about_the_same(self, problem: Problem) -> bool:
        where = () if self.problem.setting else self.hosts
        return problem.setting == self.problem.setting and (not where or problem.where in where)

    @property
    def places(self) -> Iterator[tuple[Any, Any]]:
        """Where the problem's setting is, on each host: a mapping or a list, and its key or index in that."""
        for host in self.hosts:
            yield _place(self.data[host], self.problem.setting)

    @property
    def key(self) -> str:
        """What of a mapping or a list the problem is about: the first thing that its reason quotes."""
        match = re.search('"([^"]+)"', self.problem.reason)
        assert match, self.problem
        return match[1]


def _place(node: Any, path: str) -> tuple[Any, Any]:
    """Where "a.b.0" is; a key's own dots are part of it."""
    if isinstance(node, list | tuple):
        head, _, rest = path.partition(".")
        return _place(node[int(head)], rest) if rest else (node, int(head))
    for key in node:
        if path.startswith(f"{key}.") and isinstance(node[key], dict | list):
            return _place(node[key], path.removeprefix(f"{key}."))
    return node, path


def _renamed(node: Any, old: str, new: str | None) -> Any:
    """`node` with the keys and the texts of lists that are `old` called `new`, or left out."""
    if isinstance(node, dict):
        pairs = ((new if key == old else key, _renamed(value, old, new)) for key, value in node.items())
        return {key: value for key, value in pairs if key is not None}
    if isinstance(node, list | tuple):
        names = (new if isinstance(one, str) and old in one else _renamed(one, old, new) for one in node)
        return [name for name in names if name is not None]
    return node


# --- What to do ------------------------------------------------------------------------------------------------------
def _write(draft: _Draft, value: Any) -> None:
    problem = draft.problem
    if not problem.setting:  # ("name", {"ssh_hostname": ...})
        _rename_host(draft, value[0])
        draft.data[value[0]] |= value[1]
        return
    for node, key in draft.places:
        if isinstance(node, dict) and problem.value == key:  # it is a key that is wrong
            node[value] = node.pop(key)
        elif isinstance(node[key], dict) and not isinstance(value, dict):
            inner, name = _place(node[key], draft.key)
            inner[name] = value
        else:
            node[key] = value


def _call(draft: _Draft, value: Any) -> None:
    for node, key in draft.places:
        node[key] = value if isinstance(node[key], str) else _renamed(node[key], draft.key, value)


def _remove(draft: _Draft, value: Any) -> None:
    for node, key in draft.places:
        inner, name = _place(node[key], value)
        if name in inner:
            del inner[name]
        else:
            node[key] = _renamed(node[key], value, None)


def _write_under(draft: _Draft, value: Any) -> None:
    name, plugin = re.findall('"([^"]+)"', draft.problem.reason)[:2]
    for node, key in draft.places:
        plugins = node[key]["plugins"]
        plugins[value] = {**plugins.get(value, {}), name: plugins[plugin].pop(name)}


def _add(draft: _Draft, value: Any) -> None:
    for node, key in draft.places:
        node[key] = [*node[key], value]


def _rename_host(draft: _Draft, value: Any) -> None:
    (old,) = draft.hosts
    draft.data = {value if name == old else name: values for name, values in draft.data.items()}
    draft.groups = {group: [value if name == old else name for name in draft.groups[group]] for group in draft.groups}
    draft.hosts = [value]


def _set_all(draft: _Draft, values: Mapping[str, Any]) -> None:
    profile = draft.problem.setting.partition(".registries.")[0]
    for name, value in values.items():
        if name == "control_plane":
            draft.groups = {**draft.groups, name: [host for host, _ in value]}
            continue
        stack = name.partition(".")[0]
        path = name if name in SETTINGS or stack in STACKS else f"{profile}.{name}"
        for host in draft.hosts if name in HostSettings.model_fields else draft.data:
            if stack in STACKS:
                draft.data[host].setdefault(stack, {})
            node, key = _place(draft.data[host], path)
            node[key] = value


# --- How a remedy is read --------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Way:
    """Something to do, and where the remedy's words for it begin and end."""

    begin: int
    end: int
    act: Callable[[_Draft], None]


_VALUE = r"(?=[\"'\[{(0-9]|True\b|False\b)"
_VERBS: list[tuple[str, Callable[[_Draft, Any], None]]] = [
    (rf"set it to {_VALUE}", _write),
    (r'remove (?=")', _remove),
    (r'write it under (?=")', _write_under),
    (r'add (?=")', _add),
    (r'rename it in the inventory, e\.g\. (?=")', _rename_host),
    (r'call (?:it|one)\b[^"]*(?=")', _call),
    (r"use one of: ", _write),
    (r"call it one of: ", _call),
    (r"set (?=[0-9.]+ or newer)", _write),
    (rf"write (?:it as )?{_VALUE}", _write),
    (r"e\.g\. ", _write),
]


def _ways(remedy: str) -> Iterator[_Way]:
    taken = [False] * len(remedy)
    assigned: list[tuple[int, int, str, Any]] = []
    for match in re.finditer(rf"([\w.]+)(?: = | to ){_VALUE}", remedy):
        if match[1] != "it":
            value, end = _literal(remedy, match.end())
            assigned.append((match.start(), end, match[1], value))
    while assigned:  # "a = 1 and b = 2" is one way
        together = [assigned.pop(0)]
        while assigned and remedy[together[-1][1] : assigned[0][0]] == " and ":
            together.append(assigned.pop(0))
        begin, end = together[0][0], together[-1][1]
        taken[begin:end] = [True] * (end - begin)
        yield _Way(begin, end, partial(_set_all, values={name: value for _, _, name, value in together}))
    for verb, act in _VERBS:
        for match in re.finditer(verb, remedy):
            begin, at = match.start(), match.end()
            if any(taken[begin:at]) or taken[at]:
                continue
            values, end = _alternatives(remedy, at, ", " if "one of" in verb else " or ")
            taken[begin:end] = [True] * (end - begin)
            for value in (value for value in values if value is not None):
                yield _Way(begin, end, _doing(act, value))


def _doing(act: Callable[[_Draft, Any], None], value: Any) -> Callable[[_Draft], None]:
    return lambda draft: act(draft, value)


def _alternatives(text: str, at: int, between: str) -> tuple[list[Any], int]:
    """The values from there on, and where the last of them ends."""
    value, end = _literal(text, at)
    values = [value]
    while text.startswith(between, end) and (between == ", " or re.match(_VALUE, text[end + len(between) :])):
        value, after = _literal(text, end + len(between))
        if value in ("or", "and"):
            break
        values.append(value)
        end = after
    return values, end


def _literal(text: str, at: int) -> tuple[Any, int]:
    """The value that begins there, in Python or as a plain word, and where it ends. [ONE, TWO] is none, but a form."""
    if text[at] in "\"'[{(":
        for end in range(at + 1, len(text) + 1):
            try:
                return ast.literal_eval(text[at:end]), end
            except (ValueError, SyntaxError):
                continue
        return None, at + 1
    match = re.match(r"[\w./-]*\w", text[at:])
    assert match, text
    word = match[0]
    value = {"True": True, "False": False}.get(word, int(word) if word.isdecimal() else word)
    return value, at + len(word)
