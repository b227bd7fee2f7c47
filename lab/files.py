"""Single files that the product fetches by address, served by the mirror as /files/<address without its scheme>."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from lab.build import CONTOUR, DESCHEDULER, GoProgram
from lab.cache import digest, entry
from lab.progress import step


@dataclass(frozen=True)
class PinnedFile:
    """A file of a Go module, at the version in lab/programs/<program>/go.mod; "{version}" in its address is that."""

    address: str  # upstream's, without "https://"
    program: GoProgram
    path: str  # in the module

    @property
    def served_as(self) -> str:
        """Its path below /files/."""
        return self.address.format(version=self.program.module_version)


CATALOGUE = (
    PinnedFile(
        "raw.githubusercontent.com/projectcontour/contour/{version}/examples/contour/01-crds.yaml",
        CONTOUR,
        "examples/contour/01-crds.yaml",
    ),
    *(
        PinnedFile(
            f"raw.githubusercontent.com/kubernetes-sigs/descheduler/{{version}}/kubernetes/{path}",
            DESCHEDULER,
            f"kubernetes/{path}",
        )
        for path in ("base/rbac.yaml", "base/configmap.yaml", "deployment/deployment.yaml")
    ),
)


def tree() -> Path:
    """The folder served at MIRROR_URL/files."""

    def fill(folder: Path) -> None:
        with step("fetch pinned files"):
            for file in CATALOGUE:
                target = folder / file.served_as
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(_module_folder(file.program) / file.path, target)
                target.chmod(0o644)  # Go keeps its modules read-only

    return entry("files", digest(*(f"{file.served_as} {file.path}" for file in CATALOGUE)), fill)


def _module_folder(program: GoProgram) -> Path:
    """Where the Go client keeps the program's module, fetched and held against go.sum by it."""
    listed = subprocess.run(
        ["go", "mod", "download", "-json", program.module],
        env={**os.environ, **program.environment()},
        cwd=program.source,
        stdout=subprocess.PIPE,
        check=True,
    )
    return Path(json.loads(listed.stdout)["Dir"])
