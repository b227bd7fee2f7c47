"""Kernel settings of the whole machine that hosts share: raised where they need it, given back afterwards.

A host may write all of /proc/sys, as a server may; what is not its namespace's own is the machine's. Those that the
host's systemd, the kubelet and a deploy are known to write are given back as well.
"""

from __future__ import annotations

import json
from pathlib import Path

from lab.definition import state_dir

NEEDED = {  # at least; three hosts with their containers use up the kernel's 128 inotify instances
    "net/ipv4/ip_forward": 1,
    "fs/inotify/max_user_instances": 8192,
    "fs/inotify/max_user_watches": 524288,
}
SHARED = (
    *NEEDED,
    "fs/file-max",
    "fs/nr_open",
    "fs/protected_fifos",
    "fs/protected_hardlinks",
    "fs/protected_regular",
    "fs/protected_symlinks",
    "kernel/core_pattern",
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/pid_max",
    "kernel/printk",
    "kernel/sysrq",
    "kernel/threads-max",
    "vm/max_map_count",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "vm/swappiness",
)


def _saved() -> Path:
    return state_dir() / "kernel.json"


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def read(name: str) -> str:
    """The value of a setting, named by its path below /proc/sys; empty if this kernel has none."""
    path = Path("/proc/sys", name)
    return path.read_text().strip() if path.exists() else ""


def write(name: str, value: str) -> None:
    Path("/proc/sys", name).write_text(value)


def prepare() -> None:
    """Remember the settings as they are, unless that is done since the machine's last boot, and raise what is low."""
    if not (_saved().exists() and json.loads(_saved().read_text())["boot"] == _boot()):
        _saved().parent.mkdir(parents=True, exist_ok=True)
        partial = _saved().with_suffix(".partial")
        partial.write_text(json.dumps({"boot": _boot(), "values": {name: read(name) for name in SHARED}}, indent=1))
        partial.rename(_saved())
    for name, least in NEEDED.items():
        if int(read(name)) < least:
            write(name, str(least))


def restore() -> None:
    """Give the settings back as `prepare` found them; after a reboot of the machine there is nothing to give back."""
    if not _saved().exists():
        return
    saved = json.loads(_saved().read_text())
    if saved["boot"] == _boot():
        for name, value in saved["values"].items():
            if value and read(name) != value:
                write(name, value)
    _saved().unlink()
