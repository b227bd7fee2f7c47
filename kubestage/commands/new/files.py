"""The files of an inventory to be: short, and the user's to edit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from kubestage.commands.new.host_keys import SSH_PORT
from kubestage.commands.new.hosts import Hosts, NewHost


@dataclass(frozen=True)
class Place:
    """Where the files of the cluster `name` are, in the checkout that holds deploy.py."""

    checkout: Path
    name: str

    @property
    def inventory(self) -> Path:
        return self.checkout / "inventory" / f"{self.name}.py"

    @property
    def group_data(self) -> Path:
        return self.checkout / "group_data" / f"{self.name}.py"

    @property
    def ssh_config(self) -> Path:
        """Only where a host is reached through another one."""
        return self.checkout / "inventory" / f"{self.name}.ssh_config"

    @property
    def known_hosts(self) -> Path:
        return self.checkout / ".state" / self.name / "known_hosts"

    def existing(self) -> list[str]:
        """Those that are there already and are never written over, relative to the checkout."""
        files = (self.inventory, self.group_data, self.ssh_config)
        return [str(path.relative_to(self.checkout)) for path in files if path.exists()]


def connection(place: Place, host: NewHost) -> dict[str, Any]:
    """How pyinfra reaches a host: its own words for that."""
    data: dict[str, Any] = {"ssh_hostname": host.address, "ssh_user": host.user}
    if host.user != "root":
        data["_sudo"] = True
    if host.port not in (0, SSH_PORT):
        data["ssh_port"] = host.port
    if host.key:
        data["ssh_key"] = host.key
    if host.jump:
        data["ssh_config_file"] = str(place.ssh_config)
    return data | {"ssh_known_hosts_file": str(place.known_hosts)}


def addresses(host: NewHost, found: str) -> dict[str, str]:
    """The addresses of a host for the settings; `found`: its private address as the host itself has it."""
    data = {"private_address": host.private_address or found}
    if host.address != data["private_address"] and _is_public(host.address):
        data["public_address"] = host.address
    return data


def _is_public(address: str) -> bool:
    try:
        return ip_address(address).is_global
    except ValueError:
        return True  # a name


_INVENTORY = '''\
"""The hosts of {name}. What they share is in group_data/{name}.py; group_data/all.py has every setting."""

from pathlib import Path as _Path

_folder = _Path(__file__).resolve().parents[1]
_ssh = {{  # A rebuilt machine has a new key: remove the old one, ssh-keygen -R ADDRESS -f .state/{name}/known_hosts
{ssh}}}

control_plane = [
{control_plane}]

workers = [
{workers}]
'''
_HOST = """\
    (
        {name},
        {{
            **_ssh,
{data}        }},
    ),
"""
_GROUP_DATA = '''\
"""What the hosts of {name} share, where it differs from group_data/all.py."""

{settings}'''


def inventory(place: Place, hosts: Hosts, found: Mapping[str, str]) -> str:
    """The inventory file; `found`: a host's name -> its private address."""
    ways = {host.name: connection(place, host) for host in hosts.all}
    first, *others = ways.values()
    common = {key: value for key, value in first.items() if all(way.get(key) == value for way in others)}

    def group(members: tuple[NewHost, ...]) -> str:
        return "".join(_HOST.format(name=_text(host.name), data=_pairs(place, own(host), 12)) for host in members)

    def own(host: NewHost) -> dict[str, Any]:
        way = {key: value for key, value in ways[host.name].items() if common.get(key) != value}
        return way | addresses(host, found.get(host.name, ""))

    return _INVENTORY.format(
        name=place.name,
        ssh=_pairs(place, common, 4),
        control_plane=group(hosts.control_plane),
        workers=group(hosts.workers),
    )


def _pairs(place: Place, data: Mapping[str, Any], indent: int) -> str:
    return "".join(f"{' ' * indent}{_text(key)}: {_value(place, value)},\n" for key, value in data.items())


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _value(place: Place, value: Any) -> str:
    """As Python; a path in the checkout relative to the file, so that a checkout may be moved."""
    if isinstance(value, str) and value.startswith(f"{place.checkout}/"):
        parts = Path(value).relative_to(place.checkout).parts
        return f"str(_folder / {' / '.join(map(_text, parts))})"
    return _text(value)


def group_data(place: Place, settings: Mapping[str, Any]) -> str:
    """The group data file."""
    lines = [f"{key} = {_text(value)}\n" for key, value in settings.items()]
    return _GROUP_DATA.format(name=place.name, settings="".join(lines))


def ssh_config(place: Place, hosts: Hosts) -> str:
    """An ssh_config(5) for the hosts that are reached through another one; pyinfra reads jump hosts nowhere else."""
    text = f"# How the hosts of {place.name} are reached: through another one.\n"
    for jump in dict.fromkeys(host.jump for host in hosts.all if host.jump):
        user, _, rest = jump.rpartition("@")
        address, _, port = rest.partition(":")
        behind = [host for host in hosts.all if host.jump == jump]
        key = next((host.key for host in behind if host.key), "")
        text += f"Host {address}\n"
        text += f"    User {user}\n" if user else ""
        text += f"    Port {port}\n" if port else ""
        text += f"    IdentityFile {key}\n" if key else ""
        text += f"    UserKnownHostsFile {place.known_hosts.relative_to(place.checkout)}\n"
        text += "    StrictHostKeyChecking yes\n"
        text += f"Host {' '.join(host.address for host in behind)}\n    ProxyJump {address}\n"
    return text
