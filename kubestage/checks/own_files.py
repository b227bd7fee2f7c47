"""The user's own files, on the machine that the run is started from."""

from __future__ import annotations

from pathlib import Path

_LARGEST = 1 << 20  # bytes; all of them go to a host in one command


class Unusable(Exception):
    """A file that can't be used."""

    def __init__(self, reason: str, remedy: str) -> None:
        self.reason, self.remedy = reason, remedy
        super().__init__(reason)


def content(path: str, kind: str = "file") -> bytes:
    """What is in the file at `path`, which is to be of a `kind` as messages call it; raises Unusable."""
    correct = "correct the path; it is on the machine that runs pyinfra"
    try:
        file = Path(path).expanduser()
        if not file.is_file():  # a pipe would be waited for
            file.stat()
            raise Unusable("it is no file", f"name a {kind}: {correct}")
        if file.stat().st_size > _LARGEST:
            raise Unusable(f"it is too large: larger than {_LARGEST} bytes", f"name a {kind} that is smaller")
        return file.read_bytes()
    except (FileNotFoundError, RuntimeError):  # the second: "~nobody" is nobody's home
        raise Unusable("there is no such file", correct) from None
    except ValueError:
        raise Unusable("not a path", "correct it; it is on the machine that runs pyinfra") from None
    except OSError as error:
        raise Unusable(f"it can't be read: {error.strerror}", "let the user who runs pyinfra read it") from None


def text(path: str) -> str:
    """What is in a file of text; raises Unusable."""
    try:
        return content(path).decode()
    except UnicodeDecodeError:
        raise Unusable("it is not text in UTF-8", "convert it, e.g. certificates to PEM") from None
