"""What a run does for the encryption of Secrets in etcd: decided once, as all hosts of the control plane share it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pyinfra import logger
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.state import State

from kubestage.checks.cluster_hosts import ClusterHosts
from kubestage.cluster.shell import run_on
from kubestage.facts.host_report.encryption import PLAIN, Encrypted
from kubestage.host_file import HostFile
from kubestage.render.encryption import Stage, keys_in, new_key, way, written


@dataclass(frozen=True)
class Encryption:
    """`stages`: what every API server gets in turn; the last of them is to stay. A host that joins has the last alone.

    `path`: of the last one's file, "" for none. Where all hosts have it and nothing else, there are no stages: no key
    was read. `rewrites`: whether all Secrets are written anew on the way. `written`: the key with which all of them are
    written in the end; "" where that is not so. `postponed`: whether that has to wait for another run.
    """

    path: str = ""
    stages: tuple[Stage, ...] = ()
    rewrites: bool = False
    written: str = ""
    postponed: bool = False

    @property
    def rewrites_before_last(self) -> bool:
        """Else behind it: there is no other that writes with the same."""
        return self.rewrites and len(self.stages) > 1 and self.stages[-2].providers[0] == self.stages[-1].providers[0]

    @property
    def marks(self) -> list[HostFile]:
        """What says on a host that nothing is written with another key any more."""
        return [written(self.written)] if self.written and self.stages else []

    @property
    def last(self) -> list[HostFile]:
        """What a host has in the end."""
        return [*(self.stages[-1].files if self.stages else ()), *self.marks]


PLAINLY = Encryption()


def planned(state: State, hosts: ClusterHosts, rotates: bool) -> Encryption:
    """By what preflight has found; `rotates`: whether a new key is asked for.

    PyinfraError where the key is gone with which Secrets are read.
    """
    control_plane = hosts.cluster.control_plane
    there = {name: hosts.reports[name].encrypted for name in control_plane if name in hosts.reports}
    members = {name: one for name, one in there.items() if hosts.is_member(name) and hosts.reports[name].initialized}
    wanted = hosts.common.encrypt_secrets
    if not wanted and not any(one.files or one.used for one in there.values()):
        return PLAINLY
    settled = _settled(members, len(there)) if wanted and not rotates else None
    if settled is not None:
        return settled
    keys = _keys(state, there)
    if not members:  # a new cluster, or one whose init goes on: with the key that it has begun with
        if not wanted:
            return PLAINLY
        if not keys:
            keys = dict([new_key(datetime.now(UTC))])
        target = max(keys)
        only = Stage((target, PLAIN), keys)
        return Encryption(only.path, (only,), written=target)
    missing = {name for one in members.values() for name in one.providers if name != PLAIN} - set(keys)
    if missing or any(one.used and not one.providers for one in members.values()):
        raise PyinfraError(
            "Secrets in etcd are encrypted, and no host of the control plane has the key any more: "
            f"{', '.join(one.used for one in members.values())}\n"
            "    -> put it back from a backup; while the API server runs, its memory has the key: don't restart it, "
            "and save the Secrets: kubectl get secrets -A -o yaml"
        )
    active = {host.name for host in state.inventory.get_active_hosts()}
    away = [name for name in control_plane if name not in active or name not in there]
    if not wanted:
        target = PLAIN
    elif rotates or not keys:
        name, key = new_key(datetime.now(UTC))
        keys, target = {**keys, name: key}, name
    else:
        target = max(keys)
    states = list(members.values())
    providers, rewrites = way(states, target, set(keys))
    if away and (rewrites or len(providers) > 1):
        return _postponed(states, keys, away)
    stages = tuple(Stage(each, keys) for each in providers)
    return Encryption(stages[-1].path, stages, rewrites, "" if target == PLAIN else target)


def _settled(members: dict[str, Encrypted], there: int) -> Encryption | None:
    """What is left to do where all have the same and nothing is on its way: nothing; None where that is not so."""
    if not members or len(members) < there:
        return None
    first, *others = members.values()
    if not first.used or len(first.files) != 1 or len(first.providers) != 2 or any(one != first for one in others):
        return None
    target = first.providers[0]
    return Encryption(first.used, written=target) if first.written == {target} else None


def _postponed(states: Sequence[Encrypted], keys: dict[str, str], away: Sequence[str]) -> Encryption:
    """Every host keeps what it has: one that is not of this run could not read what the others write."""
    logger.warning(
        "Another key for Secrets in etcd has to come to every host of the control plane, and waits for a run for all "
        f"of them: {', '.join(away)} is not of this one"
    )
    only = Stage(max((one.providers for one in states), key=len), keys)
    return Encryption(only.path, (only,), postponed=True)


def _keys(state: State, there: dict[str, Encrypted]) -> dict[str, str]:
    """All keys that a host has, by their names. Nothing of it is printed or logged."""
    keys: dict[str, str] = {}
    for name, one in there.items():
        for path in one.files:
            read, text = run_on(state.inventory.get_host(name), f"cat {path}")
            if read:
                keys |= keys_in(text)
    return keys
