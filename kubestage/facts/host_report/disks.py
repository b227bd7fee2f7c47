"""The file systems that a cluster goes by on a host, as preflight asks for them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from kubestage.facts.answers import Answers, filled
from kubestage.facts.host_report.wanted import Wanted

_SCRIPT = r"""
for path in @FOLDERS@; do
    while [ ! -d "$path/" ]; do path=${path%/*}; done  # it is made later
    set -- "$@" "$path/"
done
df -k --output=size,avail,itotal,iavail,target "$@" | awk -v names="@NAMES@" '
    BEGIN { split(names, name) }
    FILENAME != "-" { options[$2] = $4; next }
    FNR > 1 { print "folder", name[FNR - 1], $1, $2, $3, $4, "(" options[$5] ")", $5 }
' /proc/self/mounts -
"""


@dataclass(frozen=True)
class FileSystem:
    """Sizes in KiB, free ones as those who are not root have them. A file system may count no inodes: 0 of 0.

    `noexec`: no program on it can be started, by the options with which it is mounted at `mount`.
    """

    mount: str
    size_kib: int
    free_kib: int
    inodes: int
    free_inodes: int
    noexec: bool = False

    @property
    def free_mib(self) -> int:
        return self.free_kib // 1024


@dataclass(frozen=True, kw_only=True)
class Disks:
    """`folders`: what for (see wanted.folders) -> the file system of the folder, or of the one in which it will be."""

    folders: Mapping[str, FileSystem]


def script(wanted: Wanted) -> str:
    words = {
        "FOLDERS": " ".join(shlex.quote(path) for path in wanted.folders.values()),
        "NAMES": " ".join(wanted.folders),
    }
    return filled(_SCRIPT, words)


def read(said: Answers) -> Disks:
    return Disks(folders={name: _file_system(line) for name, line in said.pairs("folder").items()})


def _file_system(line: str) -> FileSystem:
    size, free, inodes, free_inodes, options, mount = line.split(" ", 5)
    noexec = "noexec" in options.strip("()").split(",")
    return FileSystem(mount, int(size), int(free), _count(inodes), _count(free_inodes), noexec)


def _count(number: str) -> int:
    return int(number) if number.isdigit() else 0  # df prints "-" where there is none
