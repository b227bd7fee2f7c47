"""Nodes are waited for, labelled and tainted; and left alone where they are as they should be."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from fake_hosts import Facts, fact, run_for_all
from pyinfra.api import OperationError

from kubestage.facts.kubernetes import Nodes
from kubestage.operations import nodes
from kubestage.operations.explained import or_explained

KUBECTL = "kubectl --kubeconfig /etc/kubernetes/admin.conf"
Taints = Sequence[tuple[str, str, str]]  # key, value, effect


def node(
    name: str,
    ready: bool = True,
    labels: dict[str, str] | None = None,
    taints: Taints = (),
    managed: dict[str, list[str]] | None = None,
) -> dict[str, Any]:
    """A Node object as the API gives it, with a label and an annotation of the kubelet's own."""
    annotations = {"node.alpha.kubernetes.io/ttl": "0"}
    if managed is not None:
        annotations["kubestage/managed"] = json.dumps(managed)
    conditions = [
        {"type": "MemoryPressure", "status": "False"},
        {"type": "Ready", "status": "True" if ready else "Unknown"},
    ]
    given = [{"key": key, "effect": effect, **({"value": value} if value else {})} for key, value, effect in taints]
    return {
        "metadata": {
            "name": name,
            "labels": {"kubernetes.io/hostname": name, **(labels or {})},
            "annotations": annotations,
        },
        "spec": {"taints": given} if given else {},
        "status": {"conditions": conditions},
    }


def known(*objects: dict[str, Any]) -> Facts:
    return {fact(Nodes): [json.dumps({"items": objects})]}


def wait(*waiting: str) -> str:
    return f"{KUBECTL} wait --for=condition=Ready --timeout=180s {' '.join(waiting)} " + or_explained(
        f"{KUBECTL} get nodes -o wide; {KUBECTL} get pods -A -o wide"
    )


class TestReady:
    def test_all_are(self) -> None:
        facts = known(node("cp1"), node("w1"), node("other", ready=False))
        assert run_for_all(nodes.readiness, facts, names=["cp1", "w1"]) == []

    def test_some_are_not(self) -> None:
        facts = known(node("cp1"), node("w1", ready=False))
        assert run_for_all(nodes.readiness, facts, names=["cp1", "w1", "w2"]) == [wait("node/w1", "node/w2")]

    def test_from_a_worker(self) -> None:
        facts = known(node("cp1"), node("w1", ready=False))
        assert run_for_all(nodes.readiness, facts, on="w1", names=["w1"]) == [wait("node/w1")]

    def test_no_cluster_yet(self) -> None:
        assert run_for_all(nodes.readiness, {fact(Nodes): ["none"]}, names=["cp1"]) == [wait("node/cp1")]

    def test_nobody_says(self) -> None:
        with pytest.raises(OperationError, match="cp1: for 0 s the API server gave no answer: EOF"):
            run_for_all(nodes.readiness, {fact(Nodes): ["unknown EOF"]}, names=["cp1"])


class TestMarked:
    def go(self, *objects: dict[str, Any]) -> list[str]:
        return run_for_all(
            nodes.marks,
            known(*objects),
            labels={"cp1": {}, "w1": {"disk": "ssd"}},
            taints={"cp1": [], "w1": ["gpu=a b:NoSchedule"]},
        )

    def test_differing(self) -> None:
        assert self.go(node("cp1"), node("w1")) == [
            f"{KUBECTL} label node w1 --overwrite disk=ssd",
            f"{KUBECTL} taint node w1 --overwrite 'gpu=a b:NoSchedule'",
            f"{KUBECTL} annotate node w1 --overwrite "
            """'kubestage/managed={"labels": ["disk"], "taints": ["gpu=a b:NoSchedule"]}'""",
        ]

    def test_as_they_should_be(self) -> None:
        managed = {"labels": ["disk"], "taints": ["gpu=a b:NoSchedule"]}
        worker = node("w1", labels={"disk": "ssd"}, taints=[("gpu", "a b", "NoSchedule")], managed=managed)
        assert self.go(node("cp1"), worker) == []


def managed(labels: Sequence[str] = (), taints: Sequence[str] = ()) -> dict[str, list[str]]:
    return {"labels": list(labels), "taints": list(taints)}


def annotate(labels: Sequence[str] = (), taints: Sequence[str] = ()) -> list[str]:
    return ["annotate", "--overwrite", f"kubestage/managed={json.dumps(managed(labels, taints))}"]


GPU = ("gpu", "yes", "NoSchedule")
OURS = "gpu=yes:NoSchedule"


@pytest.mark.parametrize(
    ("current", "labels", "taints", "words"),
    [
        pytest.param(node("w1"), {}, [], [], id="nothing to do"),
        pytest.param({}, {"disk": "ssd"}, [], [["label", "--overwrite", "disk=ssd"], annotate(["disk"])], id="no node"),
        pytest.param(
            node("w1", labels={"disk": "hdd"}, managed=managed(["disk"])),
            {"disk": "ssd"},
            [],
            [["label", "--overwrite", "disk=ssd"]],
            id="label changed by hand",
        ),
        pytest.param(
            node("w1", labels={"disk": "ssd", "theirs": "1"}, managed=managed(["disk"])),
            {},
            [],
            [["label", "--overwrite", "disk-"], annotate()],
            id="label left the settings",
        ),
        pytest.param(
            node("w1", managed=managed(["disk"])), {}, [], [annotate()], id="label left both settings and node"
        ),
        pytest.param(
            node("w1", taints=[GPU], managed=managed(taints=[OURS])), {}, [OURS], [], id="taint as it should be"
        ),
        pytest.param(
            node("w1", managed=managed(taints=[OURS])),
            {},
            [OURS],
            [["taint", "--overwrite", OURS]],
            id="taint removed by hand",
        ),
        pytest.param(
            node(
                "w1", taints=[GPU, ("node.kubernetes.io/not-ready", "", "NoSchedule")], managed=managed(taints=[OURS])
            ),
            {},
            [],
            [["taint", "--overwrite", f"{OURS}-"], annotate()],
            id="taint left the settings, and Kubernetes' own stays",
        ),
        pytest.param(
            node("w1", managed=managed(taints=[OURS])), {}, [], [annotate()], id="taint left both settings and node"
        ),
        pytest.param(
            node("w1", taints=[GPU], managed=managed(taints=[OURS])),
            {},
            ["gpu=no:NoSchedule"],
            [["taint", "--overwrite", "gpu=no:NoSchedule"], annotate(taints=["gpu=no:NoSchedule"])],
            id="taint with a new value: kubectl refuses to remove the old one in the same command",
        ),
        pytest.param(
            node("w1", taints=[GPU], managed=managed(taints=[OURS])),
            {},
            ["gpu=yes:NoExecute"],
            [
                ["taint", "--overwrite", "gpu=yes:NoExecute", f"{OURS}-"],
                annotate(taints=["gpu=yes:NoExecute"]),
            ],
            id="taint with a new effect",
        ),
        pytest.param(
            node("w1", taints=[("a", "", "NoSchedule")], managed=managed(taints=["a:NoSchedule"])),
            {},
            ["a=:NoSchedule"],
            [],
            id="an empty value is none",
        ),
        pytest.param(
            node("cp1", taints=[("node-role.kubernetes.io/control-plane", "", "NoSchedule")]),
            {},
            ["node-role.kubernetes.io/control-plane:NoSchedule"],
            [annotate(taints=["node-role.kubernetes.io/control-plane:NoSchedule"])],
            id="kubeadm's own taint is taken over",
        ),
    ],
)
def test_marking(current: dict[str, Any], labels: dict[str, str], taints: list[str], words: list[list[str]]) -> None:
    assert nodes.marking(current, labels, taints) == words


def test_marked_from_a_worker() -> None:
    facts = known(node("cp1"), node("w1"))
    commands = run_for_all(nodes.marks, facts, on="w1", labels={"w1": {"disk": "ssd"}}, taints={"w1": []})
    assert commands[0] == f"{KUBECTL} label node w1 --overwrite disk=ssd"
