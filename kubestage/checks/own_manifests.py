"""Rules about the user's own manifests, whose files are on the machine that runs pyinfra."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from kubestage.checks.own_files import Unusable, text
from kubestage.settings import Problem
from kubestage.settings.cluster import ALL_HOSTS, Cluster
from kubestage.settings.manifests import Source
from kubestage.stacks.own_manifests import ENDINGS, local_files

_PLAIN = re.compile(r"[A-Za-z0-9._/+@=-]+")  # names that need no quotes in a shell
_KUSTOMIZATION = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_HERE = "correct the path; it is on the machine that runs pyinfra"

Object = tuple[str, str, str, str]  # group, kind, namespace, name


def sources(cluster: Cluster) -> Iterator[Problem]:
    owners: dict[Object, str] = {}
    for name, source in cluster.common.manifests.items():
        if source.url:
            continue
        if problem := _unusable(source):
            yield Problem(ALL_HOSTS, *problem, f"manifests.{name}", source.path)
            continue
        for file in () if source.kustomize else local_files(source):
            try:
                objects = _objects(text(str(file)))
            except Unusable as error:
                yield Problem(ALL_HOSTS, error.reason, error.remedy, f"manifests.{name}", str(file))
                continue
            for each in objects:
                if each in owners:
                    kind, where = " ".join(filter(None, (each[1], each[2], each[3]))), owners[each]
                    why, remedy = f"{kind} is in it, and in {where} as well", "leave it in one of them"
                    yield Problem(ALL_HOSTS, why, remedy, f"manifests.{name}", str(file))
                owners[each] = str(file)


def _unusable(source: Source) -> tuple[str, str] | None:
    """Reason and remedy, where the path can't be what it is said to be."""
    path = Path(source.path).expanduser()
    if not path.exists():
        return "there is no such file or folder", _HERE
    if source.kustomize:
        if not any((path / source.kustomize / name).is_file() for name in _KUSTOMIZATION):
            return f"there is no kustomization.yaml in its {source.kustomize}", _HERE
    elif path.is_dir() and not any(local_files(source)):
        return f"there is no file in it that ends with {', '.join(ENDINGS)}", _HERE
    for file in local_files(source):
        below = file.relative_to(path).as_posix() if path.is_dir() else file.name
        if not _PLAIN.fullmatch(below):
            return f"the name of its file {below!r} has blanks or other odd characters", "rename the file"
    return None


def _objects(content: str) -> list[Object]:
    """What is in a file of manifests; raises Unusable."""
    try:
        documents = [each for each in yaml.load_all(content, yaml.CSafeLoader) if each is not None]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise Unusable(f"it is no YAML{where}: {getattr(error, 'problem', error)}", "correct it") from None
    found: list[Object] = []
    for number, each in enumerate(documents, 1):
        found += _of_document(each, number)
    return found


def _of_document(document: Any, number: int) -> Iterator[Object]:
    if isinstance(document, dict) and str(document.get("kind", "")).endswith("List") and "items" in document:
        for each in document["items"] or ():
            yield from _of_document(each, number)
        return
    metadata = document.get("metadata") if isinstance(document, dict) else None
    parts = [document.get("apiVersion"), document.get("kind")] if isinstance(document, dict) else []
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not parts or not all(isinstance(part, str) and part for part in (*parts, name)):
        raise Unusable(
            f"document {number} in it is no object of Kubernetes: apiVersion, kind or metadata.name is missing",
            "correct it, or keep it out of this folder",
        )
    version, kind = map(str, parts)
    yield version.rpartition("/")[0], kind, str(metadata.get("namespace") or "") if metadata else "", str(name)


RULES: tuple[Callable[[Cluster], Iterator[Problem]], ...] = (sources,)
