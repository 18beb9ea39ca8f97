"""When a batch leaves, and with whom: pure decisions, without I/O and without a clock of their own."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from streampose.batching.cost import Load
from streampose.errors import ConfigError
from streampose.number import is_positive, is_whole

__all__ = [
    "ASK_AGAIN_S",
    "IN_TIME",
    "BatchPolicy",
    "Decision",
    "FixedBatch",
    "Load",
    "Take",
    "Wait",
    "Waiting",
    "check_budget",
    "check_policy",
    "check_size",
    "depth",
    "expected_s",
]

ASK_AGAIN_S = 0.25
"""Whether more can come changes with time, too: a source may stall."""
# Frames of a live stream that wait where nobody looks at deadlines.
_FRESH = 2
# And where old ones are dropped by theirs. More gain next to nothing, and cost memory.
IN_TIME = 4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Waiting:
    """One frame that could be taken now."""

    stream: str
    captured_at: float
    deadline: float
    """When its result is due: capture + budget; `inf` for offline streams."""
    people: float
    """How many people are expected in it: its stream's recent mean."""
    period_s: float = 0.0
    """Mean interval between its stream's frames, dropped ones included; 0 = not known yet."""
    lag_s: float = 0.0
    """How old its stream's frames are, on average, when they come: a crowded machine decodes them late."""
    overrun_at: float = math.inf
    """From when on it is lost because newer frames of its stream need its place; `inf` where nobody knows."""
    behind: float = 0.0
    """How many frames its stream lacks of its share beside the others; 1 at most."""

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
    """Sizes the batches. Asked whenever an engine is free, or about to be, and something changed.

    One that knows may have an ``expected_s(load)``, the seconds that a batch will take: then live batches are decided
    just before an engine is free. One that drops what is late may have a ``depth``, how many frames of a live stream
    wait, and how many are under way, at most: see `depth`.
    """

    max_frames: int
    """No batch holds more."""
    engines: int
    """How many batches run at a time; the batcher says it."""
    budget_s: float
    """Deadline of a live frame, from its capture, where its stream names none; `inf` = none."""

    def decide(self, now: float, waiting: Sequence[Waiting], more: bool) -> Decision:
        """Take now, or wait?

        Args:
            now: monotonic seconds; when the batch would begin.
            waiting: the frames that may be taken, in fair order: the first ones have the best claim. Frames of one
                stream stand in capture order, and may only be taken so.
            more: whether another frame could come before a result leaves. If not, a policy that waits, waits for ever.
        """

    def observe(self, load: Load, seconds: float) -> None:
        """Learn that a batch of this load took so long."""


def expected_s(policy: BatchPolicy, load: Load) -> float:
    """How long a batch will take, where the policy knows; else `inf`. Those of users need not."""
    known: Callable[[Load], float] = getattr(policy, "expected_s", lambda _: math.inf)
    return known(load)


def depth(policy: BatchPolicy) -> int:
    """How many frames of a live stream wait, and how many are under way, at most.

    Two where the policy does not say: then what is taken is fresh, whoever takes it. A policy that drops by deadlines
    gains by more, for pictures that a network held back and brought together all find room.
    """
    return getattr(policy, "depth", _FRESH)


def check_size(frames: int) -> None:
    """See that it is a number of frames that a batch can have.

    Raises:
        ConfigError: it is not a whole number from 1 on.
    """
    if not (is_whole(frames) and frames >= 1):
        raise ConfigError(f"a batch has at least 1 frame, and a whole number of them, not {frames}")


def check_policy(policy: BatchPolicy) -> BatchPolicy:
    """See that it is one.

    Raises:
        ConfigError: it is something else, or lacks something, or its numbers are none.
    """
    lacking = [name for name in ("decide", "observe", "max_frames", "budget_s") if not hasattr(policy, name)]
    if isinstance(policy, type) or lacking:
        what = (
            f"{policy!r:.80} is a class" if isinstance(policy, type) else f"{policy!r:.80} has no {', '.join(lacking)}"
        )
        raise ConfigError(f"a batch policy decides and observes, as LatencyBatch(0.1) does: {what}")
    check_size(policy.max_frames)
    check_budget(policy.budget_s)
    if not (is_whole(frames := depth(policy)) and frames >= 1):
        raise ConfigError(f"a batch policy's depth is a whole number of frames from 1 on, not {frames!r}")
    return policy


def check_budget(seconds: float) -> None:
    """See that it is a latency that can be aimed at.

    Raises:
        ConfigError: it is no positive number.
    """
    if not is_positive(seconds):
        raise ConfigError(f"a latency budget is positive, not {seconds!r} s")


class FixedBatch:
    """Always `frames` at a time: the highest throughput where nobody waits for the single frame, as with files.

    A smaller batch leaves only when no more frames can come, or none has for a quarter of a second.

    Raises:
        ConfigError: not a whole number from 1 on.
    """

    def __init__(self, frames: int = 4) -> None:
        check_size(frames)
        self.max_frames = frames
        self.engines = 1
        self.budget_s = math.inf

    def decide(self, now: float, waiting: Sequence[Waiting], more: bool) -> Decision:
        """Take when full, or when it cannot become fuller."""
        if not waiting:
            return Wait()
        if len(waiting) >= self.max_frames or not more:
            return Take(frames=tuple(waiting[: self.max_frames]))
        return Wait(until=now + ASK_AGAIN_S)

    def observe(self, load: Load, seconds: float) -> None:
        """Nothing to learn."""
