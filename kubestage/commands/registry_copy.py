"""The registry's volume, on the disk of another node: `python -m kubestage registry-copy INVENTORY NODE`.

A volume of the stack "storage" can't move, so it is copied: while nobody reads or writes it, from a pod on the one node
to a pod on the other. Every file is compared before the new one takes the place of the old one, which goes with its
data. What comes next follows from what is there: ended anywhere, the same command goes on.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kubestage.cluster.inventory import Target, TargetError, read
from kubestage.commands.api import connected
from kubestage.commands.remote import on
from kubestage.facts.volumes import nodes_of
from kubestage.kubernetes import FIELD_MANAGER, KUBECTL, STACK_LABEL
from kubestage.render.volume_pod import MOUNTED, pod
from kubestage.stacks.registry import CLAIM, CLEANUP, NAMESPACE

COPY = "registry-copy"  # the new claim, until all is done
_FROM, _TO = f"{COPY}-from", f"{COPY}-to"  # the pods
COPIED = "kubestage/copied"  # annotation of a volume that has all that the old one had
_WITHIN_S = 120


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own words."""
    parser.add_argument("node", help="on whose disk the images are to be")


def main(given: argparse.Namespace) -> int:
    """Move it; 0."""
    target = read(given.inventory)
    settings = target.cluster.common
    if "registry" not in settings.stacks or "storage" not in settings.stacks or settings.storage_class:
        raise TargetError(
            f"{target.inventory}: the registry has no volume on a node's disk by these settings\n"
            "    -> there is nothing to move"
        )
    if given.node not in target.cluster.nodes:
        known = ", ".join(target.cluster.nodes)
        raise TargetError(f"{target.inventory}: there is no host {given.node!r}\n    -> name one of: {known}")
    Move(target, given.node).go()
    return 0


def volumes(items: Sequence[Mapping[str, Any]]) -> dict[str, Volume]:
    """The claim's name -> its PersistentVolume, of those of the registry's namespace that are to stay."""
    found = {}
    for each in items:
        claim = each["spec"].get("claimRef", {})
        copied = COPIED in each["metadata"].get("annotations", {})
        if claim.get("namespace") == NAMESPACE and (copied or each["status"]["phase"] == "Bound"):
            node = next(iter(nodes_of(each["spec"])), "")
            found[claim["name"]] = Volume(each["metadata"]["name"], node, copied, each["spec"])
    return found


@dataclass(frozen=True)
class Volume:
    """A PersistentVolume: on which node it lies, and whether all of the images are in it that were copied."""

    name: str
    node: str
    copied: bool
    spec: Mapping[str, Any]

    def claim(self, name: str) -> dict[str, Any]:
        """A PersistentVolumeClaim of that name, as the stack's manifest has the registry's."""
        return {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {
                "name": name,
                "namespace": NAMESPACE,
                **({"labels": {STACK_LABEL: "registry"}} if name == CLAIM else {}),
            },
            "spec": {
                "accessModes": self.spec["accessModes"],
                "storageClassName": self.spec["storageClassName"],
                "resources": {"requests": {"storage": self.spec["capacity"]["storage"]}},
            },
        }


@dataclass(frozen=True)
class Move:
    """Of the registry's volume to the disk of `node`."""

    target: Target
    node: str

    def go(self) -> None:
        """All that is left to do."""
        now = self._volumes()
        there, copy = now.get(CLAIM), now.get(COPY)
        if not (there and there.node == self.node and not there.copied):
            source = there or copy
            if source is None:
                raise TargetError(f"the registry has no volume\n    -> {self.target.deploy}")
            self._step("the registry ends", self._end)
            if not ((copy and copy.copied) or (there and there.copied)):
                self._step(f"copy to {self.node}", lambda: self._copy(source))
            self._step("the copy takes the place", self._swap)
        self._step("the registry serves", self._serve)
        print(f"The registry's images are on {self.node}.")

    def _volumes(self) -> dict[str, Volume]:
        with connected(self.target) as api:
            return volumes(api.items("/api/v1/persistentvolumes"))

    def _step(self, name: str, work: Any) -> None:
        begin = time.monotonic()
        print(f"{name} ...", flush=True)
        work()
        print(f"{name}: {time.monotonic() - begin:.1f} s", flush=True)

    def _kubectl(self, words: str, remedy: str, *objects: Mapping[str, Any]) -> str:
        given = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}) if objects else ""
        command = f"{KUBECTL} -n {NAMESPACE} {words} 2>&1"
        return on(self.target, self.target.first, f"kubectl {words.split()[0]}", command, remedy, given)

    def _end(self) -> None:
        again = "give the same command again"
        self._suspend(True)
        self._kubectl("scale deployment/registry --replicas 0", again)
        self._kubectl(f"wait --for=delete pod -l app=registry --timeout {_WITHIN_S}s", again)
        self._kubectl(f"wait --for=delete pod -l app={CLEANUP} --timeout {_WITHIN_S}s", "a cleanup is at work: wait")

    def _suspend(self, wanted: bool) -> None:
        patch = json.dumps({"spec": {"suspend": wanted}})
        self._kubectl(f"patch cronjob {CLEANUP} --patch '{patch}'", self.target.deploy)

    def _copy(self, source: Volume) -> None:
        image = self.target.cluster.common.busybox_image
        look = f"kubectl -n {NAMESPACE} describe pods; then give the same command again"
        end = f"delete pods {_FROM} {_TO} --ignore-not-found --wait"
        self._kubectl(end, look)
        self._kubectl(
            f"apply --server-side --field-manager {FIELD_MANAGER} -f -",
            look,
            source.claim(COPY),
            pod(_FROM, NAMESPACE, CLAIM, image),
            pod(_TO, NAMESPACE, COPY, image, self.node),
        )
        self._kubectl(f"wait --for=condition=Ready pod/{_FROM} pod/{_TO} --timeout {_WITHIN_S}s", look)
        read, written = (f"{KUBECTL} -n {NAMESPACE} exec -i {name} -- tar -C {MOUNTED}" for name in (_FROM, _TO))
        on(self.target, self.target.first, "copy", f"{read} -cf - . </dev/null | {written} -xf - 2>&1", look)
        sums = f"sh -c 'cd {MOUNTED} && find . -type f -exec sha256sum {{}} + | sort | sha256sum'"
        old, new = (self._kubectl(f"exec {name} -- {sums}", look) for name in (_FROM, _TO))
        if old != new:
            raise TargetError(f"{self.node}: the copy differs from what it is of\n    -> {look}")
        self._kubectl(end, look)
        self._kubectl(f"annotate persistentvolume {self._volumes()[COPY].name} {COPIED}=true --overwrite", look)

    def _swap(self) -> None:
        """The volume stays when its claim goes; the old one goes with its own, and then it is the registry's."""
        again = "give the same command again"
        now = self._volumes()
        new = next(each for each in now.values() if each.copied)
        name = f"persistentvolume {new.name}"
        self._kubectl(f'patch {name} --patch \'{{"spec":{{"persistentVolumeReclaimPolicy":"Retain"}}}}\'', again)
        if now.get(CLAIM) != new:
            self._kubectl(f"delete persistentvolumeclaim {COPY} {CLAIM} --ignore-not-found", again)
            reference = {"namespace": NAMESPACE, "name": CLAIM, "uid": None, "resourceVersion": None}
            patch = json.dumps({"spec": {"claimRef": reference}})
            self._kubectl(f"patch {name} --type merge --patch '{patch}'", again)
        self._kubectl(
            f"apply --server-side --force-conflicts --field-manager {FIELD_MANAGER} -f -", again, new.claim(CLAIM)
        )
        self._kubectl(f"wait --for=jsonpath='{{.status.phase}}'=Bound pvc/{CLAIM} --timeout {_WITHIN_S}s", again)
        self._kubectl(f'patch {name} --patch \'{{"spec":{{"persistentVolumeReclaimPolicy":"Delete"}}}}\'', again)
        self._kubectl(f"annotate {name} {COPIED}-", again)

    def _serve(self) -> None:
        look = f"kubectl -n {NAMESPACE} describe pods -l app=registry"
        self._kubectl("scale deployment/registry --replicas 1", look)
        self._kubectl(f"rollout status deployment/registry --timeout {_WITHIN_S}s", look)
        self._suspend(False)
