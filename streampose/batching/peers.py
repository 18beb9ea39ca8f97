"""Batch policies of other systems, in a few lines each: for comparison, and for whoever wants them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from streampose.batching.cost import BatchCost, Load
from streampose.batching.policy import ASK_AGAIN_S, IN_TIME, Decision, Take, Wait, Waiting, check_size
from streampose.errors import ConfigError
from streampose.number import is_positive

__all__ = ["AimdBatch", "DeferredBatch", "RuleBatch", "TimeoutBatch", "WindowBatch"]

# So many batches of a size say what it costs.
_TRIES = 3


def _sane(max_frames: int, seconds: float) -> None:
    check_size(max_frames)
    if not is_positive(seconds):
        raise ConfigError(f"a time to wait or to keep is positive, not {seconds!r} s")


class TimeoutBatch:
    """When so many wait, or the oldest has waited so long.

    The dynamic batcher of Triton (``max_queue_delay_microseconds``) and the muxer of DeepStream
    (``batched-push-timeout``). Knows no deadlines.

    Args:
        size: no batch holds more.
        timeout_s: the longest wait for company.

    Raises:
        ConfigError: a size or a time that is not positive.
    """

    def __init__(self, size: int = 8, timeout_s: float = 0.01) -> None:
        _sane(size, timeout_s)
        self.max_frames = size
        self.engines = 1
        self.timeout_s = timeout_s
        self.budget_s = math.inf

    def decide(self, now: float, waiting: Sequence[Waiting], more: bool) -> Decision:
        """Take when full, when the oldest has waited long enough, or when no more can come."""
        if not waiting:
            return Wait()
        until = min(w.captured_at for w in waiting) + self.timeout_s
        if more and len(waiting) < self.max_frames and now < until:
            return Wait(until=until)
        return Take(frames=tuple(waiting[: self.max_frames]))

    def observe(self, load: Load, seconds: float) -> None:
        """Nothing to learn."""


class AimdBatch:
    """Up to a size that grows by one while batches keep within the budget, and shrinks by 10 % when one does not.

    Clipper (Crankshaw et al., NSDI 2017). Only a full batch says that the size can grow.

    Args:
        budget_s: the longest a batch may take.
        max_frames: no batch holds more.

    Raises:
        ConfigError: a size or a time that is not positive.
    """

    def __init__(self, budget_s: float = 0.1, *, max_frames: int = 16) -> None:
        _sane(max_frames, budget_s)
        self.budget_s = budget_s
        self.max_frames = max_frames
        self.engines = 1
        self.size = 1.0
        """How many it takes now, before rounding down."""

    def decide(self, now: float, waiting: Sequence[Waiting], more: bool) -> Decision:
        """Take what waits, at once."""
        return Take(frames=tuple(waiting[: int(self.size)])) if waiting else Wait()

    def observe(self, load: Load, seconds: float) -> None:
        """Grow or shrink."""
        if seconds > self.budget_s:
            self.size = max(1.0, 0.9 * self.size)
        elif load.frames >= int(self.size):
            self.size = min(self.size + 1, float(self.max_frames))


class DeferredBatch:
    """At the last moment at which one more frame could still join without breaking the earliest deadline.

    Symphony (Chen et al., 2023): a batch of n leaves at *deadline − cost(n + 1)*, so it is as full as it can be, and
    frames that cannot make it are dropped first. Symphony is given its cost curve; this one learns it.

    Args:
        budget_s: from capture to result, for live streams that name no budget of their own.
        max_frames: no batch holds more.
        cost: the cost model; a fresh one by default.

    Raises:
        ConfigError: a size or a time that is not positive.
    """

    depth = IN_TIME

    def __init__(self, budget_s: float = 0.1, *, max_frames: int = 16, cost: BatchCost | None = None) -> None:
        _sane(max_frames, budget_s)
        self.budget_s = budget_s
        self.max_frames = max_frames
        self.engines = 1
        self.cost = cost or BatchCost()
        self._alone = 0  # batches of one frame that were run

    def decide(self, now: float, waiting: Sequence[Waiting], more: bool) -> Decision:
        """Drop what is lost, then wait as long as the first deadline allows."""
        if not waiting:
            return Wait()
        # Only where a single frame with most people would be late is it worth asking for the very frame.
        soon = now + self.cost.predict(Load(frames=1, people=max(w.people for w in waiting)))
        lost = {w: None for w in waiting if w.deadline < soon and self._is_lost(now, w)}
        taken: list[Waiting] = []
        for frame in (w for w in waiting if w not in lost):
            if len(taken) == self.max_frames or (taken and now > self._latest([*taken, frame])):
                break
            taken.append(frame)
        if lost or not taken:
            return Take(frames=(), drop=tuple(lost))
        whole = len(taken) == self.max_frames or len(taken) < len(waiting)
        # A size that was never run may be thought cheaper than one that was.
        until = min(self._latest(taken), self._latest([*taken, taken[-1]]))
        if whole or not more or now >= until:
            return Take(frames=tuple(taken))
        return Wait(until=min(until, now + ASK_AGAIN_S))

    def observe(self, load: Load, seconds: float) -> None:
        """Feed the cost model."""
        self.cost.observe(load, seconds)
        self._alone += load.frames == 1

    def _latest(self, batch: Sequence[Waiting]) -> float:
        """When this batch has to leave."""
        load = Load(frames=len(batch), people=sum(w.people for w in batch))
        return min(w.deadline for w in batch) - self.cost.predict(load)

    def _is_lost(self, now: float, frame: Waiting) -> bool:
        # Where even a fresh frame is too late nothing is dropped: late is better than never. And a few frames alone
        # have to show what one costs: by a guess from larger batches all of a stream could be lost, for ever.
        latest = self._latest([frame])
        return frame.live and self._alone >= _TRIES and frame.captured_at <= latest < now


class WindowBatch:
    """A window for company that shrinks as batches take longer: *fastest source's period − mean seconds of a batch*.

    The pipeline of Roboflow's ``inference``, which keeps the window between 2 and 100 ms. Knows no deadlines.

    Args:
        max_frames: no batch holds more.

    Raises:
        ConfigError: a size that is not positive.
    """

    SHORTEST_S, LONGEST_S = 0.002, 0.1

    def __init__(self, *, max_frames: int = 16) -> None:
        check_size(max_frames)
        self.max_frames = max_frames
        self.engines = 1
        self.budget_s = math.inf
        self._batch_s = 0.0
        self._last: dict[str, float] = {}
        self._periods: dict[str, float] = {}

    @property
    def window_s(self) -> float:
        """How long the first frame waits for company, now."""
        fastest_s = min(self._periods.values(), default=0.0)
        return min(max(fastest_s - self._batch_s, self.SHORTEST_S), self.LONGEST_S)

    def decide(self, now: float, waiting: Sequence[Waiting], more: bool) -> Decision:
        """Take when full, when the window is over, or when no more can come."""
        if not waiting:
            return Wait()
        for frame in waiting:
            self._see(frame)
        until = min(w.captured_at for w in waiting) + self.window_s
        if more and len(waiting) < self.max_frames and now < until:
            return Wait(until=until)
        return Take(frames=tuple(waiting[: self.max_frames]))

    def observe(self, load: Load, seconds: float) -> None:
        """Follow how long batches take."""
        self._batch_s += (0.1 if self._batch_s else 1.0) * (seconds - self._batch_s)

    def _see(self, frame: Waiting) -> None:
        last = self._last.setdefault(frame.stream, frame.captured_at)
        if frame.captured_at > last:
            self._last[frame.stream] = frame.captured_at
            period_s = self._periods.setdefault(frame.stream, frame.captured_at - last)
            self._periods[frame.stream] += 0.1 * (frame.captured_at - last - period_s)


class RuleBatch:
    """Always ``max(8, min(16, n // 4))`` of the n frames that wait: a rule of thumb of earlier days.

    A smaller batch leaves only when no more frames can come.
    """

    def __init__(self) -> None:
        self.max_frames = 16
        self.engines = 1
        self.budget_s = math.inf

    def decide(self, now: float, waiting: Sequence[Waiting], more: bool) -> Decision:
        """Take when there are so many, or when no more can come."""
        if not waiting:
            return Wait()
        size = max(8, min(16, len(waiting) // 4))
        if len(waiting) >= size or not more:
            return Take(frames=tuple(waiting[:size]))
        return Wait(until=now + ASK_AGAIN_S)

    def observe(self, load: Load, seconds: float) -> None:
        """Nothing to learn."""
