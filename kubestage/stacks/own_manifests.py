"""The user's own manifests, as the control plane host gets them, and the commands that print them there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kubestage.host_file import HostFile
from kubestage.kubernetes import KUBECTL, OURS, STACK_LABEL
from kubestage.settings import ClusterSettings
from kubestage.settings.manifests import Source

FOLDER = f"{OURS}/own-manifests"
_PREFIX = "own."  # before the name, in the label of all their objects: so none is taken for a stack's
ENDINGS = (".yaml", ".yml", ".json")


@dataclass(frozen=True)
class OwnManifests:
    """One entry of the setting `manifests`."""

    name: str
    source: Source

    @property
    def label(self) -> str:
        """The value of STACK_LABEL that its objects have."""
        return f"{_PREFIX}{self.name}"

    @property
    def folder(self) -> str:
        """Where its files are, on the control plane host."""
        return f"{FOLDER}/{self.name}"

    @property
    def downloaded(self) -> str:
        """The path there of what comes from a URL."""
        return f"{self.folder}/manifest.yaml"

    def files(self) -> list[HostFile]:
        """The files of this machine: secrets may be in them."""
        root = Path(self.source.path).expanduser()
        found = []
        for path in local_files(self.source):
            name = path.relative_to(root).as_posix() if root.is_dir() else path.name
            content = path.read_bytes().decode(errors="surrogateescape")
            found.append(HostFile(f"{self.folder}/{name}", content, mode="600"))
        return found

    def labelled(self, output: str = "json") -> str:
        """The command that prints all objects, each with its label."""
        given = f"--filename {self.folder} --recursive"
        built = ""
        if self.source.kustomize:
            built, given = f"kubectl kustomize {self.folder}/{self.source.kustomize} | ", "--filename -"
        return f"{built}{KUBECTL} label --local --overwrite {given} {STACK_LABEL}={self.label} --output {output}"


def local_files(source: Source) -> Iterator[Path]:
    """The files of a source that is on this machine, sorted: manifests, or whatever is in a folder for Kustomize."""
    path = Path(source.path).expanduser()
    if source.url:
        return
    if path.is_file():
        yield path
        return
    for file in sorted(path.rglob("*")):
        if file.is_file() and (source.kustomize or file.suffix in ENDINGS):
            yield file


def own_manifests(settings: ClusterSettings) -> list[OwnManifests]:
    """All entries, in the order of the settings."""
    return [OwnManifests(name, source) for name, source in settings.manifests.items()]


def is_own(label: str) -> bool:
    """Whether a value of STACK_LABEL is one of the user's own manifests'."""
    return label.startswith(_PREFIX)
