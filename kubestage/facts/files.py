"""What is on a host's disk."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from kubestage.facts.framed import Fact, Lines


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


class FileStates(Fact[dict[str, FileState]]):
    """path -> FileState of those of `paths` that are regular files; one round trip for all of them.

    `marked`: a pattern of paths, as the shell has them -> a line; of these the files that have that line as well.
    `below`: a folder; all of its files as well, whose names have no blanks.
    """

    @staticmethod
    def default() -> dict[str, FileState]:
        return {}

    def ask(self, paths: Sequence[str], marked: Mapping[str, str] = MappingProxyType({}), below: str = "") -> str:
        names = " ".join(
            [
                *(shlex.quote(path) for path in paths),
                *(f"$(grep -lxF -e {shlex.quote(line)} {pattern} 2>/dev/null)" for pattern, line in marked.items()),
                *([f"$(find {below} -type f 2>/dev/null)"] if below else []),
            ]
        )
        return f'for f in {names}; do if test -f "$f"; then echo {SHOW_STATE}; fi; done'

    def parse(self, output: Sequence[str]) -> dict[str, FileState]:
        return dict(map(parse_state, output))


class Texts(Fact[dict[str, str]]):
    """path -> the content of those of `paths` that are files; a byte that is not UTF-8 is a surrogate (PEP 383)."""

    @staticmethod
    def default() -> dict[str, str]:
        return {}

    def ask(self, paths: Sequence[str]) -> str:
        names = " ".join(shlex.quote(path) for path in paths)
        return f'for f in {names}; do if test -f "$f"; then echo "$(base64 -w 0 < "$f") $f"; fi; done'

    def parse(self, output: Sequence[str]) -> dict[str, str]:
        contents = (line.partition(" ") for line in output)
        return {path: text_of(content) for content, _, path in contents}


def text_of(content: str) -> str:
    """A file's text from its base64, in which nothing of it is lost on the way."""
    return base64.b64decode(content, validate=True).decode(errors="surrogateescape")


class Missing(Lines):
    """Those of `paths` at which there is nothing."""

    def ask(self, paths: Sequence[str]) -> str:
        names = " ".join(shlex.quote(path) for path in paths)
        return f'for f in {names}; do if ! test -e "$f"; then echo "$f"; fi; done'


COMMENT = "# kubestage: "  # before a line that a run has switched off


class Commented(Lines):
    """The files of `paths`, which may be patterns, that have a line with COMMENT before it."""

    def ask(self, paths: Sequence[str]) -> str:
        return f"grep -l '^{COMMENT}' {' '.join(paths)} 2>/dev/null || true"


class EmptyFolder(Fact[bool]):
    """Whether `path` is a folder with nothing in it, and not where a disk is mounted."""

    @staticmethod
    def default() -> bool:
        return False

    def ask(self, path: str) -> str:
        return f'test -d {path} && test -z "$(ls -A {path})" && ! mountpoint --quiet {path} && echo empty || true'

    def parse(self, output: Sequence[str]) -> bool:
        return list(output) == ["empty"]
