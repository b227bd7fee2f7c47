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
