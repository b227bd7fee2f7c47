"""Control groups of the lab's hosts: one a host, named after it, in each hierarchy; nothing else is ever touched.

cgroup v1: a group in each controller below the caller's own, joined before nspawn starts. cgroup v2 under systemd: a
scope that systemd delegates. cgroup v2 without systemd: a group below the root.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab.definition import BRIDGE

PREFIX = f"{BRIDGE}-"
EMPTY_WITHIN_S = 10.0


@dataclass(frozen=True)
class Hierarchy:
    """A mounted hierarchy. root: what of it is mounted; controllers: v1's names, such as cpuset; empty for v2."""

    point: Path
    root: str
    version: int
    controllers: frozenset[str]


def parse_hierarchies(mountinfo: str) -> list[Hierarchy]:
    """The hierarchies in a text of proc_pid_mountinfo(5)."""
    found = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, (kind, _source, options) = before.split(), after.split()[:3]
        if kind in ("cgroup", "cgroup2"):
            names = frozenset() if kind == "cgroup2" else frozenset(options.split(",")) - {"rw", "ro", "xattr"}
            found.append(Hierarchy(Path(fields[4]), fields[3], 2 if kind == "cgroup2" else 1, names))
    return found


def parse_membership(text: str) -> dict[frozenset[str], str]:
    """Controllers -> path, of a text of cgroups(7)'s /proc/PID/cgroup; no controllers: the v2 hierarchy."""
    lines = [line.split(":", 2) for line in text.splitlines()]
    return {frozenset(controllers.split(",")) - {""}: path for _, controllers, path in lines}


def hierarchies() -> list[Hierarchy]:
    return parse_hierarchies(Path("/proc/self/mountinfo").read_text())


def unified(mounted: list[Hierarchy]) -> bool:
    """Whether the machine is on cgroup v2 alone; with both, systemd and so nspawn take the controllers from v1."""
    return bool(mounted) and all(hierarchy.version == 2 for hierarchy in mounted)


def separate() -> bool:
    """Whether the machine has the controllers in hierarchies of their own: cgroup v1."""
    return not unified(hierarchies())


def own_groups(mounted: list[Hierarchy], membership: dict[frozenset[str], str]) -> list[Path]:
    """The folder of the caller's own group in each mounted hierarchy."""
    groups = []
    for hierarchy in mounted:
        path = membership.get(hierarchy.controllers)
        if path is None:
            continue
        if hierarchy.root != "/":  # a container's view: the path starts with what is mounted
            path = path.removeprefix(hierarchy.root)
        groups.append(hierarchy.point / path.lstrip("/"))
    return groups


def under_systemd() -> bool:
    """Whether systemd runs the machine (sd_booted(3))."""
    return Path("/run/systemd/system").is_dir()


def launcher(machine: str) -> list[str]:
    """Make the groups of `machine`; the words before a command line that make it run in them."""
    mounted = hierarchies()
    if unified(mounted):
        if under_systemd():
            scope = ["systemd-run", "--scope", "--quiet", "--collect", "--slice=machine.slice", f"--unit={machine}"]
            return [*scope, "--property=Delegate=yes", "--property=TasksMax=infinity", "--"]
        groups = [_make_unified(mounted[0].point, machine)]
    else:
        own = own_groups(mounted, parse_membership(Path("/proc/self/cgroup").read_text()))
        groups = [_make(parent, machine) for parent in own]
    script = 'while [ "$1" != -- ]; do echo 0 >"$1/cgroup.procs" || exit; shift; done; shift; exec "$@"'
    return ["/bin/sh", "-c", script, "join-cgroups", *map(str, groups), "--"]


def _make(parent: Path, machine: str) -> Path:
    group = parent / machine
    group.mkdir(exist_ok=True)
    for name in ("cpuset.cpus", "cpuset.mems"):  # empty in a new group, and nothing may join it then
        if (group / name).exists():
            (group / name).write_text((parent / name).read_text())
    return group


def _make_unified(root: Path, machine: str) -> Path:
    for controller in (root / "cgroup.controllers").read_text().split():
        if controller not in (root / "cgroup.subtree_control").read_text().split():
            (root / "cgroup.subtree_control").write_text(f"+{controller}")
    group = root / machine
    group.mkdir(exist_ok=True)
    return group


def groups(machine: str = "") -> list[Path]:
    """The lab's groups in all hierarchies, or those of one machine; without the groups inside them."""
    wanted = {machine, f"{machine}.scope"} if machine else None
    found = []
    for hierarchy in hierarchies():
        for folder, names, _files in os.walk(hierarchy.point):
            ours = [name for name in names if name.startswith(PREFIX)]
            found += [Path(folder, name) for name in ours if wanted is None or name in wanted]
            names[:] = [name for name in names if name not in ours]
    return sorted(found)


def processes(machine: str = "") -> set[int]:
    """The pids in the lab's groups, or in those of one machine, and in all groups inside them."""
    pids: set[int] = set()
    for group in groups(machine):
        for member in _with_inner(group):
            try:
                pids.update(map(int, (member / "cgroup.procs").read_text().split()))
            except OSError as error:  # gone meanwhile; or a threaded v2 group, whose processes its parent lists
                if error.errno not in (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP):
                    raise
    return pids - {0}


def remove(machine: str) -> None:
    """Remove the groups of a machine whose processes have ended."""
    deadline = time.monotonic() + EMPTY_WITHIN_S
    for group in groups(machine):
        for member in reversed(list(_with_inner(group))):
            while not _removed(member) and time.monotonic() < deadline:
                time.sleep(0.02)


def _removed(group: Path) -> bool:
    try:
        group.rmdir()
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno != errno.EBUSY:  # its last process is still on its way out
            raise
        return False
    return True


def _with_inner(group: Path) -> Iterator[Path]:
    """The group and all inside it, outer ones first."""
    for folder, _names, _files in os.walk(group):
        yield Path(folder)
