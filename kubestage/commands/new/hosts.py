"""The hosts of an inventory to be: as they are named on the command line, by an alias of ssh_config, or in a file."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from paramiko import SSHConfig

from kubestage.cluster.inventory import TargetError

_WORDS = re.compile(
    r"(?:(?P<name>[^=@:/\s]+)=)?(?:(?P<user>[^@:/\s]+)@)?(?P<address>[^=@:/\s]+)(?::(?P<port>[0-9]{1,5}))?"
)
_HOW = 'write ADDRESS, or e.g. "w1=root@203.0.113.11:2222"'


@dataclass(frozen=True)
class NewHost:
    """A host and the way to it. `name` is empty until one is chosen; what else is empty is left to its default."""

    address: str
    name: str = ""
    user: str = ""
    port: int = 0
    key: str = ""
    jump: str = ""  # USER@HOST:PORT of the host through which it is reached
    private_address: str = ""


@dataclass(frozen=True)
class Hosts:
    """Both groups of an inventory."""

    control_plane: tuple[NewHost, ...] = ()
    workers: tuple[NewHost, ...] = ()

    @property
    def all(self) -> tuple[NewHost, ...]:
        return (*self.control_plane, *self.workers)

    def named(self) -> Hosts:
        """With a name for each that has none: cp1, w1, w2 and so on, as far as they are free."""
        taken = {host.name for host in self.all}

        def name(group: Iterable[NewHost], prefix: str) -> tuple[NewHost, ...]:
            free = (word for number in range(1, 10_000) if (word := f"{prefix}{number}") not in taken)
            return tuple(host if host.name else replace(host, name=next(free)) for host in group)

        return Hosts(name(self.control_plane, "cp"), name(self.workers, "w"))

    def by_default(self, *, user: str = "", port: int = 0, key: str = "", jump: str = "") -> Hosts:
        """With these for all that have none of their own; no host is reached through itself."""
        gate = jump.rpartition("@")[2].partition(":")[0]

        def fill(host: NewHost) -> NewHost:
            return replace(
                host,
                user=host.user or user,
                port=host.port or port,
                key=host.key or key,
                jump=host.jump or ("" if host.address == gate else jump),
            )

        return Hosts(tuple(map(fill, self.control_plane)), tuple(map(fill, self.workers)))


def parse(words: str, aliases: SSHConfig) -> NewHost:
    """A host from NAME=USER@ADDRESS:PORT, of which all but ADDRESS may be left out; TargetError if it is none.

    ADDRESS may be an alias of ssh_config, which then says the rest.
    """
    match = _WORDS.fullmatch(words)
    if not match or int(match["port"] or 1) not in range(1, 65536):
        raise TargetError(f"{words!r} is no host's address\n    -> {_HOW}; an IPv6 address can't be a host's yet")
    alias = match["address"]
    known = aliases.lookup(alias)
    is_alias = known["hostname"] != alias
    key = next(iter(known.get("identityfile", ())), "")
    return NewHost(
        address=known["hostname"],
        name=match["name"] or (alias if is_alias else ""),
        user=match["user"] or known.get("user", ""),
        port=int(match["port"] or known.get("port", 0)),
        key=key,
        jump=known.get("proxyjump", ""),
    )


def ssh_aliases(path: Path) -> SSHConfig:
    """The user's ssh_config(5); an empty one where there is none."""
    if not path.is_file():
        return SSHConfig()
    return SSHConfig.from_path(str(path))
