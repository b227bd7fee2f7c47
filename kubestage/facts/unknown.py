"""What a fact says of a cluster whose API did not answer: nothing, which is not the same as none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Unknown:
    """`reason`: the last words of who was asked, or "" where there were none."""

    reason: str = ""


def or_unknown(command: str) -> str:
    """`command` (kubectl's) and, if it fails, a last line that says so with its own last words, for unknown()."""
    # Its errors go to a variable: in its output they could come to lie within a line.
    return f'{{ said=$({command} 2>&1 >&3) || echo "unknown $(echo "$said" | tail -n 1)"; }} 3>&1'


def unknown(lines: Sequence[str]) -> Unknown | None:
    """Unknown where the command of or_unknown() failed, else None."""
    word, _, reason = lines[-1].partition(" ") if lines else ("", "", "")
    return Unknown(reason) if word == "unknown" else None
