"""A host as it was before a run first touched it, by what that run has written down there."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kubestage.facts.answers import Answers, filled
from kubestage.facts.files import text_of
from kubestage.facts.firewall import PROGRAMS
from kubestage.facts.framed import Fact
from kubestage.facts.packages import PackageState
from kubestage.host_file import HostFile
from kubestage.kubernetes import UNTOUCHED

FULL = "full"  # of a folder that was there, and held something

_SCRIPT = r"""
echo "at $(date -u +%Y-%m-%dT%H:%M:%SZ)"
echo "hostname $(cat /proc/sys/kernel/hostname)"
dpkg-query -W -f 'package ${Package} ${Version} ${Status}\n' | sed -n 's/ \([a-z]*\) ok installed$/ \1/p'
apt-mark showauto | sed 's/^/auto /'
systemctl list-unit-files --plain --no-legend | awk '{ print "unit", $1, $2 }'
systemctl list-units --state active --plain --no-legend | awk '{ print "active", $1 }'
sysctl --all 2>/dev/null | sed -n 's/^\([^ ]*\) = /sysctl \1 /p'
awk '{ print "module", $1 }' /proc/modules 2>/dev/null
awk 'NR > 1 { print "swap", $1 }' /proc/swaps
getent passwd | sed 's/:.*//; s/^/user /'
getent group | sed 's/:.*//; s/^/group /'
for program in @PROGRAMS@; do
    if command -v $program-save >/dev/null; then
        $program-save 2>/dev/null | awk -v program=$program '
            /^\*/ { table = substr($1, 2) }
            /^:/ && $2 != "-" { print "policy", program "/" table "/" substr($1, 2), $2 }
        '
    fi
done
for f in @FILES@; do
    if [ -f "$f" ]; then echo "file $f $(stat -L -c %a "$f") $(base64 -w 0 < "$f")"; fi
done
for f in @FOLDERS@; do
    if [ -d "$f" ]; then echo "folder $f $(ls -A "$f" | grep -q . && echo @FULL@ || echo empty)"; fi
done
"""


def script(files: Sequence[str], folders: Sequence[str]) -> str:
    """What prints the record (sh), with the content of `files`, and of `folders` whether they hold anything."""
    words = {
        "PROGRAMS": " ".join(PROGRAMS),
        "FILES": " ".join(map(shlex.quote, files)),
        "FOLDERS": " ".join(map(shlex.quote, folders)),
        "FULL": FULL,
    }
    return filled(_SCRIPT, words)


@dataclass(frozen=True)
class Untouched:
    """What was there `at` that time (UTC, ISO 8601; "" where nothing was written down).

    `automatic`: packages that others had needed. `units`: unit file -> its state, as systemctl list-unit-files has it.
    `active`: units. `policies`: "PROGRAM/TABLE/CHAIN" of the firewall -> "ACCEPT" or "DROP".
    `folders`: of those that a run may fill -> FULL or "empty".
    """

    at: str = ""
    hostname: str = ""
    packages: Mapping[str, PackageState] = field(default_factory=dict)
    automatic: frozenset[str] = frozenset()
    units: Mapping[str, str] = field(default_factory=dict)
    active: frozenset[str] = frozenset()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    modules: frozenset[str] = frozenset()
    swaps: tuple[str, ...] = ()
    users: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    policies: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, HostFile] = field(default_factory=dict)
    folders: Mapping[str, str] = field(default_factory=dict)

    @property
    def had_docker(self) -> bool:
        """Docker's own packages, or the distribution's."""
        return bool({"docker-ce", "docker.io"} & set(self.packages))

    @property
    def had_containerd(self) -> bool:
        return bool({"containerd.io", "containerd"} & set(self.packages))


class UntouchedFact(Fact[Untouched]):
    """The host's Untouched."""

    @staticmethod
    def default() -> Untouched:
        return Untouched()

    def ask(self) -> str:
        return f"if test -f {UNTOUCHED}; then cat {UNTOUCHED}; fi"

    def parse(self, output: Sequence[str]) -> Untouched:
        said = Answers(output)
        packages = {}
        for line in said.all("package"):
            name, version, want = line.split(" ")
            packages[name] = PackageState(version, held=want == "hold")
        files = {}
        for line in said.all("file"):
            path, mode, content = f"{line} ".split(" ")[:3]
            files[path] = HostFile(path, text_of(content), mode)
        sysctls = (line.partition(" ") for line in said.all("sysctl"))  # the value of one may be empty
        return Untouched(
            at=said.one("at"),
            hostname=said.first("hostname"),
            packages=packages,
            automatic=frozenset(said.all("auto")),
            units=said.pairs("unit"),
            active=frozenset(said.all("active")),
            sysctls={name: " ".join(value.split()) for name, _, value in sysctls},
            modules=frozenset(said.all("module")),
            swaps=tuple(said.all("swap")),
            users=frozenset(said.all("user")),
            groups=frozenset(said.all("group")),
            policies=said.pairs("policy"),
            files=files,
            folders=said.pairs("folder"),
        )
