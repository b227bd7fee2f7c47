"""What the API server says of the cluster, as preflight asks the control plane for it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from kubestage.facts import stack_objects
from kubestage.facts.answers import Answers, filled
from kubestage.facts.pressure import PRESSURES
from kubestage.facts.stack_objects import StackObjects
from kubestage.kubernetes import ADMIN_CONF, KUBECTL

_OBJECT = (
    "{range .items[*]}object {.kind}|{.metadata.namespace}/{.metadata.name}|{.spec.healthCheckNodePort}"
    '|{.spec.ports[*].nodePort}|{.status.addresses[?(@.type=="InternalIP")].address}'
    '|{.status.conditions[?(@.type=="Ready")].status}{"\\n"}{end}'
    '{range .items[?(@.kind=="Node")]}true {.metadata.name}|{.status.conditions[?(@.status=="True")].type}{"\\n"}{end}'
    '{range .items[?(@.kind=="PersistentVolume")]}volume {.spec.claimRef.namespace}/{.spec.claimRef.name}'
    "|{.spec.storageClassName}|{.spec.capacity.storage}"
    "|{.spec.persistentVolumeReclaimPolicy} {.status.phase}"
    "|{.spec.nodeAffinity.required.nodeSelectorTerms[*].matchExpressions[*].values[*]}"
    '|{.spec.hostPath.path}{.spec.local.path}{"\\n"}{end}'
)

_SCRIPT = r"""
if [ -e @ADMIN_CONF@ ]; then
    if objects=$(@KUBECTL@ \
        get services,nodes,persistentvolumes --all-namespaces -o jsonpath=@OBJECT@ 2>&1)
    then
        echo "cluster known"
        echo "$objects"
        @STACK_OBJECTS@
    else echo "cluster unknown $(echo "$objects" | tail -n 1)"; fi
fi
"""
# No cache folder: kubectl would write one.
_KUBECTL = f"timeout 15 {KUBECTL} --cache-dir /dev/null/none --request-timeout 5s"


@dataclass(frozen=True)
class Node:
    """A Node object: its InternalIP, and whether it is Ready."""

    address: str
    ready: bool


@dataclass(frozen=True)
class Volume:
    """A PersistentVolume that was claimed: its StorageClass, and its size ("20Gi").

    `leaving`: its claim is gone, and so will it be. `node`, `path`: on which node it is which folder, or "".
    """

    storage_class: str
    size: str
    leaving: bool = False
    node: str = ""
    path: str = ""


@dataclass(frozen=True)
class ClusterReport:
    """What the API server says: NodePort -> the "namespace/name" of its Services; the nodes by name.

    `health_ports` are Services' health check NodePorts: on these kube-proxy itself listens.
    `volumes`: the "namespace/name" of a PersistentVolumeClaim, gone or not -> its volume.
    `stack_objects`: what stacks have put there.
    `pressures`: a node that is short of something -> "DiskPressure" and the like.
    """

    node_ports: Mapping[int, tuple[str, ...]]
    health_ports: Mapping[int, tuple[str, ...]]
    nodes: Mapping[str, Node]
    volumes: Mapping[str, Volume]
    stack_objects: StackObjects
    pressures: Mapping[str, tuple[str, ...]]

    @property
    def out_of_reach(self) -> dict[str, str]:
        """The "namespace/name" of a claim -> the node on which its volume lies, of those that are not Ready."""
        return {
            claim: volume.node
            for claim, volume in self.volumes.items()
            if volume.node in self.nodes and not self.nodes[volume.node].ready
        }


@dataclass(frozen=True, kw_only=True)
class Living:
    """`cluster`: None where there is no control plane; `cluster_error` says why where its API does not answer."""

    cluster: ClusterReport | None
    cluster_error: str


def script() -> str:
    words = {
        "ADMIN_CONF": ADMIN_CONF,
        "KUBECTL": _KUBECTL,
        "OBJECT": shlex.quote(_OBJECT),
        "STACK_OBJECTS": stack_objects.script(_KUBECTL),
    }
    return filled(_SCRIPT, words)


def read(said: Answers) -> Living:
    known = said.first("cluster")
    return Living(
        cluster=_cluster(said) if known == "known" else None,
        cluster_error=known.partition(" ")[2],
    )


def _cluster(said: Answers) -> ClusterReport:
    ports: dict[int, tuple[str, ...]] = {}
    health_ports: dict[int, tuple[str, ...]] = {}
    nodes: dict[str, Node] = {}
    for line in said.all("object"):
        kind, name, health, node_ports, address, ready = line.split("|")
        if kind == "Node":
            internal = next((one for one in address.split() if ":" not in one), "")
            nodes[name.removeprefix("/")] = Node(internal, ready == "True")
            continue
        for found, text in ((ports, node_ports), (health_ports, health)):
            for port in {int(word) for word in text.split()}:
                found[port] = (*found.get(port, ()), name)
    volumes: dict[str, Volume] = {}
    for line in said.all("volume"):
        claim, storage_class, size, fate, node, path = line.split("|", 5)
        volume = Volume(storage_class, size, leaving=fate == "Delete Released", node=node, path=path)
        if claim not in volumes or not volume.leaving:  # a new claim may have the name of one whose volume is leaving
            volumes[claim] = volume
    pressures = {}
    for line in said.all("true"):
        name, types = line.split("|")
        if short := tuple(word for word in types.split() if word in PRESSURES):
            pressures[name] = short
    ours = stack_objects.read(said.all("stack_object"), said.pairs("stack_applied"), said.one("stack_objects"))
    return ClusterReport(ports, health_ports, nodes, volumes, ours, pressures)
