"""What pyinfra says, caught on its way to the terminal: by its logger, or by somebody who writes to stderr."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import pyinfra
import pyinfra_cli
from pyinfra.context import ctx_host
from typing_extensions import override

from kubestage.output.log import plain
from kubestage.output.printer import Printer
from kubestage.output.watch import Watch

_PYINFRA = tuple(str(Path(str(module.__file__)).parent) for module in (pyinfra, pyinfra_cli))
_LAST_WORDS = str(Path(_PYINFRA[1]) / "exceptions.py")  # where pyinfra prints the error that has ended the run
_BEFORE_A_TRACEBACK = "An exception occurred in: "
_HEADING = re.compile(r"--> .*?error.*?: ")  # "--> pyinfra error in FILE line 3: "
_OF_A_HOST = re.compile(r"\[([^\]]+)\] +(?:nested +)?(.*)", re.DOTALL)


class Handler(logging.Handler):
    """Of pyinfra's logger. What our own code logs is meant for people; what pyinfra does is, where something is wrong.

    `keep` is given all of it. `last_words`: of the error that has ended the run; "" as long as there is none.
    """

    def __init__(self, keep: Callable[[str], None], printer: Printer, watch: Watch) -> None:
        super().__init__()
        self.last_words = ""
        self._keep = keep
        self._printer = printer
        self._watch = watch

    @override
    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._take(record, plain(record.getMessage()))
        except Exception:  # as every handler of logging: what goes wrong in it ends no run
            self.handleError(record)

    def _take(self, record: logging.LogRecord, text: str) -> None:
        self._keep(text)
        is_warning = record.levelno >= logging.WARNING
        if record.pathname == _LAST_WORDS and _BEFORE_A_TRACEBACK in text:
            self._printer.say_logged(text)
        elif record.pathname == _LAST_WORDS:
            self.last_words = _HEADING.sub("", text, count=1).rstrip()
        elif not record.pathname.startswith(_PYINFRA):
            self._printer.warn(text) if is_warning else self._printer.say_logged(text)
        elif is_warning:
            self._complaint(text)

    def _complaint(self, text: str) -> None:
        at_work = ctx_host.get()  # type: ignore[no-untyped-call]
        prefix = _OF_A_HOST.match(text)
        host = at_work.name if at_work else prefix[1] if prefix else ""
        if host:  # an operation may ask one host for another, whose name then stays before its words
            self._watch.said(host, prefix[2] if prefix and prefix[1] == host else text)
        else:
            self._printer.warn(text)


class Stream(io.TextIOBase):
    """In the place of `real`, for one that writes to it: hands what is written to `take`."""

    def __init__(self, real: TextIO, take: Callable[[str], None]) -> None:
        self._real = real
        self._take = take

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._real.encoding

    @override
    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError("this is a stream of text")  # click asks by trying
        self._take(text)
        return len(text)

    @override
    def flush(self) -> None:
        self._real.flush()

    @override
    def isatty(self) -> bool:
        return self._real.isatty()

    @override
    def fileno(self) -> int:
        return self._real.fileno()

    @override
    def writable(self) -> bool:
        return True
