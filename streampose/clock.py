"""Time, so that tests can own it."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """What the pipeline asks of time. Latency is only ever measured on such a clock."""

    def now(self) -> float:
        """Monotonic seconds from an arbitrary start."""

    async def wait(self, event: asyncio.Event, until: float | None) -> None:
        """Return when the event is set, or at `until` (on this clock; `None` = never), whichever is first."""


class SystemClock:
    """The machine's monotonic clock, the one that sources stamp `Frame.captured_at` with."""

    def now(self) -> float:
        """Monotonic seconds, as `time.monotonic`."""
        return time.monotonic()

    async def wait(self, event: asyncio.Event, until: float | None) -> None:
        """Return when the event is set, or at `until`, whichever is first."""
        if until is None:
            await event.wait()
            return
        try:
            # uvloop counts in milliseconds: for less than one it would come too early, again and again.
            left_s = until - self.now()
            async with asyncio.timeout(max(left_s, 0.001) if left_s > 0 else 0):
                await event.wait()
        except TimeoutError:
            pass
