"""The kernel's and the base system's state."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from kubestage.facts.files import text_of
from kubestage.facts.framed import Fact, Lines
from kubestage.host_file import HostFile


class HostNames(Fact[list[str]]):
    """The host's name now, and the one it will have after a boot, where /etc/hostname names one."""

    @staticmethod
    def default() -> list[str]:
        return []

    def ask(self) -> str:
        # Without what no name has: a byte that is not text would end the whole answer.
        return "cat /proc/sys/kernel/hostname /etc/hostname 2>/dev/null | LC_ALL=C tr -cd '[:print:]\\n'"

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


class LoadedModules(Lines):
    """Those of `modules` that the kernel has, loaded or built in.

    Built-in modules without parameters have no folder in /sys/module, and a container has no modules.builtin to look
    in: what a module gives is looked for as well (a file system in /proc/filesystems, a folder of sysctls).
    """

    EFFECTS = {  # noqa: RUF012
        "overlay": "grep -qw overlay /proc/filesystems",
        "br_netfilter": "test -d /proc/sys/net/bridge",
    }

    def ask(self, modules: Sequence[str]) -> str:
        return "; ".join(
            f"if test -d /sys/module/{module} || {self.EFFECTS.get(module, 'false')}; then echo {module}; fi"
            for module in modules
        )


# What puts swap on at boot without a swap unit: Debian's and Ubuntu's packages zram-tools, zram-config, dphys-swapfile
# and swapspace. systemd's own zram-generator makes units.
SWAP_SERVICES = ("zramswap.service", "zram-config.service", "dphys-swapfile.service", "swapspace.service")
FSTAB = "/etc/fstab"


@dataclass(frozen=True)
class SwapState:
    """Swap devices in use now, units that would bring swap back at boot, and /etc/fstab if it has lines for swap."""

    in_use: tuple[str, ...]
    units: tuple[str, ...]
    fstab: HostFile | None


def is_swap(line: str) -> bool:
    """Whether it is a line of /etc/fstab that puts swap on."""
    fields = [field for field in re.split("[ \t]", line) if field]
    return fields[2:3] == ["swap"] and not fields[0].startswith("#")


class Swap(Fact[SwapState]):
    """Where swap is on, and what would put it on again."""

    def ask(self) -> str:
        return (
            "awk 'NR > 1 {print \"in_use\", $1}' /proc/swaps; "
            f"systemctl list-units --all --plain --no-legend '*.swap' {' '.join(SWAP_SERVICES)} | "
            'awk \'$2 != "masked" && $2 != "not-found" {print "unit", $1}\'; '
            f"if test -f {FSTAB}; then content=$(base64 -w 0 {FSTAB}) || exit; "
            f'echo "fstab $(stat -L -c %a {FSTAB}) $content"; fi'
        )

    @staticmethod
    def default() -> SwapState:
        return SwapState((), (), None)

    def parse(self, output: Sequence[str]) -> SwapState:
        found: dict[str, list[str]] = {"in_use": [], "unit": [], "fstab": []}
        for line in output:
            kind, _, rest = line.partition(" ")
            found[kind].append(rest)
        fstab = None
        for line in found["fstab"]:
            mode, content = line.split(" ")
            text = text_of(content)
            if any(map(is_swap, text.split("\n"))):
                fstab = HostFile(FSTAB, text, mode)
        return SwapState(tuple(found["in_use"]), tuple(found["unit"]), fstab)


class IdleModules(Lines):
    """Those of the loaded modules `names` that nothing uses."""

    def ask(self, names: Sequence[str]) -> str:
        return f'awk \'$3 == 0 && " {" ".join(names)} " ~ " " $1 " " {{ print $1 }}\' /proc/modules 2>/dev/null || true'


class Accounts(Lines):
    """Those of `users` and `groups` that are there: "user NAME", "group NAME"."""

    def ask(self, users: Sequence[str], groups: Sequence[str]) -> str:
        return (
            f"for name in {' '.join(users)}; do if getent passwd $name >/dev/null; then echo user $name; fi; done; "
            f"for name in {' '.join(groups)}; do if getent group $name >/dev/null; then echo group $name; fi; done"
        )
