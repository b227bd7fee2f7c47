"""Backups opened by the user's own key (https://age-encryption.org/v1), in a process of its own: they may be large.

`python -m kubestage.backups.age open FILE IDENTITY`: what is in it, to the standard output.
`python -m kubestage.backups.age seal IDENTITY FILE COPY FILE COPY...`: each once more, for a key that is made for this
and printed: a host that is given it learns nothing that opens another backup.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import pyrage

Identity = Any  # pyrage has no types


class Refused(Exception):
    """A key, or a file, that is not what it is to be."""


def identities(path: Path) -> list[Identity]:
    """Those in a file as age-keygen writes it, or the one of a private key of SSH without a passphrase; Refused."""
    try:
        text = path.read_text()
        if "PRIVATE KEY-----" in text:
            return [pyrage.ssh.Identity.from_buffer(text.encode())]
        lines = [line.strip() for line in text.splitlines()]
        found = [pyrage.x25519.Identity.from_str(line) for line in lines if line and not line.startswith("#")]
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}") from None
    except (ValueError, pyrage.IdentityError) as error:
        raise Refused(f"{path}: no identity of age, and no private key of SSH: {error}") from None
    if not found:
        raise Refused(f"{path}: there is no identity in it")
    return found


def decrypt(path: Path, keys: list[Identity], to: BinaryIO) -> None:
    """Refused where none of the keys opens it, or where it was cut or changed: age tells so of every part of it."""
    try:
        with path.open("rb") as file:
            pyrage.decrypt_io(file, to, keys)
    except pyrage.DecryptError as error:
        raise Refused(f"{path}: it does not open: {error}") from None
    except OSError as error:
        raise Refused(f"{path}: it was cut or changed: {error}") from None


def main(words: list[str]) -> int:
    """The process; 1, with a sentence on the error output, where it is refused."""
    try:
        what, *paths = words
        if what == "open":
            file, identity = map(Path, paths)
            decrypt(file, identities(identity), sys.stdout.buffer)
            sys.stdout.flush()
        else:
            _seal(*map(Path, paths))
    except Refused as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _seal(identity: Path, *pairs: Path) -> None:
    own = pyrage.x25519.Identity.generate()
    for source, copy in zip(pairs[::2], pairs[1::2], strict=True):
        # pyrage writes what it opens, and reads what it closes: two processes, and a pipe.
        with copy.open("wb") as sealed, subprocess.Popen(opening(source, identity), stdout=subprocess.PIPE) as opened:
            pyrage.encrypt_io(opened.stdout, sealed, [own.to_public()])
        if opened.returncode:
            raise Refused(f"{source}: not sealed for the host")
    print(own)


def sealing(identity: Path, copies: Mapping[Path, Path]) -> list[str]:
    """The command that makes `copies` (file -> its copy) for a key of their own, and prints that."""
    pairs = [str(path) for pair in copies.items() for path in pair]
    return [sys.executable, "-m", "kubestage.backups.age", "seal", str(identity), *pairs]


def opening(file: Path, identity: Path) -> list[str]:
    """The command that prints what is in `file`."""
    return [sys.executable, "-m", "kubestage.backups.age", "open", str(file), str(identity)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
