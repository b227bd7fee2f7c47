"""The machine and its system, as preflight asks for them."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from kubestage.facts.host_report.answers import Answers, filled
from kubestage.facts.host_report.wanted import Wanted

TOOLS = ("apt-get", "ip", "systemctl")  # what a run uses from its first operation on

# What follows in the whole script makes use of $os, $codename and $arch.
_SCRIPT = r"""
echo "uid $(id -u)"
ID=unknown VERSION_ID= VERSION_CODENAME=
if [ -r /etc/os-release ]; then . /etc/os-release; fi
os=$ID codename=$VERSION_CODENAME
echo "os $os|$VERSION_ID|$codename"
arch=$(dpkg --print-architecture 2>/dev/null || uname -m)
echo "architecture $arch"
echo "cpus $(nproc)"
awk '$1 == "MemTotal:" { print "memory_mib " int($2 / 1024) }' /proc/meminfo
storage=@STORAGE_PATH@
while [ ! -d "$storage/" ]; do storage=${storage%/*}; done  # it is made later
df -Pk /var/lib "$storage/" | awk 'NR > 1 { print (NR == 2 ? "disk_mib " : "storage_mib ") int($4 / 1024) }'
for tool in @TOOLS@; do if command -v $tool >/dev/null; then echo "tool $tool"; fi; done
"""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """`disk_mib`, `storage_mib`: free on the file system of /var/lib, and on the one where volumes will lie."""

    uid: int
    os_id: str
    os_version: str
    os_codename: str
    architecture: str
    cpus: int
    memory_mib: int
    disk_mib: int
    storage_mib: int
    tools: frozenset[str]


def script(wanted: Wanted) -> str:
    return filled(_SCRIPT, {"STORAGE_PATH": shlex.quote(wanted.storage_path), "TOOLS": " ".join(TOOLS)})


def read(said: Answers) -> Machine:
    os_id, os_version, os_codename = said.one("os").split("|")
    return Machine(
        uid=int(said.one("uid")),
        os_id=os_id,
        os_version=os_version,
        os_codename=os_codename,
        architecture=said.one("architecture"),
        cpus=int(said.one("cpus")),
        memory_mib=int(said.one("memory_mib")),
        disk_mib=int(said.one("disk_mib")),
        storage_mib=int(said.one("storage_mib")),
        tools=frozenset(said.all("tool")),
    )
