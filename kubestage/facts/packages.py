"""What dpkg has installed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kubestage.facts.framed import Fact

# The distribution's, which can't be where Docker's own are.
REPLACED = ("docker.io", "docker-cli", "podman-docker", "containerd", "runc")


@dataclass(frozen=True)
class PackageState:
    """A package that is fully installed: its version, and whether it is held there."""

    version: str
    held: bool


class PackageStates(Fact[dict[str, PackageState]]):
    """name -> PackageState of those of `names` that are fully installed (dpkg status "ok installed")."""

    @staticmethod
    def default() -> dict[str, PackageState]:
        return {}

    def ask(self, names: Sequence[str]) -> str:
        # dpkg-query exits 1 when one of them is unknown: that is an answer, not an error.
        return f"dpkg-query -W -f '${{Package}} ${{Version}} ${{Status}}\\n' {' '.join(names)} 2>/dev/null || true"

    def parse(self, output: Sequence[str]) -> dict[str, PackageState]:
        states = {}
        for line in output:
            # A package that is known by name alone has no version: "kubelet  unknown ok not-installed".
            name, version, want, error, status = line.split(" ")
            if (error, status) == ("ok", "installed"):
                states[name] = PackageState(version, held=want == "hold")
        return states
