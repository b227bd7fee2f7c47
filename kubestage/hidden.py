"""What is handed to pyinfra, which shows the arguments of facts and operations, and is not to be shown."""

from __future__ import annotations

from collections.abc import Iterator


class Hidden:
    """A text for a fact's `_stdin`: pyinfra 3.10 takes an iterable, writes its readlines(), and prints its str()."""

    def __init__(self, text: str) -> None:
        self._text = text

    def readlines(self) -> list[str]:
        return self._text.splitlines(keepends=True)

    def __iter__(self) -> Iterator[str]:
        return iter(self.readlines())

    def __repr__(self) -> str:
        return "(not shown)"
