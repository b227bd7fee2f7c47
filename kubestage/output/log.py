"""All of a run's output, kept in a file of its own: with the time of each line, without anybody's passwords."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from kubestage.settings.problems import sounds_secret

KEPT = 20  # runs
MASK = "***"

_ANSI = re.compile(r"\033\[[0-9;?]*[A-Za-z]")
# What is secret by its looks: a password in a URL, kubeadm's bootstrap token, a ServiceAccount's.
_PATTERNS = (
    (re.compile(r"(://[^/\s:@]+:)[^/\s@]+(?=@)"), rf"\1{MASK}"),
    (re.compile(r"\b[a-z0-9]{6}\.[a-z0-9]{16}\b"), MASK),
    (re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]+"), MASK),
)
_SHORTEST = 4  # characters of a secret that is masked: a shorter one would be found in half of all words


def plain(text: str) -> str:
    """`text` without a terminal's colours."""
    return _ANSI.sub("", text)


def secrets_in(data: Any, name: str = "") -> Iterator[str]:
    """The texts in a host's data that no output may show: those under a `name` that sounds so, however deep."""
    if isinstance(data, Mapping):
        for key, value in data.items():
            yield from secrets_in(value, f"{name}.{key}" if name else str(key))
    elif isinstance(data, list | tuple):
        for each in data:
            yield from secrets_in(each, name)
    elif isinstance(data, str) and sounds_secret(name):
        yield data


class Mask:
    """Puts `***` in the place of secrets."""

    def __init__(self) -> None:
        self._known: list[str] = []

    def learn(self, secrets: Iterable[str]) -> None:
        known = {*self._known, *(secret for secret in secrets if len(secret) >= _SHORTEST)}
        self._known = sorted(known, key=lambda secret: (-len(secret), secret))  # one may be in another

    def __call__(self, text: str) -> str:
        for secret in self._known:
            text = text.replace(secret, MASK)
        for pattern, instead in _PATTERNS:
            text = pattern.sub(instead, text)
        return text


class Log:
    """A file that nobody else may read, and the last ones of its folder; older ones go, with what lies beside them."""

    def __init__(self, folder: Path, mask: Mask) -> None:
        """OSError where it can't be made. `error`: why it is not whole; a disk that is full ends no run."""
        self._mask = mask
        self.error = ""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _drop_old(folder)
        self.path, self._file = _new_file(folder)

    def write(self, text: str) -> None:
        """Add `text`, a line or several."""
        now = f"{datetime.now():%H:%M:%S.%f}"[:-3]
        lines = self._mask(plain(text)).splitlines()
        try:
            self._file.write("".join(f"{now} {line}".rstrip() + "\n" for line in lines))
        except OSError as error:
            self.error = str(error.strerror)


def _new_file(folder: Path) -> tuple[Path, TextIO]:
    name = f"{datetime.now():%Y-%m-%dT%H%M%S}"
    number = 1
    while True:
        path = folder / (f"{name}.log" if number == 1 else f"{name}-{number}.log")
        try:
            # Line by line: a run that is killed has left all of it.
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:  # another run of this second
            number += 1
        else:
            return path, os.fdopen(descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace")


def _drop_old(folder: Path) -> None:
    """Make room for one more."""
    for log in sorted(folder.glob("*.log"))[: 1 - KEPT]:
        for file in folder.glob(f"{log.stem}.*"):
            file.unlink(missing_ok=True)
