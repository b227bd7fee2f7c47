"""The registry's volume on another node's disk: what is done in each state in which it may have been ended."""

from __future__ import annotations

import argparse
from types import SimpleNamespace
from typing import Any

import pytest
from sample_cluster import GROUPS, hosts_data

from kubestage.checks.load import load
from kubestage.cluster.inventory import TargetError
from kubestage.commands import registry_copy
from kubestage.commands.registry_copy import COPIED, Move, volumes


def volume(name: str, claim: str, node: str, phase: str = "Bound", copied: bool = False) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "annotations": {COPIED: "true"} if copied else {}},
        "spec": {
            "claimRef": {"namespace": "registry", "name": claim},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "local-path",
            "capacity": {"storage": "20Gi"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [{"values": [node]}]}]}},
        },
        "status": {"phase": phase},
    }


OLD = volume("old", "registry", "cp1")
TARGET: Any = SimpleNamespace(
    cluster=load(hosts_data(), GROUPS), inventory="inventory/mine.py", first="cp1", deploy="pyinfra i deploy.py"
)


@pytest.mark.parametrize(
    ("items", "steps"),
    [
        ([OLD], ["_end", "_copy", "_swap", "_serve"]),
        ([OLD, volume("new", "registry-copy", "w1")], ["_end", "_copy", "_swap", "_serve"]),
        ([OLD, volume("new", "registry-copy", "w1", copied=True)], ["_end", "_swap", "_serve"]),
        ([volume("new", "registry-copy", "w1", "Released", copied=True)], ["_end", "_swap", "_serve"]),
        (
            [volume("old", "registry", "cp1", "Released"), volume("new", "registry", "w1", "Available", copied=True)],
            ["_end", "_swap", "_serve"],
        ),
        ([volume("new", "registry", "w1")], ["_serve"]),
    ],
    ids=["at the beginning", "copied in part", "copied", "claims gone", "not bound yet", "done"],
)
def test_it_goes_on(items: list[dict[str, Any]], steps: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    did: list[str] = []
    monkeypatch.setattr(Move, "_volumes", lambda _self: volumes(items))
    for name in ("_end", "_copy", "_swap", "_serve"):
        monkeypatch.setattr(Move, name, lambda _self, *_given, name=name: did.append(name))
    Move(TARGET, "w1").go()
    assert did == steps


def told(items: list[dict[str, Any]], sums: tuple[str, str], monkeypatch: pytest.MonkeyPatch, step: str) -> list[str]:
    """The commands of one step."""
    did: list[str] = []

    def on(_target: Any, _name: str, _what: str, command: str, _remedy: str, _given: str = "") -> str:
        did.append(command)
        return sums["-to -- " in command] if "sha256sum" in command else ""

    monkeypatch.setattr(Move, "_volumes", lambda _self: volumes(items))
    monkeypatch.setattr(registry_copy, "on", on)
    move = Move(TARGET, "w1")
    if step == "copy":
        move._copy(volumes(items)["registry"])
    else:
        move._swap()
    return did


def test_a_copy_that_differs_takes_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    items = [OLD, volume("new", "registry-copy", "w1")]
    with pytest.raises(TargetError, match="the copy differs"):
        told(items, ("a  -", "b  -"), monkeypatch, "copy")
    did = told(items, ("a  -", "a  -"), monkeypatch, "copy")
    assert f"annotate persistentvolume new {COPIED}=true" in did[-1]


def test_the_new_one_outlives_the_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    did = told([OLD, volume("new", "registry-copy", "w1", copied=True)], ("", ""), monkeypatch, "swap")
    order = [
        next(n for n, each in enumerate(did) if word in each) for word in ("Retain", "delete ", "claimRef", "Bound")
    ]
    assert order == sorted(order) and '"Delete"' in did[-2] and "patch persistentvolume old" not in " ".join(did)


@pytest.mark.parametrize(
    ("node", "settings", "said"),
    [("w9", {}, "there is no host 'w9'"), ("w1", {"storage_class": "nfs"}, "nothing to move")],
)
def test_refused(node: str, settings: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    target = SimpleNamespace(cluster=load(hosts_data(settings), GROUPS), inventory="i")
    monkeypatch.setattr(registry_copy, "read", lambda _inventory: target)
    with pytest.raises(TargetError, match=said):
        registry_copy.main(argparse.Namespace(inventory="i", node=node))
