"""What is on a host's disk."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pyinfra.api import FactBase


@dataclass(frozen=True)
class FileState:
    """A regular file: SHA-256 of its content (hex), permission bits in octal ("644"), owner as "uid:gid"."""

    sha256: str
    mode: str
    owner: str


# What a shell prints of the file $f, after a word that may go before it; parse_state reads it.
SHOW_STATE = '$(stat -c \'%a %u:%g\' "$f") $(sha256sum < "$f" | cut -c1-64) "$f"'


def parse_state(line: str) -> tuple[str, FileState]:
    """The path and the FileState in a line of SHOW_STATE."""
    mode, owner, sha256, path = line.split(" ", 3)
    return path, FileState(sha256, mode, owner)


class FileStates(FactBase[dict[str, FileState]]):
    """path -> FileState of those of `paths` that are regular files; one round trip for all of them."""

    @staticmethod
    def default() -> dict[str, FileState]:
        return {}

    def command(self, paths: Sequence[str]) -> str:
        names = " ".join(shlex.quote(path) for path in paths)
        return f'for f in {names}; do if test -f "$f"; then echo {SHOW_STATE}; fi; done'

    def process(self, output: Iterable[str]) -> dict[str, FileState]:
        return dict(map(parse_state, output))


class Missing(FactBase[list[str]]):
    """Those of `paths` at which there is nothing."""

    @staticmethod
    def default() -> list[str]:
        return []

    def command(self, paths: Sequence[str]) -> str:
        names = " ".join(shlex.quote(path) for path in paths)
        return f'for f in {names}; do if ! test -e "$f"; then echo "$f"; fi; done'

    def process(self, output: Iterable[str]) -> list[str]:
        return list(output)


class EmptyFolder(FactBase[bool]):
    """Whether `path` is a folder with nothing in it, and not where a disk is mounted."""

    @staticmethod
    def default() -> bool:
        return False

    def command(self, path: str) -> str:
        return f'test -d {path} && test -z "$(ls -A {path})" && ! mountpoint --quiet {path} && echo empty || true'

    def process(self, output: Iterable[str]) -> bool:
        return list(output) == ["empty"]
