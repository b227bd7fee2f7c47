"""What is fixed about the lab: its names, addresses and folders. inventory/lab.py says which hosts there are."""

from __future__ import annotations

import os
import runpy
import sys
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
BRIDGE = "kubestage0"  # also the prefix of every link, cgroup and firewall chain that is the lab's
NETWORK = IPv4Network("10.77.0.0/24")
GATEWAY = str(NETWORK[1])  # the bridge's own address; the mirror listens here and nowhere else
MIRROR_URL = f"http://{GATEWAY}:8080"  # apt repositories and pinned files
REGISTRY_URL = f"http://{GATEWAY}:5000"  # images, each under its upstream name as a path
FIRST_HOST = 11  # the first host is 10.77.0.11
OWN_MIRROR = "lab"  # the mirror profile of what this machine has built itself


def cache_dir() -> Path:
    """Where built programs, packages, images and the root tree are kept; KUBESTAGE_CACHE overrides it."""
    return Path(os.environ.get("KUBESTAGE_CACHE") or Path.home() / ".cache" / "kubestage")


def is_built() -> bool:
    """Whether all that the hosts install has been built here before."""
    return any((cache_dir() / "registry").glob("[!.]*"))


def state_dir() -> Path:
    """Where a running lab keeps its hosts' disks, keys and pids; gone after `down`."""
    return cache_dir() / "running"


def mirror() -> str:
    """The mirror profile that the hosts install from: KUBESTAGE_LAB_MIRROR, else what the running lab was made with."""
    return os.environ.get("KUBESTAGE_LAB_MIRROR") or (_kept().read_text() if _kept().exists() else OWN_MIRROR)


def keep_mirror() -> None:
    """Remember it for as long as the lab is up, so that no later command has to name it."""
    _kept().write_text(mirror())


def _kept() -> Path:
    return state_dir() / "mirror-profile"


def builds() -> bool:
    """Whether the hosts install what this machine builds; else nothing is built."""
    return mirror() == OWN_MIRROR


@dataclass(frozen=True)
class LabHost:
    """One lab host as the inventory names it."""

    name: str
    address: str


def host_data(number: int) -> dict[str, Any]:
    """Connection data of the lab's host `number` (from 0), in pyinfra's own terms."""
    user = os.environ.get("KUBESTAGE_LAB_USER", "root")  # or "admin", who has sudo
    return {
        "ssh_hostname": str(NETWORK[FIRST_HOST + number]),
        "ssh_user": user,
        "_sudo": user != "root",
        "ssh_key": str(state_dir() / "ssh" / "id_ed25519"),
        "ssh_known_hosts_file": str(state_dir() / "ssh" / "known_hosts"),
        "ssh_strict_host_key_checking": "yes",
        "provider": f"{sys.executable} -m lab machine",
    }


def hosts() -> list[LabHost]:
    """The hosts of inventory/lab.py, in its order."""
    groups = runpy.run_path(str(CHECKOUT / "inventory" / "lab.py"))
    return [
        LabHost(name, data["ssh_hostname"]) for group in ("control_plane", "workers") for name, data in groups[group]
    ]
