"""What is in a cluster, as rows for people: its nodes with their versions and disks, its volumes, pods that failed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kubestage.facts.pressure import Left, by_summary, conditions, pressures
from kubestage.facts.volumes import nodes_of


@dataclass(frozen=True)
class NodeRow:
    """`state`: "Ready", with what it is short of. `disk`: how much is free of it; "" where its kubelet does not say."""

    node: str
    state: str
    kubelet: str
    runtime: str
    system: str
    disk: str


@dataclass(frozen=True)
class VolumeRow:
    """`claim`: "namespace/name". `node`: on which it lies, "" for one of no node. `state`: "Bound", "Released" …"""

    claim: str
    size: str
    storage_class: str
    node: str
    state: str


def node_rows(nodes: Iterable[Any], summaries: Mapping[str, Mapping[str, Any]]) -> list[NodeRow]:
    """`nodes`: Node objects; `summaries`: node -> its kubelet's stats/summary, as far as it answers."""
    rows = []
    for node in nodes:
        name, said = node["metadata"]["name"], conditions(node)
        words = ["Ready" if ("Ready", "True") in said else "not Ready", *pressures(said)]
        if node["spec"].get("unschedulable"):
            words.append("cordoned")
        info = node["status"]["nodeInfo"]
        rows.append(
            NodeRow(
                name,
                ", ".join(words),
                info["kubeletVersion"],
                info["containerRuntimeVersion"].replace("://", " "),
                info["osImage"],
                _disk(summaries.get(name, {})),
            )
        )
    return rows


def _disk(summary: Mapping[str, Any]) -> str:
    """The disk of the images and that of the pods; once, where they are one."""
    disks = dict.fromkeys(left for left in by_summary("DiskPressure", summary) if left.size)
    alike: dict[tuple[int, int], Left] = {}
    for left in disks:
        alike.setdefault((left.free, left.whole), left)
    if len(alike) == 1:
        (left,) = alike.values()
        return f"{left.percent} % of {left.whole / 2**30:.0f} GiB free"
    return ", ".join(str(left) for left in alike.values())


def volume_rows(volumes: Iterable[Any]) -> list[VolumeRow]:
    """`volumes`: PersistentVolume objects."""
    rows = []
    for volume in volumes:
        spec = volume["spec"]
        claim = spec.get("claimRef")
        rows.append(
            VolumeRow(
                f"{claim['namespace']}/{claim['name']}" if claim else volume["metadata"]["name"],
                spec["capacity"].get("storage", ""),
                spec.get("storageClassName", ""),
                ", ".join(nodes_of(spec)),
                volume["status"]["phase"],
            )
        )
    return sorted(rows, key=lambda row: row.claim)


def leftovers(pods: Iterable[Any], namespaces: Collection[str]) -> list[str]:
    """A line for each pod of the platform that has failed and lies there still: "registry/cleanup-1: Evicted"."""
    return [
        f"{pod['metadata']['namespace']}/{pod['metadata']['name']}: {pod['status'].get('reason') or 'Failed'}"
        for pod in pods
        if pod["status"]["phase"] == "Failed" and pod["metadata"]["namespace"] in namespaces
    ]
