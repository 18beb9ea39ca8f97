"""What a batch costs, learned while running."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["BatchCost", "Load"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a batch holds. For a batch that is not run yet, `people` is an expectation."""

    frames: int
    people: float = 0.0


class BatchCost:
    """Seconds of a batch as a + b·frames + c·people, by recursive least squares that forgets slowly.

    A batch far longer than expected counts as four times as long (the machine was busy elsewhere, or a shape was
    compiled): without this, one hiccup would make the policy drop frames for seconds.

    Args:
        memory: how many batches it remembers, in effect.
    """

    def __init__(self, memory: int = 100) -> None:
        self._forget = 1 - 1 / memory
        # A weak belief before the first batch: 10 ms a frame, 2 ms a person. It is wrong by 10 × either way on
        # some machine; three batches outweigh it.
        self._theta = np.array([0.0, 0.010, 0.002])
        self._cov = np.eye(3)
        self.observed = 0

    def predict(self, load: Load) -> float:
        """Expected seconds, > 0."""
        return max(float(self._theta @ self._features(load)), 1e-5)

    def observe(self, load: Load, seconds: float) -> None:
        """Learn from one batch that took `seconds`."""
        x = self._features(load)
        expected = self.predict(load)
        if self.observed >= 8:
            seconds = min(seconds, 4 * expected)
        gain = self._cov @ x / (self._forget + x @ self._cov @ x)
        self._theta = self._theta + gain * (seconds - self._theta @ x)
        # No part of a batch takes less than no time: keeps predictions sane outside the sizes seen so far.
        self._theta = np.maximum(self._theta, 0.0)
        cov = (self._cov - np.outer(gain, x @ self._cov)) / self._forget
        # Without a bound, what is never excited (always the same size) grows for ever by forgetting.
        self._cov = cov if np.trace(cov) < 1e3 else self._cov
        self.observed += 1

    @staticmethod
    def _features(load: Load) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return np.array([1.0, load.frames, load.people])
