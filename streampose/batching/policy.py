"""When a batch leaves, and with whom: pure decisions, without I/O and without a clock of their own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from streampose.batching.cost import BatchCost, Load

__all__ = ["BatchPolicy", "Decision", "FixedBatch", "LatencyBatch", "Load", "Take", "Wait", "Waiting"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Waiting:
    """One frame that could be taken now."""

    stream: str
    captured_at: float
    deadline: float
    """When its result is due: capture + budget; `inf` for offline streams."""
    people: float
    """How many people are expected in it: its stream's recent mean."""

    @property
    def live(self) -> bool:
        """Whether it has a deadline at all."""
        return self.deadline < math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Take:
    """Run a batch of `frames` now (none = only drop), after dropping `drop` for being late."""

    frames: tuple[Waiting, ...]
    drop: tuple[Waiting, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Do nothing until something changes, or until this time (`None` = however long that takes)."""

    until: float | None = None


Decision: TypeAlias = Take | Wait


class BatchPolicy(Protocol):
    """Sizes the batches. Asked whenever an engine is free and something changed."""

    max_frames: int
    """No batch holds more."""
    budget_s: float
    """Deadline of a live frame, from its capture, where its stream names none; `inf` = none."""

    def decide(self, now: float, waiting: Sequence[Waiting], more: bool) -> Decision:
        """Take now, or wait?

        Args:
            now: monotonic seconds.
            waiting: the frames that may be taken, in fair order: the first ones have the best claim. Frames of one
                stream stand in capture order, and may only be taken so.
            more: whether another frame could come before a result leaves. If not, a policy that waits, waits for ever.
        """

    def observe(self, load: Load, seconds: float) -> None:
        """Learn that a batch of this load took so long."""


class FixedBatch:
    """Always `frames` at a time: the highest throughput where nobody waits for the single frame, as with files.

    A smaller batch leaves only when no more frames can come.
    """

    # Whether more can come changes with time, too: a source may stall.
    _ASK_AGAIN_S = 0.25

    def __init__(self, frames: int = 4) -> None:
        if frames < 1:
            raise ValueError(f"a batch has at least 1 frame, not {frames}")
        self.max_frames = frames
        self.budget_s = math.inf

    def decide(self, now: float, waiting: Sequence[Waiting], more: bool) -> Decision:
        """Take when full, or when it cannot become fuller."""
        if not waiting:
            return Wait()
        if len(waiting) >= self.max_frames or not more:
            return Take(frames=tuple(waiting[: self.max_frames]))
        return Wait(until=now + self._ASK_AGAIN_S)

    def observe(self, load: Load, seconds: float) -> None:
        """Nothing to learn."""


class LatencyBatch:
    """As many frames as all their deadlines allow, by the learned cost of a batch; those already lost are dropped.

    It never leaves a free engine waiting: at low load that gives batches of one and the lowest latency, and under load
    frames gather while the engine is busy, so batches grow by themselves up to what the deadlines allow.

    When even a fresh frame alone cannot make its deadline (the model is slower than the budget), nothing is dropped
    for being late: a late skeleton is better than none, and the streams' own queues keep it as fresh as can be.

    Args:
        budget_s: from capture to result, for live streams that name no budget of their own.
        max_frames: no batch holds more.
        cost: the cost model; a fresh one by default.

    Raises:
        ValueError: a budget or a size that is not positive.
    """

    def __init__(self, budget_s: float = 0.1, *, max_frames: int = 16, cost: BatchCost | None = None) -> None:
        if max_frames < 1:
            raise ValueError(f"a batch has at least 1 frame, not {max_frames}")
        if not budget_s > 0:
            raise ValueError(f"a latency budget is positive, not {budget_s} s")
        self.budget_s = budget_s
        self.max_frames = max_frames
        self.cost = cost or BatchCost()

    def decide(self, now: float, waiting: Sequence[Waiting], more: bool) -> Decision:
        """Drop what is lost, take the longest fair run of frames that all make it."""
        if not waiting:
            return Wait()
        lost = tuple(w for w in waiting if self._is_lost(now, w))
        taken: list[Waiting] = []
        people, deadline = 0.0, math.inf
        for frame in (w for w in waiting if w not in lost):
            people += frame.people
            deadline = min(deadline, frame.deadline)
            cost_s = self.cost.predict(Load(frames=len(taken) + 1, people=people))
            if taken and now + cost_s > deadline:
                break
            taken.append(frame)
            if len(taken) == self.max_frames:
                break
        return Take(frames=tuple(taken), drop=lost)

    def observe(self, load: Load, seconds: float) -> None:
        """Feed the cost model."""
        self.cost.observe(load, seconds)

    def _is_lost(self, now: float, frame: Waiting) -> bool:
        alone_s = self.cost.predict(Load(frames=1, people=frame.people))
        hopeless = alone_s > frame.deadline - frame.captured_at
        return frame.live and not hopeless and now + alone_s > frame.deadline
