"""Nodes, volumes and failed pods as rows for people."""

from __future__ import annotations

from typing import Any

from kubestage.commands.inside import NodeRow, VolumeRow, leftovers, node_rows, volume_rows

GIB = 1 << 30


def node(name: str, ready: str = "True", cordoned: bool = False, *pressures: str) -> Any:
    conditions = [{"type": "Ready", "status": ready}, *({"type": kind, "status": "True"} for kind in pressures)]
    info = {
        "kubeletVersion": "v1.36.3",
        "containerRuntimeVersion": "containerd://2.4.2",
        "osImage": "Debian GNU/Linux 12",
    }
    return {
        "metadata": {"name": name},
        "spec": {"unschedulable": True} if cordoned else {},
        "status": {"conditions": conditions, "nodeInfo": info},
    }


def disk(free: int, whole: int) -> dict[str, int]:
    return {"availableBytes": free * GIB, "capacityBytes": whole * GIB, "inodesFree": 9, "inodes": 10}


def test_nodes() -> None:
    one, two = disk(60, 200), disk(10, 100)
    summaries = {
        "cp1": {"node": {"fs": one, "runtime": {"imageFs": one}}},
        "w1": {"node": {"fs": one, "runtime": {"imageFs": two}}},
    }
    common = ("v1.36.3", "containerd 2.4.2", "Debian GNU/Linux 12")
    nodes = [node("cp1"), node("w1", "True", True, "DiskPressure"), node("w2", "Unknown")]
    assert node_rows(nodes, summaries) == [
        NodeRow("cp1", "Ready", *common, "30 % of 200 GiB free"),
        NodeRow(
            "w1",
            "Ready, DiskPressure, cordoned",
            *common,
            "10 % of the images' disk free (10.0 of 100.0 GiB), 30 % of the pods' disk free (60.0 of 200.0 GiB)",
        ),
        NodeRow("w2", "not Ready", *common, ""),
    ]


def volume(name: str, claim: tuple[str, str] | None, node: str = "") -> Any:
    term = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}
    spec: dict[str, Any] = {"capacity": {"storage": "20Gi"}, "storageClassName": "local-path"}
    if claim:
        spec["claimRef"] = {"namespace": claim[0], "name": claim[1]}
    if node:
        spec["nodeAffinity"] = {"required": {"nodeSelectorTerms": [term]}}
    return {"metadata": {"name": name}, "spec": spec, "status": {"phase": "Bound" if claim else "Available"}}


def test_volumes() -> None:
    assert volume_rows([volume("pv-1", ("registry", "registry"), "cp1"), volume("pv-0", None)]) == [
        VolumeRow("pv-0", "20Gi", "local-path", "", "Available"),
        VolumeRow("registry/registry", "20Gi", "local-path", "cp1", "Bound"),
    ]


def test_failed_pods_of_the_platform() -> None:
    def pod(namespace: str, name: str, phase: str, reason: str | None = None) -> Any:
        status = {"phase": phase, **({"reason": reason} if reason else {})}
        return {"metadata": {"namespace": namespace, "name": name}, "status": status}

    pods = [
        pod("registry", "cleanup-1", "Failed", "Evicted"),
        pod("registry", "cleanup-2", "Failed"),
        pod("registry", "registry-0", "Running"),
        pod("yours", "job", "Failed"),
    ]
    assert leftovers(pods, {"registry"}) == ["registry/cleanup-1: Evicted", "registry/cleanup-2: Failed"]
