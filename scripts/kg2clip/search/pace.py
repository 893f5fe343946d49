"""A steady rate for any number of threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

LATE = 0.02  # seconds by which a turn may be asked for too late and still be had: threads never wake on the dot


class Pace:
    """Hands out turns, so many a second at most, in whatever thread they are asked for."""

    def __init__(self, per_second: float) -> None:
        """`per_second` turns a second."""
        self._pause = 1 / per_second
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self, sleep: Callable[[float], object]) -> None:
        """Sleep until it is this thread's turn. Turns lie on a grid, so that a late sleeper delays nobody else."""
        with self._lock:
            now = time.monotonic()
            turn = self._next if now - self._next < LATE else now
            self._next = turn + self._pause
        if (seconds := turn - now) > 0:
            sleep(seconds)

    def hold(self, seconds: float) -> None:
        """Give nobody a turn for so long: a source that asks one thread to wait means all of them."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)
