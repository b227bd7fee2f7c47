"""Nodes that are short of disk, memory or process ids, said in one line each.

The kubelet tells of it by conditions of its Node, and evicts pods or starts no new ones meanwhile
(https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/#node-conditions).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PRESSURES = ("DiskPressure", "MemoryPressure", "PIDPressure")


@dataclass(frozen=True)
class Left:
    """What is free of something, and all there is; in bytes where `size`."""

    what: str
    free: int
    whole: int
    size: bool = True

    @property
    def percent(self) -> int:
        return self.free * 100 // self.whole if self.whole else 0

    def __str__(self) -> str:
        amounts = f"{_gib(self.free)} of {_gib(self.whole)} GiB" if self.size else f"{self.free} of {self.whole}"
        return f"{self.percent} % of {self.what} free ({amounts})"


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f}"


def told(node: str, pressure: str, left: Sequence[Left] = ()) -> str:
    """ "w1: DiskPressure: 7 % of the images' disk free (14.1 of 200.0 GiB)"; what is alike is told once."""
    amounts: dict[tuple[int, int], Left] = {}
    for each in left:
        amounts.setdefault((each.free, each.whole), each)
    return ": ".join([node, pressure, *([", ".join(str(each) for each in amounts.values())] if amounts else [])])


def conditions(node: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A Node object's conditions, as (type, status); none where its kubelet has never reported."""
    return [(each["type"], each["status"]) for each in node.get("status", {}).get("conditions", ())]


def pressures(conditions: Iterable[tuple[str, str]]) -> list[str]:
    """Those of a Node's conditions, as (type, status), that tell of a shortage."""
    return [kind for kind, status in conditions if kind in PRESSURES and status == "True"]


def by_summary(pressure: str, summary: Mapping[str, Any]) -> list[Left]:
    """What is left of what a node is short of, by the kubelet's own account (its Summary API, stats/summary)."""
    node = summary.get("node", {})
    if pressure == "DiskPressure":
        disks = {"the images' disk": node.get("runtime", {}).get("imageFs", {}), "the pods' disk": node.get("fs", {})}
        sizes = [_left(what, disk, "availableBytes", "capacityBytes") for what, disk in disks.items()]
        inodes = [_left(f"the inodes of {what}", disk, "inodesFree", "inodes", False) for what, disk in disks.items()]
        least = min((each.percent for each in sizes if each), default=100)
        # The inodes only where they are scarcer.
        return [each for each in (*sizes, *inodes) if each and (each.size or each.percent < least)]
    if pressure == "MemoryPressure":
        memory = node.get("memory", {})
        free, used = memory.get("availableBytes"), memory.get("workingSetBytes")
        return [] if free is None or used is None else [Left("its memory", free, free + used)]
    ids = node.get("rlimit", {})
    most, used = ids.get("maxpid"), ids.get("curproc")
    return [] if most is None or used is None else [Left("its process ids", most - used, most, False)]


def _left(what: str, disk: Mapping[str, Any], free: str, whole: str, size: bool = True) -> Left | None:
    return Left(what, disk[free], disk[whole], size) if free in disk and disk.get(whole) else None
