"""What commands print on a host, for text that is made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kubestage.facts.framed import Fact
from kubestage.facts.unknown import Unknown, unknown


class Printed(Fact[dict[str, str] | Unknown]):
    """The key of each of `commands` (shell) -> the line that it prints; Unknown where one fails, or prints nothing."""

    @staticmethod
    def default() -> dict[str, str]:
        return {}

    def ask(self, commands: Mapping[str, str]) -> str:
        return "\n".join(
            f'line=$({command} 2>/dev/null); test -n "$line" || {{ echo "unknown {key}"; exit 0; }}; echo "{key} $line"'
            for key, command in commands.items()
        )

    def parse(self, output: Sequence[str]) -> dict[str, str] | Unknown:
        return unknown(output) or {key: line for key, _, line in (each.partition(" ") for each in output)}
