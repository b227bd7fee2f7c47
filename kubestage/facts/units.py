"""What systemd says of its units."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from kubestage.facts.framed import Fact


@dataclass(frozen=True)
class UnitState:
    """A unit that exists.

    `stale`: one of its configuration files was written after the unit was started.
    `needs_reload`: its unit file changed since systemd read it.
    """

    enabled: bool
    active: bool
    stale: bool
    needs_reload: bool


class UnitStates(Fact[dict[str, UnitState]]):
    """unit -> UnitState of those of `units` (unit -> its configuration files) that exist and are not masked."""

    @staticmethod
    def default() -> dict[str, UnitState]:
        return {}

    def ask(self, units: Mapping[str, Sequence[str]]) -> str:
        properties = "LoadState,UnitFileState,ActiveState,ActiveEnterTimestamp,NeedDaemonReload"
        lines = []
        for unit, configuration in units.items():
            files = " ".join(shlex.quote(path) for path in configuration) or "/nonexistent"
            lines.append(
                f"systemctl show {unit} --property={properties} --timestamp=us+utc; "
                f"echo Newest=$(LC_ALL=C stat -c %.Y {files} 2>/dev/null | sort -n | tail -n 1); echo Unit={unit}"
            )
        return "; ".join(lines)

    def parse(self, output: Sequence[str]) -> dict[str, UnitState]:
        states: dict[str, UnitState] = {}
        seen: dict[str, str] = {}
        for line in output:
            key, _, value = line.partition("=")
            if key != "Unit":
                seen[key] = value
                continue
            if seen.get("LoadState") == "loaded":
                states[value] = UnitState(
                    enabled=seen.get("UnitFileState") in ("enabled", "static"),
                    active=seen.get("ActiveState") == "active",
                    stale=float(seen.get("Newest") or 0) > _seconds(seen.get("ActiveEnterTimestamp", "")),
                    needs_reload=seen.get("NeedDaemonReload") == "yes",
                )
            seen = {}
        return states


def _seconds(timestamp: str) -> float:
    """Seconds since the epoch of a time that `systemctl show --timestamp=us+utc` prints; "" (never started) is 0."""
    if not timestamp:
        return 0.0
    return datetime.strptime(timestamp, "%a %Y-%m-%d %H:%M:%S.%f UTC").replace(tzinfo=UTC).timestamp()
