"""A policy for streams that are not known yet."""

from __future__ import annotations

import math
from collections.abc import Sequence

from streampose.batching import Decision, FixedBatch, LatencyBatch, Load, Waiting

__all__ = ["Mixture"]

# Like `LatencyBatch`: a live stream that has offered nothing for so long does not count.
_GONE_S = 1.0


class Mixture:
    """`FixedBatch` while there are recordings alone, and `LatencyBatch` as soon as a live stream is among them.

    Args:
        budget_s: see `LatencyBatch`.
        max_frames: of a batch.
    """

    depth = LatencyBatch.depth

    def __init__(self, budget_s: float, max_frames: int) -> None:
        self.budget_s, self.max_frames = budget_s, max_frames
        self._fixed, self._latency = FixedBatch(max_frames), LatencyBatch(budget_s, max_frames=max_frames)
        self._live_at = -math.inf

    @property
    def engines(self) -> int:
        """How many batches run at a time."""
        return self._latency.engines

    @engines.setter
    def engines(self, engines: int) -> None:
        self._fixed.engines = self._latency.engines = engines

    def decide(self, now: float, waiting: Sequence[Waiting], more: bool) -> Decision:
        """What the one or the other says."""
        if any(frame.live for frame in waiting):
            self._live_at = now
        policy = self._latency if now - self._live_at < _GONE_S else self._fixed
        return policy.decide(now, waiting, more)

    def observe(self, load: Load, seconds: float) -> None:
        """Learn from all of them."""
        self._latency.observe(load, seconds)

    def expected_s(self, load: Load) -> float:
        """How long a batch will probably take."""
        return self._latency.expected_s(load)
