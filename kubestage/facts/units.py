"""What systemd says of its units."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kubestage.facts.framed import Fact
from kubestage.started import is_current


@dataclass(frozen=True)
class UnitState:
    """A unit that exists.

    `stale`: its configuration files are not as they were when it was started, or nobody knows how they were.
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
        properties = "LoadState,UnitFileState,ActiveState,NeedDaemonReload"
        lines = []
        for unit, files in units.items():
            lines.append(f"systemctl show {unit} --property={properties}")
            if files:
                lines.append(f"{is_current(unit, files)} || echo Stale=yes")
            lines.append(f"echo Unit={unit}")
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
                    stale="Stale" in seen,
                    needs_reload=seen.get("NeedDaemonReload") == "yes",
                )
            seen = {}
        return states


class UnitFiles(Fact[dict[str, tuple[str, bool]]]):
    """unit -> the state of its file ("enabled", "masked"), and whether it is at work, of `names`, or patterns."""

    @staticmethod
    def default() -> dict[str, tuple[str, bool]]:
        return {}

    def ask(self, names: Sequence[str]) -> str:
        patterns = " ".join(map(shlex.quote, names))
        return (
            f"systemctl list-unit-files --plain --no-legend {patterns} | awk '{{ print \"file\", $1, $2 }}'; "
            f"systemctl list-units --state active --plain --no-legend {patterns} | awk '{{ print \"active\", $1 }}'"
        )

    def parse(self, output: Sequence[str]) -> dict[str, tuple[str, bool]]:
        said = [line.split(" ") for line in output]
        active = {words[1] for words in said if words[0] == "active"}
        return {words[1]: (words[2], words[1] in active) for words in said if words[0] == "file"}
