"""The setting `manifests`: what of the user's own is kept in the cluster, by a name for each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

from .values import near, refuse, sha256, url

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,48}[a-z0-9])?")  # with what we put before it, the value of a label
_EXAMPLE = '{"shop": "manifests/shop"}'
_FORMS = (
    'write the path of a file or folder, {"url": URL, "sha256": SUM}, or {"folder": PATH, "kustomize": FOLDER_IN_IT}'
)


@dataclass(frozen=True)
class Source:
    """Where a user's manifests come from: a file or folder here, a folder in it that Kustomize builds, or a URL.

    `path`: on the machine that runs pyinfra. `kustomize`: below it, "." for itself, "" for none. `sha256`: of what is
    at the `url`.
    """

    path: str = ""
    kustomize: str = ""
    url: str = ""
    sha256: str = ""


def source(value: Any) -> Source:
    """The Source that is written as a text or a mapping."""
    if isinstance(value, Source):
        return value
    if isinstance(value, str) and value:
        return Source(path=value)
    if not isinstance(value, Mapping) or not all(isinstance(each, str) and each for each in value.values()):
        raise refuse("neither a path nor one of the other forms", _FORMS)
    match sorted(map(str, value)):
        case ["sha256", "url"]:
            return Source(url=url(value["url"]), sha256=sha256(value["sha256"]))
        case ["url"]:
            raise refuse("it has no sha256, and what is at a URL may become another", f"add it: {_FORMS}")
        case ["folder", "kustomize"]:
            below = PurePosixPath(value["kustomize"])
            if below.is_absolute() or ".." in below.parts:
                raise refuse("kustomize is not a folder below folder", "name a folder that holds all that it refers to")
            return Source(path=value["folder"], kustomize=str(below))
        case keys:
            strange = next((key for key in keys if key not in ("url", "sha256", "folder", "kustomize")), "")
            guess = near(strange, ("url", "sha256", "folder", "kustomize")) if strange else ""
            raise refuse(f"its keys are {', '.join(keys) or 'none'}{guess}", _FORMS)


def _names(value: dict[str, Source]) -> dict[str, Source]:
    for name in value:
        if not _NAME.fullmatch(name):
            raise refuse(
                f"{name!r} is not a name of at most 50 lower case letters, digits and hyphens",
                f"name each as you like, e.g. {_EXAMPLE}",
            )
    return value


Manifests = Annotated[dict[str, Annotated[Source, BeforeValidator(source)]], AfterValidator(_names)]
