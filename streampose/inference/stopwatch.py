"""Where an estimator's time goes."""

from __future__ import annotations

import time
from collections.abc import Mapping

__all__ = ["STAGES", "Stopwatch", "total_seconds"]

STAGES = ("preprocess", "detect", "crop", "keypoints", "decode")
"""In the order in which a batch goes through them; one-stage models have no `crop` and no `keypoints`."""


class Stopwatch:
    """Seconds spent in each stage since it was made. Always on: a lap costs less than a microsecond."""

    def __init__(self) -> None:
        self._seconds = dict.fromkeys(STAGES, 0.0)
        self._since = 0.0

    def start(self) -> None:
        """Begin the first stage of a batch."""
        self._since = time.perf_counter()

    def lap(self, stage: str) -> None:
        """The time since `start` or the last lap went to this stage."""
        now = time.perf_counter()
        self._seconds[stage] += now - self._since
        self._since = now

    def seconds(self) -> Mapping[str, float]:
        """By stage."""
        return dict(self._seconds)


def total_seconds(*watches: Stopwatch) -> Mapping[str, float]:
    """Several watches' stages, added."""
    each = [watch.seconds() for watch in watches]
    return {stage: sum(seconds[stage] for seconds in each) for stage in STAGES}
