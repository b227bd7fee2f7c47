"""A stack: its manifests, the Secrets made of files on the control plane host, and what has to be ready to serve."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import SecretStr

from kubestage.facts.kubernetes import Workload
from kubestage.facts.stack_objects import ObjectName
from kubestage.host_file import HostFile
from kubestage.kubernetes import MANIFESTS, PLATFORM_NAMESPACE, STACK_LABEL
from kubestage.settings import ClusterSettings
from kubestage.stacks.labels import labelled
from kubestage.stacks.platform_secrets import Kept, kept

_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parents[2] / "files"),
    undefined=StrictUndefined,
    keep_trailing_newline=True,
    autoescape=False,  # YAML, not HTML
)
_templates.filters["digest"] = lambda text: hashlib.sha256(text.encode()).hexdigest()[:16]

DOWNLOADED = "manifest.yaml"  # of others, as it was downloaded, in a folder with what kubectl makes of it
RECORD_TYPE = "kubestage/stack"  # of the Secrets that say what was applied
RECORD = "stack."  # before a stack's name, in that of the Secret that says what was applied
_KUSTOMIZATION = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
_IMAGE = re.compile(r"^[- ]*image: *(\S+)", re.MULTILINE)  # also in a manifest within a ConfigMap

Text = Callable[[Mapping[str, str]], str]  # of a manifest, by the answers to what its stack has asked


def _empty(answers: Mapping[str, str]) -> str:
    return ""


@dataclass(frozen=True)
class Namespace:
    """A stack's own namespace; `pod_security`: what its pods may do (enforced Pod Security Standard)."""

    name: str
    pod_security: str = "restricted"


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
class Upstream:
    """A manifest of others, applied whole before the stack's own: what is at `url`, if it has this SHA-256.

    `images`: an image in it, without its tag -> the one that is run instead, whole.
    `workloads` of it are ready, and its CRDs served, before anything else is applied.
    """

    url: str
    sha256: str
    images: Mapping[str, str] = field(default_factory=dict)
    workloads: tuple[Workload, ...] = ()


@dataclass(frozen=True)
class Certificates:
    """Certificates of a CA of their own, in a `folder` of the control plane host. `uses`: name -> how it is used."""

    folder: str
    uses: Mapping[str, Any]

    @property
    def kept(self) -> Kept:
        """How the cluster keeps them, so that another control plane host has the same."""
        names = [*(f"{name}.{ending}" for name in self.uses for ending in ("key", "crt")), "ca.crt"]
        return kept(f"certificates.{PurePosixPath(self.folder).name}", [f"{self.folder}/{name}" for name in names])


@dataclass(frozen=True)
class Logins:
    """Users with passwords, kept in files of a `folder` of the control plane host, and in the cluster as `kept`."""

    site: str
    passwords: Mapping[str, SecretStr]
    folder: str
    kept: Kept


@dataclass(frozen=True)
class Stack:
    """All that a stack puts into the cluster: namespaces, Secrets, what others wrote, its own manifest; in that order.

    `text`: of its own manifest, if it has any beside what others have written. `asked`: a variable in it -> the command
    that prints its value on the control plane host, in one line.
    `others`: namespaces that are made where they are missing, and stay when the stack goes: they are not its own.
    `certificates`, `logins`: made on the control plane host before, and gone with the stack.
    `apis`: names of the APIServices by which the API server hands requests on to the `workloads`.
    `storage_class`: whose volumes have to be deleted while the stack is there. `node_folder`: of every node; when the
    stack has gone and nothing is in it, it goes.
    """

    name: str
    text: Text = _empty
    asked: Mapping[str, str] = field(default_factory=dict)
    namespace: Namespace | None = None
    others: tuple[str, ...] = ()
    secrets: tuple[Secret, ...] = ()
    upstream: tuple[Upstream, ...] = ()
    certificates: Certificates | None = None
    logins: Logins | None = None
    workloads: tuple[Workload, ...] = ()
    apis: tuple[str, ...] = ()
    storage_class: str = ""
    node_folder: str = ""

    @property
    def folder(self) -> str:
        """Of its manifests, on the control plane host."""
        return f"{MANIFESTS}/{self.name}"

    @property
    def manifest(self) -> HostFile:
        """Its own, as far as it can be told without asking."""
        return self.filled({})

    def filled(self, answers: Mapping[str, str]) -> HostFile:
        """Its own manifest with the `answers` in it. Its objects bear the label by which they are known."""
        text = self.text({**dict.fromkeys(self.asked, ""), **answers})
        return HostFile(f"{self.folder}/manifest.yaml", labelled(text, self.name))

    @property
    def namespaces(self) -> HostFile:
        """The manifest of the namespaces that it needs. Of others' it says the name alone: their labels stay."""
        own = (
            {"labels": {STACK_LABEL: self.name, "pod-security.kubernetes.io/enforce": self.namespace.pod_security}}
            if self.namespace
            else {}
        )
        documents = [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, **labels}}
            for name, labels in (
                *([(self.namespace.name, own)] if self.namespace else []),
                *((name, {}) for name in (PLATFORM_NAMESPACE, *self.others)),
            )
        ]
        return HostFile(f"{self.folder}/namespaces.yaml", _yaml(*documents))

    @property
    def secrets_folder(self) -> str:
        return f"{self.folder}/secrets"

    def upstream_folder(self, number: int) -> str:
        """Of what is downloaded, and what kubectl makes of it."""
        return f"{self.folder}/upstream-{number}"

    def files(self, answers: Mapping[str, str]) -> list[HostFile]:
        """Those on the control plane host, beside what is downloaded."""
        return [self.namespaces, *self._made, self.filled(answers), self.record]

    @property
    def sources(self) -> list[str]:
        """The other files of which its objects are made: values of its Secrets, and what others have written."""
        values = [path for secret in self.secrets for path in secret.keys.values()]
        return [*values, *(f"{self.upstream_folder(number)}/{DOWNLOADED}" for number in range(len(self.upstream)))]

    @property
    def _made(self) -> list[HostFile]:
        """What kubectl makes Secrets and others' objects by."""
        made = {self.secrets_folder: self._secrets} if self.secrets else {}
        made |= {self.upstream_folder(number): self._upstream(each) for number, each in enumerate(self.upstream)}
        return [HostFile(f"{folder}/kustomization.yaml", _yaml(content)) for folder, content in made.items()]

    @property
    def _secrets(self) -> dict[str, Any]:
        return {
            **_KUSTOMIZATION,
            "generatorOptions": {"disableNameSuffixHash": True, "labels": {STACK_LABEL: self.name}},
            "secretGenerator": [
                {
                    "namespace": secret.namespace,
                    "name": secret.name,
                    "type": secret.type,
                    "files": [f"{key}={path}" for key, path in secret.keys.items()],
                }
                for secret in self.secrets
            ],
        }

    def _upstream(self, upstream: Upstream) -> dict[str, Any]:
        return {
            **_KUSTOMIZATION,
            "resources": [DOWNLOADED],
            "labels": [{"pairs": {STACK_LABEL: self.name}}],
            "images": [_image(name, image) for name, image in upstream.images.items()],
        }

    @property
    def images(self) -> list[str]:
        """What its pods run, sorted."""
        others = (image for each in self.upstream for image in each.images.values())
        return sorted({*_IMAGE.findall(self.manifest.content), *others})

    @property
    def digest(self) -> str:
        """Another one wherever settings make something else of the stack (SHA-256)."""
        files = (self.namespaces, *self._made, self.manifest)
        content = "\n".join([*(file.content for file in files), *(each.sha256 for each in self.upstream)])
        return hashlib.sha256(content.encode()).hexdigest()

    @property
    def record(self) -> HostFile:
        """The manifest of the Secret that says, in the cluster, what was applied of the stack."""
        said = {"images": "\n".join(self.images), "digest": self.digest}
        document = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": f"{RECORD}{self.name}",
                "namespace": PLATFORM_NAMESPACE,
                "labels": {STACK_LABEL: self.name},
            },
            "type": RECORD_TYPE,
            "data": {key: base64.b64encode(value.encode()).decode() for key, value in said.items()},
        }
        return HostFile(f"{self.folder}/record.yaml", _yaml(document))

    @property
    def objects(self) -> frozenset[ObjectName]:
        """What it puts into the cluster and keeps there, but for what is `upstream`, which others have written."""
        secrets = (ObjectName("", "Secret", secret.namespace, secret.name) for secret in self.secrets)
        own = [ObjectName("", "Namespace", "", self.namespace.name)] if self.namespace else []
        record = ObjectName("", "Secret", PLATFORM_NAMESPACE, f"{RECORD}{self.name}")
        return frozenset((*map(_name, _documents(self.manifest.content)), *own, *secrets, record))

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


def _yaml(*documents: dict[str, Any]) -> str:
    return yaml.dump_all(documents, Dumper=yaml.CSafeDumper, sort_keys=False)


def _image(name: str, image: str) -> dict[str, str]:
    """As a kustomization has what is run instead of the image `name`."""
    whole, _, digest = image.partition("@")
    path, colon, tag = whole.rpartition(":")
    if "/" in tag or not colon:  # the port of a registry
        path, tag = whole, ""
    new = {"newTag": tag, "digest": digest}
    return {"name": name, "newName": path, **{key: value for key, value in new.items() if value}}


@lru_cache(maxsize=64)
def _documents(content: str) -> list[dict[str, Any]]:
    return [document for document in yaml.load_all(content, yaml.CSafeLoader) if document]


def _name(document: dict[str, Any]) -> ObjectName:
    group = document["apiVersion"].rpartition("/")[0]
    metadata = document["metadata"]
    return ObjectName(group, document["kind"], metadata.get("namespace", ""), metadata["name"])


def recorded(secrets: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Stack -> its digest when it was applied, of the Secrets (as the API has them) that are records."""
    records = (secret for secret in secrets if secret.get("type") == RECORD_TYPE)
    return {
        secret["metadata"]["name"].removeprefix(RECORD): base64.b64decode(secret["data"]["digest"]).decode()
        for secret in records
    }


def template(name: str, settings: ClusterSettings, **values: object) -> Text:
    """The text of files/NAME/NAME.yaml.j2, with `settings`, `values` and what its stack has asked filled in."""
    made = _templates.get_template(f"{name}/{name}.yaml.j2")
    return lambda answers: made.render(settings=settings, **values, **answers)
