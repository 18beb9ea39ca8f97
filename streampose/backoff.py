"""How long to wait before the next try."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Backoff"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Exponential backoff with full jitter and a cap.

    Each wait is drawn evenly from 0 to a bound that doubles up to a cap, so that a hundred cameras behind one switch do
    not come back in step, nor a hundred streams to one server. The method is "full jitter" of Marc Brooker,
    "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.

    The cap decides how soon frames flow after a long absence. A source that comes back in the middle of a wait is tried
    again after at most the cap, in the median after 0.29 of it; 3 s is 0.9 s, at less than one try a second.
    """

    first_s: float = 0.25
    cap_s: float = 3.0
    healthy_s: float = 5.0
    """A connection that lasted so long was a good one: the waits begin anew."""

    def wait_s(self, tries: int, draw: Callable[[float, float], float] = random.uniform) -> float:
        """Seconds to wait after so many failed tries (0 = none yet)."""
        # 2.0 ** 1024 overflows, and the cap was reached long before.
        return draw(0.0, min(self.cap_s, self.first_s * 2.0 ** min(tries, 32)))
