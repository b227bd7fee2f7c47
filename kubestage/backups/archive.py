"""A backup: a folder with what opens only with the user's key. It is read and checked here, before any host is touched.

    cluster.tar.age   etcd's snapshot, the keys and CAs that kubeadm made, the keys of Secrets in etcd, and what the
                      cluster said of itself
    registry.tar.age  the registry's images, if they are in it
    SHA256SUMS        of both

Both are age's (https://age-encryption.org/v1): every part is authenticated, and none can be cut off unseen.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

import yaml
from pyinfra.api.exceptions import PyinfraError

from kubestage.backups.age import opening
from kubestage.cluster.encryption import PLAINLY, Encryption
from kubestage.facts.host_report.encryption import PLAIN
from kubestage.facts.volumes import nodes_of
from kubestage.render.encryption import Stage, keys_in, providers_in
from kubestage.stacks.registry import BLOBS

CLUSTER, REGISTRY, SUMS = "cluster.tar.age", "registry.tar.age", "SHA256SUMS"
SNAPSHOT = "etcd.db"


class BackupError(PyinfraError):
    """A backup that can't be used: which file, and what is wrong with it."""


@dataclass(frozen=True)
class Volume:
    """A PersistentVolume on a node's disk: of which claim ("namespace/name"), on which node, in which folder."""

    claim: str
    node: str
    path: str


@dataclass(frozen=True)
class Archive:
    """What a backup is of. `mark`: by what it is known again. `blobs`: how many the registry's images are of.

    `kubeadm`: the cluster's own ClusterConfiguration. `nodes`: the Node objects' names. `encryption`: of its Secrets.
    """

    folder: Path
    mark: str
    kubeadm: Mapping[str, Any]
    nodes: tuple[str, ...]
    volumes: tuple[Volume, ...]
    revision: int
    blobs: int | None
    encryption: Encryption = field(repr=False)

    @property
    def files(self) -> list[Path]:
        """Those that are encrypted."""
        return [self.folder / name for name in (CLUSTER, REGISTRY) if name == CLUSTER or self.blobs is not None]

    @property
    def version(self) -> str:
        """Of Kubernetes: "1.36.3"."""
        return str(self.kubeadm["kubernetesVersion"]).removeprefix("v")


def checked(folder: Path, identity: Path) -> Archive:
    """All of the backup is read, and every sum in it compared; BackupError with what is wrong."""
    listed = sums(folder)
    files = _cluster(folder / CLUSTER, identity)
    if files.get("registry.sha256", "").strip() != listed.get(REGISTRY, ""):
        raise BackupError(f"{folder}: its {REGISTRY} and its {CLUSTER} are of two backups")
    kubeadm = yaml.safe_load(files["kubeadm.yaml"])
    return Archive(
        folder,
        listed[CLUSTER],
        kubeadm,
        tuple(each["metadata"]["name"] for each in json.loads(files["nodes.json"])["items"]),
        tuple(_volumes(json.loads(files["volumes.json"])["items"])),
        json.loads(files["snapshot.json"])["revision"],
        _registry(folder / REGISTRY, identity) if REGISTRY in listed else None,
        _encryption(kubeadm, files),
    )


def sums(folder: Path) -> dict[str, str]:
    """File -> SHA-256, of the files as they lie there, for which no key is needed; BackupError if one differs."""
    try:
        listed = {name: digest for digest, name in (line.split() for line in (folder / SUMS).read_text().splitlines())}
        for name, digest in listed.items():
            with (folder / name).open("rb") as file:
                if _digest(file) != digest:
                    raise BackupError(f"{folder / name}: it is not what {SUMS} says: it was cut or changed")
    except OSError as error:
        raise BackupError(f"{error.filename}: {error.strerror}") from None
    except ValueError:
        raise BackupError(f"{folder / SUMS}: it was cut or changed") from None
    if not {CLUSTER} <= set(listed) <= {CLUSTER, REGISTRY}:
        raise BackupError(f"{folder / SUMS}: it does not name {CLUSTER}")
    return listed


@contextmanager
def _opened(path: Path, identity: Path) -> Iterator[tarfile.TarFile]:
    with subprocess.Popen(opening(path, identity), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        wrong = ""
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|") as tar:
                yield tar
            while process.stdout.read(1 << 20):
                pass  # what pads it
        except tarfile.TarError as error:
            wrong = f"{path}: {error}"
        finally:
            process.stdout.close()
            said = process.stderr.read().decode(errors="replace").strip()
    if process.returncode or wrong:
        raise BackupError(said or wrong)


def _cluster(path: Path, identity: Path) -> dict[str, str]:
    """The text of each small file in it, by name."""
    digests, texts = {}, {}
    with _opened(path, identity) as tar:
        for member in tar:
            file = tar.extractfile(member)
            if file is None:
                continue
            name = str(PurePosixPath(member.name))
            if name == SNAPSHOT:
                digests[name] = _digest(file)
            else:
                content = file.read()
                digests[name], texts[name] = hashlib.sha256(content).hexdigest(), content.decode(errors="replace")
    lines = (line.split(maxsplit=1) for line in texts.get("sums", "").splitlines())
    listed = {str(PurePosixPath(name)): digest for digest, name in lines}
    digests.pop("sums", None)
    if SNAPSHOT not in digests or listed != digests:
        raise BackupError(f"{path}: what is in it is not what it says of itself: it was not made by backup.py")
    return texts


def _registry(path: Path, identity: Path) -> int:
    """How many blobs there are, each of which is what its name says."""
    count = 0
    with _opened(path, identity) as tar:
        for member in tar:
            name = PurePosixPath(member.name)
            file = tar.extractfile(member)
            if file is not None and name.is_relative_to(BLOBS) and name.name == "data":
                count += 1
                if _digest(file) != name.parent.name:
                    raise BackupError(f"{path}: the blob {name.parent.name} in it is another one: the disk was bad")
    return count


def _digest(file: IO[bytes]) -> str:
    return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def _volumes(items: list[dict[str, Any]]) -> Iterator[Volume]:
    for each in items:
        spec = each["spec"]
        path = spec.get("hostPath", spec.get("local", {})).get("path", "")
        nodes = nodes_of(spec)
        claim = spec.get("claimRef", {})
        if path and len(nodes) == 1 and claim:
            yield Volume(f"{claim['namespace']}/{claim['name']}", nodes[0], path)


def _encryption(kubeadm: Mapping[str, Any], files: Mapping[str, str]) -> Encryption:
    """As the API server had it that the snapshot was taken of."""
    arguments = kubeadm.get("apiServer", {}).get("extraArgs", [])
    used = next((each["value"] for each in arguments if each["name"] == "encryption-provider-config"), "")
    text = files.get(f"encryption/{PurePosixPath(used).name}", "") if used else ""
    if not text:
        return PLAINLY
    stage = Stage(providers_in(text), keys_in(text))
    whole = f"encryption/written-with-{stage.providers[0]}" in files and len(stage.providers) == 2
    return Encryption(stage.path, (stage,), written=stage.providers[0] if whole and PLAIN in stage.providers else "")
