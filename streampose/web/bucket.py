"""How often something may happen: so many a second, and some more at once."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Bucket"]


class Bucket:
    """A token bucket, full at first.

    Args:
        rate: tokens a second.
        size: the most that it holds.
        clock: monotonic seconds.
    """

    def __init__(self, rate: float, size: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._size, self._clock = rate, size, clock
        self._held, self._at = size, clock()

    def take(self) -> bool:
        """Take a token; whether there was one."""
        now = self._clock()
        self._held = min(self._size, self._held + (now - self._at) * self._rate)
        self._at = now
        if self._held < 1:
            return False
        self._held -= 1
        return True
