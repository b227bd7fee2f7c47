"""Backups, made on a host and brought to the machine that the run is started from; see kubestage/backups/archive.py."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator
from pathlib import Path

from pyinfra import host, logger
from pyinfra.api import FunctionCommand, OperationError, StringCommand

from kubestage.backups.archive import SUMS, BackupError, sums
from kubestage.cluster.operation import operation
from kubestage.cluster.shell import call, fetch, run_on
from kubestage.kubernetes import BACKUP_UNIT, BACKUPS
from kubestage.operations.transient import in_unit
from kubestage.render.backup import FOLDERS

PACKAGES = ("age",)  # of the distribution


@operation()
def made(script: str) -> Generator[StringCommand, None, None]:
    """Make a backup on this host."""
    yield in_unit(BACKUP_UNIT, script)


@operation()
def brought(folder: Path, keep: int, stays: bool) -> Generator[FunctionCommand, None, None]:
    """Have the host's last backup in `folder` here, and no more than `keep`; `stays`: so does the one on the host."""
    yield call(_bring, folder, keep, stays)


def _bring(folder: Path, keep: int, stays: bool) -> None:
    found, there = run_on(host, f"ls -d {BACKUPS}/{FOLDERS} | tail -n 1")
    found, listed = run_on(host, f"cat {there}/{SUMS}") if found else (False, "")
    if not found:
        raise OperationError(f"{host.name}: there is no backup in {BACKUPS}")
    target = folder / Path(there).name
    part = folder / f".{target.name}.part"
    for left in folder.glob(".*.part"):  # of a run that was ended
        shutil.rmtree(left)
    part.mkdir(parents=True, mode=0o700)
    (part / SUMS).write_text(f"{listed}\n")
    for line in listed.splitlines():
        fetch(host, f"{there}/{line.split()[1]}", part / line.split()[1])
    try:
        sums(part)
    except BackupError as error:
        raise OperationError(f"{host.name}: the backup changed on its way here: {error}") from None
    part.rename(target)
    if not stays:
        run_on(host, f"rm -rf {there}")
    for old in sorted(folder.glob(FOLDERS))[:-keep]:
        shutil.rmtree(old)
    size = sum(file.stat().st_size for file in target.iterdir()) / 2**20
    logger.info(f"    The backup is in {os.path.relpath(target)} ({size:.1f} MiB)")
