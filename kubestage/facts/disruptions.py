"""Which PodDisruptionBudgets keep pods from being moved."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from kubestage.facts.framed import Fact
from kubestage.facts.unknown import Unknown, or_unknown, unknown
from kubestage.kubernetes import KUBECTL


class Disruptions(Fact[tuple[str, ...] | Unknown]):
    """The "namespace/name" of those that have pods and allow of no disruption now."""

    @staticmethod
    def default() -> tuple[str, ...]:
        return ()

    def ask(self) -> str:
        path = (
            "{range .items[?(@.status.disruptionsAllowed==0)]}"
            '{.metadata.namespace}/{.metadata.name} {.status.expectedPods}{"\\n"}{end}'
        )
        return or_unknown(
            f"{KUBECTL} get poddisruptionbudgets --all-namespaces --request-timeout 10s -o jsonpath={shlex.quote(path)}"
        )

    def parse(self, output: Sequence[str]) -> tuple[str, ...] | Unknown:
        lines = list(output)
        return unknown(lines) or tuple(name for name, pods in (line.split() for line in lines) if pods != "0")
