"""Hosts from what other tools keep: an Ansible inventory (INI or YAML), Terraform's output or state (JSON)."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from kubestage.cluster.inventory import TargetError
from kubestage.commands.new.hosts import Hosts, NewHost

_FORMS = (
    "an Ansible inventory (INI or YAML), or the JSON of `terraform output -json`, `terraform show -json` or a state"
)
# What groups, outputs and resources of control planes are called.
_CONTROL_PLANE = re.compile(
    r"(^|[_-])(control([_-]?planes?)?|masters?|managers?|cp)([_-]|\d|$)|^servers?$", re.IGNORECASE
)
_RANGE = re.compile(r"\[(\d+):(\d+)\]")  # node[01:03] is node01, node02, node03

Variables = dict[str, Any]
# Host -> its variables, and the names of the groups in which it is, nearest first.
Found = dict[str, tuple[Variables, list[str]]]


def read(path: Path) -> Hosts:
    """The hosts of the file; TargetError where it can't be read or holds none."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise TargetError(f"{path}: it can't be read: {error}\n    -> name {_FORMS}") from None
    try:
        hosts = _hosts(_terraform(path, text) if text.lstrip().startswith("{") else _ansible(path, text))
    except TargetError:
        raise
    except (ValueError, TypeError, AttributeError) as error:  # a form that is none of those
        raise TargetError(f"{path}: it can't be understood: {error}\n    -> name {_FORMS}") from None
    if not hosts.all:
        raise TargetError(f"{path}: there is no host in it\n    -> name {_FORMS}")
    return hosts


def _hosts(found: Found) -> Hosts:
    """One that no group calls a control plane is a worker; the first of all is, where none is called so."""
    leaders = [name for name, (_, groups) in found.items() if any(map(_CONTROL_PLANE.search, groups))]
    leaders = leaders or list(found)[:1]
    hosts = {name: _host(name, variables) for name, (variables, _) in found.items()}
    return Hosts(
        tuple(hosts[name] for name in leaders), tuple(host for name, host in hosts.items() if name not in leaders)
    )


def _host(name: str, variables: Mapping[str, Any]) -> NewHost:
    def first(*names: str) -> str:
        return next((str(variables[each]) for each in names if variables.get(each)), "")

    address = first("ansible_host", "ansible_ssh_host", "access_ip") or name
    port = first("ansible_port", "ansible_ssh_port")
    return NewHost(
        address=address,
        name="" if address == name else _node_name(name),
        user=first("ansible_user", "ansible_ssh_user"),
        port=int(port) if port.isdigit() else 0,
        key=first("ansible_ssh_private_key_file", "ansible_private_key_file"),
        private_address=first("ip", "private_ip"),
    )


def _node_name(name: str) -> str:
    """As Kubernetes takes one."""
    return re.sub(r"[^a-z0-9.-]+", "-", name.lower()).strip("-.")


# --- Ansible ---------------------------------------------------------------------------------------------------------
def _ansible(path: Path, text: str) -> Found:
    if path.suffix in (".yml", ".yaml"):
        try:
            document = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise TargetError(f"{path}: it is no YAML: {error}\n    -> name {_FORMS}") from None
        found: Found = {}
        for name, group in (document or {}).items() if isinstance(document, dict) else ():
            _yaml_group(found, str(name), group if isinstance(group, dict) else {}, {}, [])
        return found
    return _ini(text)


def _yaml_group(found: Found, name: str, group: Variables, inherited: Variables, parents: list[str]) -> None:
    variables, groups = {**inherited, **(group.get("vars") or {})}, [name, *parents]
    for pattern, own in (group.get("hosts") or {}).items():
        for host in _spread(str(pattern)):
            _add(found, host, {**variables, **(own or {})}, groups)
    for child, content in (group.get("children") or {}).items():
        _yaml_group(found, str(child), content or {}, variables, groups)


def _ini(text: str) -> Found:
    hosts: dict[str, list[tuple[str, Variables]]] = {}  # group -> its hosts with what is said of them there
    variables: dict[str, Variables] = {}
    children: dict[str, list[str]] = {}
    section, kind = "ungrouped", "hosts"
    for line in map(str.strip, text.splitlines()):
        if not line or line.startswith(("#", ";")):
            continue
        if heading := re.fullmatch(r"\[([^\]:]+)(?::(vars|children))?\]", line):
            section, kind = heading[1], heading[2] or "hosts"
        elif kind == "vars":
            key, _, value = line.partition("=")
            variables.setdefault(section, {})[key.strip()] = value.strip().strip("'\"")
        elif kind == "children":
            children.setdefault(section, []).append(line)
        else:
            pattern, *words = shlex.split(line, comments=True)
            own = dict(word.split("=", 1) for word in words if "=" in word)
            hosts.setdefault(section, []).extend((host, own) for host in _spread(pattern))
    parents = {child: parent for parent, names in children.items() for child in names}
    found: Found = {}
    for group, members in hosts.items():
        above = [group]
        while above[-1] in parents and parents[above[-1]] not in above:
            above.append(parents[above[-1]])
        given: Variables = {}
        for name in reversed([*above, "all"]):
            given |= variables.get(name, {})
        for host, own in members:
            _add(found, host, {**given, **own}, above)
    return found


def _add(found: Found, host: str, variables: Variables, groups: list[str]) -> None:
    known, earlier = found.get(host, ({}, []))
    found[host] = ({**known, **variables}, [*earlier, *groups])


def _spread(pattern: str) -> Iterator[str]:
    match = _RANGE.search(pattern)
    if not match:
        yield pattern
        return
    first, last = match.groups()
    for number in range(int(first), int(last) + 1):
        yield from _spread(f"{pattern[: match.start()]}{number:0{len(first)}d}{pattern[match.end() :]}")


# --- Terraform -------------------------------------------------------------------------------------------------------
# Attributes of alicloud_instance, aws_instance, hcloud_server, digitalocean_droplet, openstack and the like.
_PUBLIC = ("public_ip", "ipv4_address", "access_ip_v4", "floating_ip")
_PRIVATE = ("private_ip", "primary_ip_address", "ipv4_address_private", "access_ip_v4_private")
_NAMES = ("host_name", "hostname", "instance_name", "name")


def _terraform(path: Path, text: str) -> Found:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise TargetError(f"{path}: it is no JSON: {error}\n    -> name {_FORMS}") from None
    found: Found = {}
    for name, group, attributes in _machines(document):
        _add(found, name, attributes, [group])
    if not found:
        for output, content in document.items():
            for name, address in _addresses(content.get("value") if isinstance(content, dict) else None):
                _add(found, name or address, {"ansible_host": address}, [output])
    return found


def _machines(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Variables]]:
    """Name, resource and variables of all machines in a state, or in what `terraform show -json` prints."""
    resources = list(document.get("resources") or ())
    modules = [(document.get("values") or {}).get("root_module") or {}]
    while modules:
        module = modules.pop()
        resources += module.get("resources") or ()
        modules += module.get("child_modules") or ()
    for resource in resources:
        instances = [each.get("attributes") or {} for each in resource.get("instances") or ()]
        for attributes in instances or [resource.get("values") or {}]:
            public = next((attributes[key] for key in _PUBLIC if attributes.get(key)), "")
            private = next((attributes[key] for key in _PRIVATE if attributes.get(key)), "")
            tags = attributes.get("tags") or {}
            name = (tags.get("Name") if isinstance(tags, dict) else "") or next(
                (attributes[key] for key in _NAMES if attributes.get(key)), ""
            )
            if (public or private) and re.search(r"instance|server|droplet|machine|vm", resource.get("type", "")):
                address = str(public or private)
                given = {"ansible_host": address, "private_ip": private}
                yield str(name or address), str(resource.get("name", "")), given


def _addresses(value: Any) -> Iterator[tuple[str, str]]:
    """Names (or "") and addresses of an output: an address, a list of them, or a mapping of names to them."""
    if isinstance(value, str) and re.fullmatch(r"\d+(\.\d+){3}", value):
        yield "", value
    elif isinstance(value, list):
        for one in value:
            yield from _addresses(one)
    elif isinstance(value, dict):
        for name, one in value.items():
            for _, address in _addresses(one):
                yield str(name), address
