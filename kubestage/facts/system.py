"""The kernel's and the base system's state."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from kubestage.facts.framed import Fact


class HostNames(Fact[list[str]]):
    """The host's name now, and the one it will have after a boot, where /etc/hostname names one."""

    @staticmethod
    def default() -> list[str]:
        return []

    def ask(self) -> str:
        return "cat /proc/sys/kernel/hostname /etc/hostname 2>/dev/null || true"

    def parse(self, output: Sequence[str]) -> list[str]:
        return [line.strip() for line in output]


class Sysctls(Fact[dict[str, str]]):
    """name -> value of those of `names` that this kernel has, blanks within a value made one space."""

    @staticmethod
    def default() -> dict[str, str]:
        return {}

    def ask(self, names: Sequence[str]) -> str:
        return f"sysctl --ignore {' '.join(shlex.quote(name) for name in names)} 2>/dev/null || true"

    def parse(self, output: Sequence[str]) -> dict[str, str]:
        pairs = (line.partition(" = ") for line in output)
        return {name: " ".join(value.split()) for name, _, value in pairs}


class LoadedModules(Fact[list[str]]):
    """Those of `modules` that the kernel has, loaded or built in.

    Built-in modules without parameters have no folder in /sys/module, and a container has no modules.builtin to look
    in: what a module gives is looked for as well (a file system in /proc/filesystems, a folder of sysctls).
    """

    EFFECTS = {  # noqa: RUF012
        "overlay": "grep -qw overlay /proc/filesystems",
        "br_netfilter": "test -d /proc/sys/net/bridge",
    }

    @staticmethod
    def default() -> list[str]:
        return []

    def ask(self, modules: Sequence[str]) -> str:
        return "; ".join(
            f"if test -d /sys/module/{module} || {self.EFFECTS.get(module, 'false')}; then echo {module}; fi"
            for module in modules
        )

    def parse(self, output: Sequence[str]) -> list[str]:
        return list(output)


@dataclass(frozen=True)
class SwapState:
    """Swap devices in use now, mount units that would bring swap back at boot, and /etc/fstab's lines for swap."""

    in_use: tuple[str, ...]
    units: tuple[str, ...]
    fstab: tuple[str, ...]


class Swap(Fact[SwapState]):
    """Where swap is on, and what would put it on again."""

    def ask(self) -> str:
        return (
            "awk 'NR > 1 {print \"in_use\", $1}' /proc/swaps; "
            'systemctl list-units --all --plain --no-legend --type=swap | awk \'$2 != "masked" && $2 != "not-found"'
            ' {print "unit", $1}\'; '
            'awk \'$1 !~ /^#/ && $3 == "swap" {print "fstab", $0}\' /etc/fstab 2>/dev/null || true'
        )

    @staticmethod
    def default() -> SwapState:
        return SwapState((), (), ())

    def parse(self, output: Sequence[str]) -> SwapState:
        found: dict[str, list[str]] = {"in_use": [], "unit": [], "fstab": []}
        for line in output:
            kind, _, rest = line.partition(" ")
            found[kind].append(rest)
        return SwapState(tuple(found["in_use"]), tuple(found["unit"]), tuple(found["fstab"]))
