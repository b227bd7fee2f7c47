"""A load of requests at a steady rate, which ends by itself."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

THREADS = 16  # a slow answer holds up one of them


class Load:
    """Calls `ask` `per_second` times a second between `with` and its end, and at most `at_most` times in all.

    `answers`: what `ask` returned -> how often.
    """

    def __init__(self, ask: Callable[[], str], per_second: int, at_most: int) -> None:
        self._ask = ask
        self._per_second = per_second
        self._at_most = at_most
        self._asked = 0
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._begin = 0.0
        self._pool = ThreadPoolExecutor(THREADS)
        self._working: list[Future[None]] = []
        self.answers: Counter[str] = Counter()

    def __enter__(self) -> Load:
        self._begin = time.monotonic()
        self._working = [self._pool.submit(self._work) for _ in range(THREADS)]
        return self

    def _work(self) -> None:
        while (number := self._next()) is not None:
            due = self._begin + number / self._per_second
            if self._done.wait(max(0.0, due - time.monotonic())):
                return
            answer = self._ask()
            with self._lock:
                self.answers[answer] += 1

    def _next(self) -> int | None:
        with self._lock:
            if self._asked == self._at_most:
                return None
            self._asked += 1
            return self._asked - 1

    @property
    def running(self) -> bool:
        return any(not work.done() for work in self._working)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._pool.shutdown()
        for work in self._working:
            work.result()
