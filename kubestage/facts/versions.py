"""Which versions of Kubernetes are on a host."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kubestage.facts.framed import Fact
from kubestage.kubernetes import APISERVER_MANIFEST


@dataclass(frozen=True)
class HostVersions:
    """As "1.36.3"; "" where there is none.

    `apiserver`: by its manifest. `kubelet`: the one that is installed, whether it runs or not.
    """

    apiserver: str = ""
    kubeadm: str = ""
    kubelet: str = ""


class Versions(Fact[HostVersions]):
    """The host's HostVersions."""

    @staticmethod
    def default() -> HostVersions:
        return HostVersions()

    def ask(self) -> str:
        return (
            f"sed -n 's/^ *image: .*apiserver:v/apiserver /p' {APISERVER_MANIFEST} 2>/dev/null; "
            "kubeadm version --output short 2>/dev/null | sed 's/^v/kubeadm /'; "
            "kubelet --version 2>/dev/null | sed 's/^Kubernetes v/kubelet /'"
        )

    def parse(self, output: Sequence[str]) -> HostVersions:
        return HostVersions(**{word: version for word, version in (line.split() for line in output)})
