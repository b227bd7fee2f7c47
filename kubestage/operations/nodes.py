"""Nodes: Ready, with their labels and taints.

One host has the operations for all; it asks and tells the control plane host, which --limit may have left out.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Generator, Mapping, Sequence
from typing import Any

from pyinfra import host
from pyinfra.api import FunctionCommand, StringCommand

from kubestage.cluster.control_plane import ControlPlane
from kubestage.cluster.operation import operation
from kubestage.facts.kubernetes import Nodes
from kubestage.facts.unknown import Unknown
from kubestage.kubernetes import KUBECTL
from kubestage.operations.explained import or_explained

MANAGED = "kubestage/managed"  # annotation of a Node: the labels and taints that a run has put there


@operation()
def readiness(
    control_plane: ControlPlane, names: Sequence[str], timeout_s: int = 180
) -> Generator[StringCommand | FunctionCommand, None, None]:
    """Wait until the nodes `names` are Ready."""
    nodes = _nodes(control_plane)
    if waiting := [name for name in names if not _is_ready(nodes.get(name, {}))]:
        yield control_plane.command(
            f"{KUBECTL} wait --for=condition=Ready --timeout={timeout_s}s "
            f"{' '.join(f'node/{name}' for name in waiting)} "
            + or_explained(f"{KUBECTL} get nodes -o wide; {KUBECTL} get pods -A -o wide"),
        )
    else:
        host.noop(f"Ready: {', '.join(names)}")


@operation()
def cluster_dns_anew(control_plane: ControlPlane) -> Generator[StringCommand | FunctionCommand, None, None]:
    """Have CoreDNS find its nodes anew: both replicas are where the first host of the control plane put them.

    Nothing moves pods by itself, and the loss of that host would be the loss of the cluster's DNS. So kubeadm advises,
    https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/high-availability/.
    """
    yield control_plane.command(f"{KUBECTL} --namespace kube-system rollout restart deployment/coredns")


@operation()
def cordon(control_plane: ControlPlane, names: Sequence[str]) -> Generator[StringCommand | FunctionCommand, None, None]:
    """Have no new pod come to the nodes `names`, as far as they are nodes."""
    nodes = _nodes(control_plane)
    open_ones = [name for name in names if name in nodes and not nodes[name].get("spec", {}).get("unschedulable")]
    if open_ones:
        yield control_plane.command(f"{KUBECTL} cordon {' '.join(open_ones)} >/dev/null")
    else:
        host.noop("no new pod comes to them")


@operation()
def no_pods(
    control_plane: ControlPlane, node: str, timeout_s: int
) -> Generator[StringCommand | FunctionCommand, None, None]:
    """Drain the node, within `timeout_s`. One that is not Ready can't tell its pods to end: they go with its Node."""
    found = _nodes(control_plane).get(node)
    if found is None or not _is_ready(found):
        host.noop(f"{node} is no node" if found is None else f"{node} is not Ready, and is not drained")
    else:
        yield control_plane.command(drain(node, timeout_s))


def draining(node: str, timeout_s: int) -> str:
    """kubectl's words."""
    return f"drain {node} --ignore-daemonsets --delete-emptydir-data --timeout {timeout_s}s"


def drain(node: str, timeout_s: int) -> str:
    """The command; where it fails, it says which pods are left there, and which budgets allow of no disruption."""
    budgets = (
        "{range .items[?(@.status.disruptionsAllowed==0)]}{.metadata.namespace}/{.metadata.name}: "
        'at least {.status.desiredHealthy} of {.status.expectedPods}{"\\n"}{end}'
    )
    return (
        f"{KUBECTL} {draining(node, timeout_s)} >/dev/null || {{ "
        f"echo 'Within {timeout_s} s these pods did not leave {node} (those of DaemonSets stay):' >&2; "
        f"{KUBECTL} get pods --all-namespaces --field-selector spec.nodeName={node} >&2; "
        "echo 'PodDisruptionBudgets that allow of no disruption now:' >&2; "
        f"{KUBECTL} get poddisruptionbudgets --all-namespaces --output jsonpath={shlex.quote(budgets)} >&2; exit 1; }}"
    )


@operation()
def no_node(control_plane: ControlPlane, node: str) -> Generator[StringCommand | FunctionCommand, None, None]:
    """Delete the Node object, and its pods at once: nobody else would tell of their end."""
    known = control_plane.ask(Nodes)
    if isinstance(known, Unknown) or node in known:
        yield control_plane.command(delete(node))
    else:
        host.noop(f"{node} is no node")


def delete(node: str) -> str:
    """The command."""
    return f"{KUBECTL} {deleting(node)}"


def deleting(node: str) -> str:
    """kubectl's words, and a second command.

    With its pods: a node that is back within a minute under this name would have them, and count their restarts.
    """
    pods = f"delete pods --all-namespaces --field-selector spec.nodeName={node} --force --grace-period 0"
    return f"delete node {node} --ignore-not-found 2>&1 && {KUBECTL} {pods} 2>&1"


def _nodes(control_plane: ControlPlane) -> Mapping[str, Mapping[str, Any]]:
    """The Node objects; while a run looks ahead and the API does not answer, none: all is foretold to change."""
    nodes = control_plane.ask(Nodes)
    return {} if isinstance(nodes, Unknown) else nodes


def _is_ready(node: Mapping[str, Any]) -> bool:
    conditions = node.get("status", {}).get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


@operation()
def marks(
    control_plane: ControlPlane, labels: Mapping[str, Mapping[str, str]], taints: Mapping[str, Sequence[str]]
) -> Generator[StringCommand | FunctionCommand, None, None]:
    """Keep each node's `labels` (node -> label -> value) and `taints` (node -> "key=value:Effect").

    An annotation remembers what a run has put on a node: what leaves the settings leaves the node, nothing else does.
    """
    nodes = _nodes(control_plane)
    changed = False
    for name in sorted(labels):
        for words in marking(nodes.get(name, {}), labels[name], taints[name]):
            changed = True
            arguments = " ".join(shlex.quote(word) for word in words[1:])
            yield control_plane.command(f"{KUBECTL} {words[0]} node {name} {arguments}")
    if not changed:
        host.noop("labels and taints are as they should be")


def marking(node: Mapping[str, Any], labels: Mapping[str, str], taints: Sequence[str]) -> list[list[str]]:
    """kubectl's words (verb, arguments) that give `node` its labels and taints and take old ones away."""
    metadata = node.get("metadata", {})
    managed = json.loads(metadata.get("annotations", {}).get(MANAGED, "{}"))
    current_taints = {_taint_text(taint) for taint in node.get("spec", {}).get("taints", [])}
    current_labels = metadata.get("labels", {})

    label_words = [f"{key}={value}" for key, value in labels.items() if current_labels.get(key) != value]
    label_words += [f"{key}-" for key in managed.get("labels", []) if key not in labels and key in current_labels]
    # "key=:Effect" and "key:Effect" are one taint.
    wanted = {taint.replace("=:", ":") for taint in taints}
    # A new value overwrites the old one; kubectl refuses to set and to remove a key's effect in one command.
    kept = {_key_and_effect(taint) for taint in wanted}
    gone = {taint for taint in managed.get("taints", []) if _key_and_effect(taint) not in kept}
    taint_words = sorted(wanted - current_taints) + [f"{taint}-" for taint in sorted(gone & current_taints)]

    now = {"labels": sorted(labels), "taints": sorted(wanted)}
    words = []
    if label_words:
        words.append(["label", "--overwrite", *label_words])
    if taint_words:
        words.append(["taint", "--overwrite", *taint_words])
    if now != {"labels": managed.get("labels", []), "taints": managed.get("taints", [])}:
        words.append(["annotate", "--overwrite", f"{MANAGED}={json.dumps(now)}"])
    return words


def _taint_text(taint: Mapping[str, str]) -> str:
    value = f"={taint['value']}" if taint.get("value") else ""
    return f"{taint['key']}{value}:{taint['effect']}"


def _key_and_effect(taint: str) -> tuple[str, str]:
    key_and_value, _, effect = taint.partition(":")
    return key_and_value.partition("=")[0], effect
