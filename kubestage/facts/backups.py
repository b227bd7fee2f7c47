"""What a cluster says of its backups."""

from __future__ import annotations

from collections.abc import Sequence

from kubestage.facts.framed import Fact
from kubestage.kubernetes import KUBECTL, PLATFORM_NAMESPACE, RESTORED


class RestoredFrom(Fact[str]):
    """On a control plane host: the mark of the backup that the cluster was made of; "" if of none, or not known."""

    @staticmethod
    def default() -> str:
        return ""

    def ask(self) -> str:
        path = f"{{.metadata.annotations.{RESTORED}}}"
        asked = f"{KUBECTL} get namespace {PLATFORM_NAMESPACE} --request-timeout 10s"
        return f"{asked} -o jsonpath='{path}' 2>/dev/null || true"

    def parse(self, output: Sequence[str]) -> str:
        return "".join(output).strip()
