"""What measures one stream: a source that times its reads, and a watch that times what comes."""

from __future__ import annotations

import math
import time

from streampose.frame import Frame, Image, StreamInfo
from streampose.metrics import Histogram
from streampose.result import Result
from streampose.sources.source import Source
from streampose.worker import Interruptible

__all__ = ["Metered", "Watch"]

_SAMPLES = 32


class Metered:
    """A source that says how long its reads take, ends after so many frames, and keeps a few pictures.

    Args:
        source: what is measured.
        frames: how many to give; `None` = all.
    """

    def __init__(self, source: Source, *, frames: int | None = None) -> None:
        self.live = source.live
        self._source = source
        self._frames = math.inf if frames is None else frames
        self.reads = 0
        self.wall_s = 0.0
        self.cpu_s = 0.0
        self.pictures: list[Image] = []

    def open(self, stream: str) -> StreamInfo:
        """Open it."""
        return self._source.open(stream)

    def read(self) -> Frame | None:
        """The next frame, timed."""
        if self.reads >= self._frames:
            return None
        wall, cpu = time.perf_counter(), time.thread_time()
        frame = self._source.read()
        self.wall_s += time.perf_counter() - wall
        self.cpu_s += time.thread_time() - cpu
        if frame is not None:
            if self.reads % 10 == 0 and len(self.pictures) < _SAMPLES:
                self.pictures.append(frame.image)
            self.reads += 1
        return frame

    def interrupt(self) -> None:
        """End what blocks in it, if it can be ended."""
        if isinstance(self._source, Interruptible):
            self._source.interrupt()

    def close(self) -> None:
        """Close it."""
        self._source.close()


class Watch:
    """Times what comes."""

    def __init__(self, budget_s: float | None) -> None:
        self._budget_s = math.inf if budget_s is None else budget_s
        self.counting = True
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self.latency, self.wait, self.finish = Histogram(), Histogram(), Histogram()
        self.on_time = 0

    def __call__(self, result: Result) -> None:
        """Count one."""
        if not self.counting:
            return
        timing = result.timing
        self.latency.add(timing.latency_s)
        self.wait.add(max(0.0, timing.taken_at - timing.captured_at))
        self.finish.add(max(0.0, timing.delivered_at - timing.inferred_at))
        self.on_time += timing.latency_s <= self._budget_s
