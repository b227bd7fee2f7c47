"""A client that asks one address again and again, and remembers when there was no good answer."""

from __future__ import annotations

import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from types import TracebackType

EVERY_S = 0.1
SLOW_S = 5.0  # an answer that takes longer is none


def answers(url: str, context: ssl.SSLContext) -> bool:
    """Whether the address gives a good answer."""
    try:
        with urllib.request.urlopen(url, timeout=SLOW_S, context=context) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


class Polling:
    """Asks `ask` ten times a second between `with` and its end."""

    def __init__(self, ask: Callable[[], bool]) -> None:
        self._ask = ask
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)
        self.good: list[tuple[float, bool]] = []  # when asked (monotonic, s), and whether the answer was good

    def _poll(self) -> None:
        while not self._done.wait(EVERY_S):
            asked = time.monotonic()
            self.good.append((asked, self._ask()))

    def __enter__(self) -> Polling:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    @property
    def outages_s(self) -> list[float]:
        """How long each stretch without a good answer was, in seconds."""
        found = []
        since: float | None = None
        for at, good in self.good:
            if not good and since is None:
                since = at
            elif good and since is not None:
                found.append(at - since)
                since = None
        return [*found, *([self.good[-1][0] - since] if since is not None else [])]
