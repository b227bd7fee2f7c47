"""All there is to know of a stack before anything is: a module of this folder has one for its stack."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubestage.settings import Cluster, ClusterSettings, Problem
from kubestage.settings.model import StackSettings
from kubestage.stacks.stack import Stack


@dataclass(frozen=True)
class Place:
    """Where a cluster is, seen from the machine that a run is started from.

    `inventory`: as make takes it. `folder`: of the kubeconfig and the CA. `server`: the API's address.
    `addresses`: host name -> where people reach the host. `members`: the hosts of a control plane of several.
    """

    inventory: str
    folder: Path
    control_plane: str
    server: str
    addresses: Mapping[str, str]
    members: Sequence[str] = ()


@dataclass(frozen=True)
class Row:
    """One thing of the platform: its address, who may log in, and how: where the password is, or what gives one."""

    what: str
    where: str
    user: str = ""
    how: str = ""
    health: str = ""


@dataclass(frozen=True)
class Site:
    """A site, NAME.<domain>, by which it is told whether a stack serves.

    `statuses`: those of HTTP with which it may answer who has no login. Where it is not the stack's `own`, nobody has
    made it: the ingress answers itself.
    """

    name: str
    statuses: tuple[int, ...]
    own: bool = True


def _no_others(settings: ClusterSettings) -> tuple[Stack, ...]:
    return ()


def _nothing_fits(cluster: Cluster) -> dict[str, Any]:
    return {}


@dataclass(frozen=True)
class StackType:
    """A stack that the setting `stacks` switches by its `name`.

    `settings`: those in the mapping of that name. `make`: the stack as settings have it.
    `namespace`: its own. `others`: what may be in the cluster in its stead, under other settings, and goes before it
    comes. `row`: what people are told of it. `rules`: about its settings, where the stack is on.
    `fits`: the settings that are None, as they fit the cluster.
    """

    name: str
    settings: type[StackSettings]
    make: Callable[[ClusterSettings], Stack]
    row: Callable[[ClusterSettings, Place], Row]
    namespace: str = ""
    site: Site | None = None
    others: Callable[[ClusterSettings], tuple[Stack, ...]] = _no_others
    rules: tuple[Callable[[Cluster], Iterator[Problem]], ...] = ()
    fits: Callable[[Cluster], dict[str, Any]] = _nothing_fits
