"""The disk on which all hosts of the lab lie, with whatever else is on this machine: how much of it must be free."""

from __future__ import annotations

import shutil
from pathlib import Path

from lab.definition import cache_dir
from lab.progress import StepFailed, resume_command

MIB = 1 << 20
EVICTED_BELOW_MIB = 1024  # of every host's kubelet; a share of this disk is what other work on the machine may take
HOSTS_MIB = 4 * 1024  # what the hosts fill, with their images
NEED_MIB = EVICTED_BELOW_MIB + HOSTS_MIB


def place() -> Path:
    """The folder of the cache, or where it will be made."""
    return next(folder for folder in (cache_dir(), *cache_dir().parents) if folder.is_dir())


def free_mib() -> int:
    return shutil.disk_usage(place()).free // MIB


def require(blank_hosts: bool) -> None:
    """StepFailed where hosts would not have the room that they need: `blank_hosts`, if some have yet to be filled."""
    need, free = NEED_MIB if blank_hosts else EVICTED_BELOW_MIB, free_mib()
    if free < need:
        raise StepFailed(
            f"The disk is too full for the lab's hosts: {free} MiB free at {place()}, {need} MiB are needed, and below "
            f"{EVICTED_BELOW_MIB} MiB their kubelets evict pods.\n"
            "Make room, or set KUBESTAGE_CACHE to a folder on a larger disk. "
            f"Then: {resume_command()}"
        )
