"""Finished things by key: each is built once, beside its place, and renamed into it when it is whole."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.definition import cache_dir
from lab.progress import step

KEY_DIGITS = 16  # of a sha256 in hexadecimal: short enough for a folder's name


def digest(*parts: str | bytes | Path) -> str:
    """A short digest of all parts in their order; of a Path, its content (a folder's: all paths and modes too)."""
    total = hashlib.sha256()
    for part in parts:
        data = _content(part) if isinstance(part, Path) else part.encode() if isinstance(part, str) else part
        total.update(hashlib.sha256(data).digest())
    return total.hexdigest()[:KEY_DIGITS]


def _content(path: Path) -> bytes:
    if not path.is_dir():
        return path.read_bytes()
    files = sorted(file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    lines = [
        f"{file.relative_to(path)} {file.stat().st_mode & 0o111:o} {hashlib.sha256(file.read_bytes()).hexdigest()}"
        for file in files
    ]
    return "\n".join(lines).encode()


def entry(kind: str, key: str, build: Callable[[Path], None]) -> Path:
    """The finished folder <cache>/<kind>/<key>; if there is none, `build` fills an empty folder that becomes it.

    Safe to interrupt at any moment (what is not whole is thrown away by the next try) and for two at once (the second
    waits for the first, then finds the finished folder).
    """
    place = cache_dir() / kind / key
    if place.is_dir():
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    with _locked(place):
        if place.is_dir():
            return place
        partial = place.with_name(f".{key}.partial")
        remove_tree(partial)
        partial.mkdir()
        try:
            build(partial)
        except BaseException:
            remove_tree(partial)
            raise
        os.sync()  # else a power cut could leave the new name with empty files under it
        partial.rename(place)
    return place


@contextmanager
def _locked(place: Path) -> Iterator[None]:
    with place.with_name(f".{place.name}.lock").open("w") as lock:  # never removed: that would be a race
        os.set_inheritable(lock.fileno(), True)  # a command that outlives a killed build still holds it
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with step(f"{place.parent.name} {place.name}: another run is building it"):
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def remove_tree(path: Path) -> None:
    """Remove a folder of the lab's own, with what is still mounted in it unmounted first; none there is fine."""
    for mount in reversed(_mounts_below(path)):
        subprocess.run(["umount", str(mount)], check=True)
    if path.is_dir():
        shutil.rmtree(path)


def _mounts_below(path: Path) -> list[Path]:
    """Mount points at or below `path`, in the order they were mounted (proc_pid_mountinfo(5), field 5)."""
    prefix = path.resolve()
    points = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = Path(line.split()[4].encode().decode("unicode_escape"))
        if point.is_relative_to(prefix):
            points.append(point)
    return points
