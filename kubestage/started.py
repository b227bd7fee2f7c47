"""With which configuration a service was started, as the service itself writes it down at each of its starts.

Neither the files' times nor what a run has written tells that: clocks leap, runs are killed, people restart services.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

RECORDS = "/run/kubestage"


def _sums(files: Sequence[str]) -> str:
    return f"sha256sum {' '.join(map(shlex.quote, files))}"


def recorded(unit: str, files: Sequence[str]) -> str:
    """The line in [Service] by which the unit records what is in its configuration `files` (systemd.service(5))."""
    return f"ExecStartPre=-/bin/sh -c 'mkdir -p {RECORDS} && {_sums(files)} > {RECORDS}/{unit}'"


def is_current(unit: str, files: Sequence[str]) -> str:
    """The command that succeeds if the unit was last started with what is in `files` now."""
    return f"{_sums(files)} 2>/dev/null | cmp --silent - {RECORDS}/{unit}"
