"""Where a run's lines go: to a terminal with a last line drawn anew, or plain into a file, a pipe, a CI's log."""

from __future__ import annotations

import os
import shutil
from typing import TextIO

import click


class Screen:
    """Lines that stay, and on a terminal a status under them that does not."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._status = ""
        self.is_terminal = stream.isatty() and os.environ.get("TERM") != "dumb"

    def say(self, text: str, colour: str | None = None) -> None:
        """Print lines that stay. `colour` is one of click's, for terminals."""
        styled = click.style(text, fg=colour) if colour and self.is_terminal else text
        self.write(f"{styled}\n")
        self.status(self._status)

    def write(self, text: str) -> None:
        """Print `text` as it is, in the place of the status."""
        self._put(f"\r\033[K{text}" if self._status else text)

    def status(self, text: str) -> None:
        """Draw the status anew; "" takes it away."""
        if not self.is_terminal or not (text or self._status):
            return
        width = shutil.get_terminal_size().columns - 1  # a full line would begin another one
        self._status = text[:width]
        self._put(f"\r\033[K{self._status}")

    def _put(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except BrokenPipeError:  # `| head`: nobody reads on, and a run in its midst goes on all the same
            pass
