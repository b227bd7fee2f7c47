"""What the machine needs before anything else runs: checked all at once, then installed; `python3 -m lab.setup`.

`python3 -m lab.setup venv`: only the virtual environment, which is all that a deploy to hosts of one's own needs;
`aliyun`: that, and the SDK of Alibaba Cloud.

Standard library only: this is run before the virtual environment exists.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lab import cgroups, disk
from lab.debian_packages import ARTIFACTS, HOSTS, TESTS, VENV
from lab.definition import CHECKOUT, OWN_MIRROR, builds, cache_dir, is_built, mirror
from lab.progress import StepFailed, resume_command, run

NEED_CPUS = 2
NEED_MEMORY_MIB = 6 * 1024
NEED_COLD_DISK_MIB = 20 * 1024  # Go's own caches are most of it
NEED_PYTHON = (3, 11)
NEED_GO = (1, 26)
VENV_FOLDER = CHECKOUT / ".venv"
REQUIREMENTS, ALIYUN = CHECKOUT / "requirements.txt", CHECKOUT / "requirements-aliyun.txt"
LOG = "logs/setup.log"


@dataclass(frozen=True)
class Machine:
    """What was found; every check is a pure look at it. memory_mib, disk_mib: in all, and free where the cache is."""

    root: bool
    system: str  # as os-release(5) names it: "debian 12"
    architecture: str
    cpus: int
    memory_mib: int
    disk_mib: int
    disk_of: Path
    warm: bool  # the cache holds what takes the room to build
    python: tuple[int, int]
    go: str  # such as go1.26.8; empty: none
    tools: frozenset[str]
    kernel_lacks: tuple[str, ...]
    builds: bool = True  # what the hosts install; else they have it from a mirror profile


def problems(found: Machine) -> list[str]:
    """All that keeps the lab from running here, one line each: what was found, and what is needed."""
    need_disk = disk.NEED_MIB if found.warm or not found.builds else NEED_COLD_DISK_MIB
    checks: list[tuple[bool, str]] = [
        (found.root, "not root: mounts, links and hosts can be made by root alone; give the command as root"),
        (
            found.system == "debian 12",
            f"the system is {found.system or 'unknown'}: the lab needs Debian 12 (your own hosts may differ)",
        ),
        (found.architecture == "x86_64", f"the architecture is {found.architecture}: the lab needs x86_64"),
        (found.cpus >= NEED_CPUS, f"{found.cpus} CPU: at least {NEED_CPUS} are needed"),
        (
            found.memory_mib >= NEED_MEMORY_MIB,
            f"{found.memory_mib} MiB of memory: at least {NEED_MEMORY_MIB} MiB are needed",
        ),
        (
            found.disk_mib >= need_disk,
            f"{found.disk_mib} MiB free at {found.disk_of}: {need_disk} MiB are needed; "
            "make room, or set KUBESTAGE_CACHE to a folder on a larger disk",
        ),
        (
            found.python >= NEED_PYTHON,
            f"Python {found.python[0]}.{found.python[1]}: at least {NEED_PYTHON[0]}.{NEED_PYTHON[1]} is needed; "
            "name another one with PYTHON=…",
        ),
        (
            not found.builds or go_numbers(found.go) >= NEED_GO,
            f"Go {found.go or 'is not on PATH'}: at least {NEED_GO[0]}.{NEED_GO[1]} is needed (https://go.dev/dl)",
        ),
    ]
    lacking = [f"{tool} is not on PATH: install it" for tool in ("git", "make") if tool not in found.tools]
    kernel = [f"the kernel has no {feature}: the hosts need it" for feature in found.kernel_lacks]
    return [text for good, text in checks if not good] + lacking + kernel


def go_numbers(version: str) -> tuple[int, ...]:
    """Of a version such as go1.26.8 or go1.27rc1: (1, 26) or (1, 27); empty if it is none."""
    match = re.match(r"go(\d+)\.(\d+)", version)
    return tuple(map(int, match.groups())) if match else ()


def os_release(text: str) -> str:
    """The system's name and version, such as "debian 12", from a text of os-release(5)."""
    fields = dict(line.partition("=")[::2] for line in text.splitlines() if "=" in line)
    return " ".join(fields.get(name, "").strip("\"'") for name in ("ID", "VERSION_ID")).strip()


def look() -> Machine:
    """Read the machine; nothing is changed."""
    release = Path("/etc/os-release")
    meminfo = re.search(r"MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    return Machine(
        root=os.geteuid() == 0,
        system=os_release(release.read_text()) if release.exists() else "",
        architecture=platform.machine(),
        cpus=len(os.sched_getaffinity(0)),
        memory_mib=int(meminfo[1]) // 1024 if meminfo else 0,
        disk_mib=disk.free_mib(),
        disk_of=disk.place(),
        warm=is_built(),
        python=sys.version_info[:2],
        go=_output(["go", "env", "GOVERSION"]),
        tools=frozenset(tool for tool in ("git", "make") if shutil.which(tool)),
        kernel_lacks=tuple(_kernel_lacks()) if os.geteuid() == 0 else (),
        builds=builds(),
    )


def _kernel_lacks() -> list[str]:
    """Tried out in namespaces that are gone at once; links only where `ip` is installed already."""
    if not _works(["unshare", "--mount", "--net", "--pid", "--uts", "--ipc", "--fork", "true"]):
        return ["namespaces (or this is a container that may not make them)"]
    lacking = []
    if not _works(["sh", "-c", "grep -qw overlay /proc/filesystems || modprobe overlay"]):
        lacking.append("overlay file system")
    if not cgroups.hierarchies():
        lacking.append("control groups mounted")
    if shutil.which("ip"):
        links = {"bridge": "bridge", "veth": "veth", "vxlan": "vxlan id 1 dstport 4789"}
        for name, kind in links.items():
            if not _works(["unshare", "--net", "ip", "link", "add", "try0", "type", *kind.split()]):
                lacking.append(f"{name} links")
    return lacking


def _works(argv: list[str]) -> bool:
    try:
        return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def _output(argv: list[str]) -> str:
    try:
        return subprocess.run(
            argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False
        ).stdout.strip()
    except FileNotFoundError:
        return ""


def profile_problems(name: str) -> list[str]:
    """What is wrong with the mirror profile of that name."""
    profiles = [OWN_MIRROR, *runpy.run_path(str(CHECKOUT / "group_data" / "all.py"))["mirrors"]]
    if name in profiles:
        return []
    return [f"there is no mirror profile {name!r}: MIRROR is one of {', '.join(profiles)}, or left out"]


def check() -> None:
    """StepFailed with all problems of the machine, before anything is done."""
    found = [*profile_problems(mirror()), *problems(look())]
    if found:
        raise StepFailed(
            "This machine can't run the lab; nothing was changed:\n"
            + "\n".join(f"  - {line}" for line in found)
            + f"\nTo go on once that is mended: {resume_command()}"
        )


def missing_packages(tests: bool) -> list[str]:
    """The Debian packages that are needed, by the lab or by its tests as well, and not installed."""
    has_venv = importlib.util.find_spec("ensurepip") is not None
    wanted = sorted({*ARTIFACTS, *HOSTS, *(TESTS if tests else ()), *(() if has_venv else VENV)})
    shown = _output(["dpkg-query", "--show", "--showformat=${db:Status-Status} ${Package}\n", *wanted])
    installed = {line.split()[1] for line in shown.splitlines() if line.startswith("installed ")}
    return [name for name in wanted if name not in installed]


def install_packages(tests: bool) -> None:
    """Install what is missing with the machine's own apt; nothing that is there is touched without need."""
    missing = missing_packages(tests)
    if not missing:
        return
    log = cache_dir() / LOG
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    apt = ["apt-get", "--quiet", "--option", "DPkg::Lock::Timeout=300"]
    run([*apt, "update"], env=quiet, log=log, title="Debian package lists")
    install = [*apt, "install", "--yes", "--no-install-recommends", *missing]
    run(install, env=quiet, log=log, title=f"Debian packages: {' '.join(missing)}")


def make_venv() -> None:
    """The virtual environment, with exactly the versions of requirements.txt; anew when either has changed."""
    state = hashlib.sha256(f"{sys.version}\n{REQUIREMENTS.read_text()}".encode()).hexdigest()
    stamp = VENV_FOLDER / "made-from"
    if stamp.exists() and stamp.read_text() == state:
        return
    log = cache_dir() / LOG
    run([sys.executable, "-m", "venv", "--clear", VENV_FOLDER], log=log, title="virtual environment")
    pip: list[str | Path] = [VENV_FOLDER / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "install"]
    run([*pip, "--requirement", REQUIREMENTS], log=log, title="Python packages")
    run([*pip[:-1], "check"], log=log, title="Python packages: check")
    stamp.write_text(state)


def add_aliyun() -> None:
    """The SDK of Alibaba Cloud, into the virtual environment: inventory/aliyun.py needs it, and nothing else does."""
    stamp = VENV_FOLDER / "made-from-aliyun"
    if stamp.exists() and stamp.read_text() == ALIYUN.read_text():
        return
    log = cache_dir() / LOG
    pip: list[str | Path] = [VENV_FOLDER / "bin" / "python", "-m", "pip", "--disable-pip-version-check"]
    run([*pip, "install", "--requirement", ALIYUN], log=log, title="Python packages: SDK of Alibaba Cloud")
    run([*pip, "check"], log=log, title="Python packages: check")
    stamp.write_text(ALIYUN.read_text())


def main(what: str = "") -> int:
    """Check, then install what is missing; the exit code.

    `what`: "venv" for that alone, "aliyun" for that with the SDK of Alibaba Cloud, "tests" for more packages.
    """
    everything = (check, partial(install_packages, what == "tests"), make_venv, add_aliyun)
    steps: dict[str, tuple[Callable[[], None], ...]] = {"venv": (make_venv,), "aliyun": (make_venv, add_aliyun)}
    try:
        for step in steps.get(what, everything):
            step()
    except StepFailed as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
