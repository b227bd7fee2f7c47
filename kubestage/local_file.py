"""Files on the machine that a run is started from."""

from __future__ import annotations

import os
from pathlib import Path


def save(path: Path, content: str, mode: int = 0o666, *, outlives_power: bool = True) -> None:
    """Make `path` a file with this `content`; `mode` goes through the umask, as with any new file.

    It is written aside and renamed: nobody sees the half of it, whatever ends the run. A link stays one.
    `outlives_power`: nor does anybody after a power cut, for which the disk is waited for.
    """
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.new")
    aside.unlink(missing_ok=True)
    aside.touch(mode=mode)  # before there is anything to read in it
    with aside.open("w", encoding="utf-8") as file:
        file.write(content)
        if outlives_power:
            file.flush()
            os.fsync(file.fileno())
    aside.replace(path)
