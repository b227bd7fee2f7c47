"""A stack: its manifest, the Secrets made of files on the control plane host, and what has to be ready to serve."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from kubestage.facts.kubernetes import Workload
from kubestage.facts.stack_objects import ObjectName
from kubestage.host_file import HostFile
from kubestage.kubernetes import MANIFESTS
from kubestage.settings import ClusterSettings
from kubestage.stacks.labels import labelled

_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parents[2] / "files"),
    undefined=StrictUndefined,
    keep_trailing_newline=True,
    autoescape=False,  # YAML, not HTML
)
_templates.filters["digest"] = lambda text: hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Secret:
    """A Secret whose values are files on the control plane host: they are never read into a run.

    `keys`: the key in the Secret -> the file's path.
    """

    namespace: str
    name: str
    keys: Mapping[str, str]
    type: str = "Opaque"


@dataclass(frozen=True)
class Stack:
    """All that a stack puts into the cluster: the first document of its manifest (a Namespace), its Secrets, the rest.

    `apis`: names of the APIServices by which the API server hands requests on to the `workloads`.
    `namespaces` are made where they are missing, and stay when the stack goes: they are others'.
    `filled`: a word in the manifest -> the command that prints, on the control plane host, what stands in its place.
    `definitions`: a file of CRDs on the control plane host, applied before all else, and removed after it.
    """

    name: str
    manifest: HostFile
    secrets: tuple[Secret, ...] = ()
    workloads: tuple[Workload, ...] = ()
    apis: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    filled: Mapping[str, str] = field(default_factory=dict)
    definitions: str = ""

    @property
    def objects(self) -> frozenset[ObjectName]:
        """What it puts into the cluster and keeps there, but for the `definitions`, which are others' to write."""
        secrets = (ObjectName("", "Secret", secret.namespace, secret.name) for secret in self.secrets)
        return frozenset((*map(_name, _documents(self.manifest.content)), *secrets))

    def readers(self, config_maps: Collection[tuple[str, str]]) -> list[Workload]:
        """The workloads whose pods mount one of these ConfigMaps, (namespace, name)."""
        found = []
        for each in _documents(self.manifest.content) if config_maps else ():
            pod = each.get("spec", {}).get("template", {}).get("spec", {})
            namespace = each["metadata"].get("namespace", "") if pod else ""
            mounted = {volume["configMap"]["name"] for volume in pod.get("volumes", ()) if "configMap" in volume}
            if any((namespace, name) in config_maps for name in mounted):
                found.append(Workload(namespace, each["kind"], each["metadata"]["name"]))
        return found


def _documents(content: str) -> list[dict[str, Any]]:
    return [document for document in yaml.load_all(content, yaml.CSafeLoader) if document]


def _name(document: dict[str, Any]) -> ObjectName:
    group = document["apiVersion"].rpartition("/")[0]
    metadata = document["metadata"]
    return ObjectName(group, document["kind"], metadata.get("namespace", ""), metadata["name"])


def manifest(name: str, settings: ClusterSettings, **values: object) -> HostFile:
    """The manifest of the stack `name`: files/NAME/NAME.yaml.j2 with `settings` and `values` filled in."""
    return manifest_file(name, render(f"{name}/{name}.yaml.j2", settings, **values))


def manifest_file(stack: str, content: str) -> HostFile:
    """The stack's manifest as the control plane host has it: its objects bear the label by which they are known."""
    return HostFile(f"{MANIFESTS}/{stack}.yaml", labelled(content, stack))


def render(template: str, settings: ClusterSettings, **values: object) -> str:
    """A template of files/ with `settings` and `values` filled in."""
    return _templates.get_template(template).render(settings=settings, **values)
