"""A stack: its manifest, the Secrets made of files on the control plane host, and what has to be ready to serve."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from kubestage.facts.kubernetes import Workload
from kubestage.host_file import HostFile
from kubestage.kubernetes import MANIFESTS
from kubestage.settings import Settings

STACK_LABEL = "kubestage/stack"  # label of a Secret: the stack that it was made for

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

    def readers(self, config_maps: Collection[tuple[str, str]]) -> list[Workload]:
        """The workloads whose pods mount one of these ConfigMaps, (namespace, name)."""
        found = []
        for each in yaml.safe_load_all(self.manifest.content) if config_maps else ():
            pod = each.get("spec", {}).get("template", {}).get("spec", {}) if each else {}
            namespace = each["metadata"].get("namespace", "") if pod else ""
            mounted = {volume["configMap"]["name"] for volume in pod.get("volumes", ()) if "configMap" in volume}
            if any((namespace, name) in config_maps for name in mounted):
                found.append(Workload(namespace, each["kind"], each["metadata"]["name"]))
        return found


def manifest(name: str, settings: Settings, **values: object) -> HostFile:
    """files/NAME/NAME.yaml.j2 with `settings` and `values` filled in."""
    return HostFile(f"{MANIFESTS}/{name}.yaml", render(f"{name}/{name}.yaml.j2", settings, **values))


def render(template: str, settings: Settings, **values: object) -> str:
    """A template of files/ with `settings` and `values` filled in."""
    return _templates.get_template(template).render(settings=settings, **values)
