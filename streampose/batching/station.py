"""One engine as the batcher sees it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from streampose.frame import Image
from streampose.pose import Poses

__all__ = ["Infer", "Station"]

Infer = Callable[[Sequence[Image]], Awaitable[list[Poses]]]
"""One engine: people of each image. It runs one batch at a time, in the order of the calls.

Of one that has a ``lead_s``, the next batch may be given to it so many seconds before the last one is done.
"""


class Station:
    """What runs on an engine, and from when on it may be given more.

    Args:
        infer: the engine.
    """

    def __init__(self, infer: Infer) -> None:
        self.infer = infer
        self._expected_s: deque[float] = deque()
        self.began_at = self.ended_at = -math.inf
        """Of the batch that runs, and of the one before."""

    @property
    def in_flight(self) -> int:
        """Batches: the one that runs, and the one that waits for it."""
        return len(self._expected_s)

    def opens_at(self, now: float, *, live: bool) -> float:
        """From when on it may be given a batch; `inf` = not before one is done.

        Args:
            now: monotonic seconds.
            live: a second batch comes so late that it finds the engine free, and its pictures just sent; of recordings
                it may wait at the engine for however long.
        """
        if not self.in_flight:
            return -math.inf
        if self.in_flight > 1:
            return math.inf
        if not live:
            return -math.inf
        lead_s: float = getattr(self.infer, "lead_s", 0.0)
        free_at = self.began_at + self._expected_s[0]
        # Nobody knows when one that is overdue will be free.
        return free_at - lead_s if now <= free_at + lead_s and lead_s > 0 else math.inf

    def free_at(self, now: float) -> float:
        """When it has done what it was given, as far as anybody knows; not before now."""
        free_at = self.began_at + sum(self._expected_s)
        return max(now, free_at) if self.in_flight and free_at < math.inf else now

    def take(self, now: float, expected_s: float) -> None:
        """A batch is given to it."""
        if not self.in_flight:
            self.began_at = now
        self._expected_s.append(expected_s)

    def done(self, now: float) -> float:
        """The oldest batch is done.

        Returns:
            The seconds that it ran, without those that it waited for the one before it.
        """
        self._expected_s.popleft()
        seconds = now - self.began_at
        self.began_at = self.ended_at = now
        return seconds
