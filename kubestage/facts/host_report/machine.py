"""The machine and its system, as preflight asks for them."""

from __future__ import annotations

from dataclasses import dataclass

from kubestage.facts.answers import Answers, filled

TOOLS = ("apt-get", "ip", "systemctl")  # what a run uses from its first operation on

# All stages of a boot, as cloud-init 22 to 25 calls them.
CLOUD_INIT_UNITS = (
    "cloud-init-local.service",
    "cloud-init-main.service",
    "cloud-init-network.service",
    "cloud-init.service",
    "cloud-config.service",
    "cloud-final.service",
)

# What follows in the whole script makes use of $os, $codename and $arch.
_SCRIPT = r"""
echo "uid $(id -u)"
ID=unknown VERSION_ID= VERSION_CODENAME=
if [ -r /etc/os-release ]; then . /etc/os-release; fi
os=$ID codename=$VERSION_CODENAME
echo "os $os|$VERSION_ID|$codename"
arch=$(dpkg --print-architecture 2>/dev/null || uname -m)
echo "architecture $arch"
unset OMP_NUM_THREADS OMP_THREAD_LIMIT  # a user's own limits, which nproc goes by
echo "cpus $(nproc)"
awk '$1 == "MemTotal:" { print "memory_mib " int($2 / 1024) }
    $1 == "MemAvailable:" { print "memory_free_mib " int($2 / 1024) }' /proc/meminfo
echo "tasks $(sed 's|.*/\([0-9]*\) .*|\1|' /proc/loadavg) $(cat /proc/sys/kernel/pid_max)"
for tool in @TOOLS@; do if command -v $tool >/dev/null; then echo "tool $tool"; fi; done
if systemctl --quiet is-active systemd-resolved 2>/dev/null; then
    echo "resolv_conf /run/systemd/resolve/resolv.conf"  # /etc/resolv.conf names the host's own 127.0.0.53
else
    echo "resolv_conf /etc/resolv.conf"
fi
if systemctl show --property ActiveState,Job @CLOUD_INIT@ 2>/dev/null | grep -q -e =activating -e '^Job=[1-9]'; then
    echo "cloud_init"
fi
"""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """`memory_free_mib`: what could be had without swapping. `tasks`: how many there are, and how many there can be.

    `resolv_conf`: the file with the nameservers that others than the host itself can ask. `cloud_init`: whether one is
    at work, or will be during this boot.
    """

    uid: int
    os_id: str
    os_version: str
    os_codename: str
    architecture: str
    cpus: int
    memory_mib: int
    memory_free_mib: int
    tasks: tuple[int, int]
    tools: frozenset[str]
    resolv_conf: str
    cloud_init: bool


def script() -> str:
    words = {
        "TOOLS": " ".join(TOOLS),
        "CLOUD_INIT": " ".join(CLOUD_INIT_UNITS),
    }
    return filled(_SCRIPT, words)


def read(said: Answers) -> Machine:
    os_id, os_version, os_codename = said.one("os").split("|")
    tasks, most_tasks = said.one("tasks").split()
    return Machine(
        uid=int(said.one("uid")),
        os_id=os_id,
        os_version=os_version,
        os_codename=os_codename,
        architecture=said.one("architecture"),
        cpus=int(said.one("cpus")),
        memory_mib=int(said.one("memory_mib")),
        memory_free_mib=int(said.one("memory_free_mib")),
        tasks=(int(tasks), int(most_tasks)),
        tools=frozenset(said.all("tool")),
        resolv_conf=said.one("resolv_conf"),
        cloud_init="cloud_init" in said,
    )
