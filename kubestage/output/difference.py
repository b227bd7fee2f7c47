"""What a run would write anew in the hosts' files, line by line; kept for `--diff`, which prints it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from kubestage.host_file import HostFile

_NOT_SHOWN = "(not everybody may read it: its lines are not shown)"


@dataclass(frozen=True)
class Difference:
    """Of a file; `lines` as a unified diff has them, without its head."""

    path: str
    lines: tuple[str, ...]


_noted: dict[Difference, dict[str, None]] = {}


def note(host: str, file: HostFile, before: str) -> None:
    """Keep how `file` differs from what the host has, `before`: "" where there is nothing."""
    _noted.setdefault(Difference(file.path, _lines(file, before)), {})[host] = None


def noted() -> Mapping[Difference, list[str]]:
    """Each difference once, with the names of the hosts that have it."""
    return {difference: list(hosts) for difference, hosts in _noted.items()}


def _lines(file: HostFile, before: str) -> tuple[str, ...]:
    if not int(file.mode, 8) & 0o004:
        return (_NOT_SHOWN,)
    lines = list(difflib.unified_diff(before.splitlines(), file.content.splitlines(), n=2, lineterm=""))[2:]
    return tuple(lines) or (f"(its mode or owner; they are to be {file.mode} and root)",)
