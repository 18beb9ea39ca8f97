"""One stream's way through the batcher."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass

from streampose.channel import Channel, Overflow
from streampose.errors import SourceError
from streampose.frame import Frame
from streampose.metrics import Cause, Place, StreamMetrics
from streampose.pose import Poses

__all__ = ["Inferred", "Lane"]

# Frames whose intervals are so far from their mean, as a share of it, come in bursts.
_EVEN = 0.5
# A live frame that was captured so long after now has the time of another clock.
_ASTRAY_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Inferred:
    """What a batch gave for one frame."""

    poses: Poses
    taken_at: float
    """When its batch began to run."""
    inferred_at: float
    batch_size: int


class Lane:
    """One stream's way through the batcher: frames wait in `ingress`, come out of `outbox` in capture order.

    Args:
        name: the stream.
        live: drop the oldest waiting frame when a fresher one comes, instead of making the source wait.
        budget_s: deadline of a frame from its capture; `None` = the policy's.
        weight: this stream's share beside the others' where there is not enough for all.
        credits: how many frames may be between `ingress` and the sinks at a time.
        capacity: how many frames may wait in `ingress`.
    """

    def __init__(
        self,
        name: str,
        *,
        live: bool,
        credits: int,  # noqa: A002 - the field's word
        capacity: int,
        budget_s: float | None = None,
        weight: float = 1.0,
    ) -> None:
        self.name = name
        self.weight = weight
        self.live = live
        self.budget_s = budget_s
        self.credits = self.most_credits = credits
        self.metrics = StreamMetrics()
        self.people = 1.0
        """Running mean of people per frame: what the next frame is expected to cost."""
        self.period_s = 0.0
        """Running mean of the interval between its frames, dropped ones included; 0 = not known yet."""
        self.scatter_s = 0.0
        """Running mean of how far these intervals are from that."""
        self.lag_s = 0.0
        """Running mean of how old its frames are when they come in."""
        self.served = 0.0
        """The turn of its next frame, in virtual time, where a frame takes 1 / weight: the least has the best claim."""
        self.finishing_s = 0.0
        """What is needed from an engine's result to its delivery; the deadline of a batch is so much earlier."""
        self._last_index: float = -math.inf
        self._newest: Frame | None = None
        self.arrived_at = 0.0
        """When the last frame came (or the stream joined): one that is silent for long is not waited for."""
        self.moved_at = 0.0
        """Of a recording: when the last result was handed on, by which another frame may be taken."""
        self.failure: Exception | None = None
        """Why `outbox` ended, if it was not the end of the stream."""
        self.changed: Callable[[], None] = lambda: None
        self.ingress: Channel[Frame] = Channel(
            capacity,
            Overflow.DROP_OLDEST if live else Overflow.WAIT,
            on_drop=lambda _: self.metrics.drop(Place.INGRESS, Cause.OVERFLOW),
            on_change=lambda: self.changed(),  # noqa: PLW0108 - set later, by the batcher
        )
        # Never full: what is inside holds a credit.
        self.outbox: Channel[tuple[Frame, asyncio.Future[Inferred]]] = Channel(credits)

    def return_credit(self, finishing_s: float = 0.0, now: float = 0.0) -> None:
        """A result was handed to the stream's sinks, so long after the engine gave it."""
        if not self.live:
            self.moved_at = now
        # Up quickly, down slowly: a deadline is kept by those that took long.
        self.finishing_s += (0.3 if finishing_s > self.finishing_s else 0.02) * (finishing_s - self.finishing_s)
        self.credits += 1
        self.changed()

    def came(self, frame: Frame, now: float) -> None:
        """A frame is about to be put in.

        Raises:
            SourceError: it is another stream's, its number is not above that of the one before, or its time is of
                another clock.
        """
        if frame.stream != self.name:
            raise SourceError(f"the source gave a frame of {frame.stream!r}, and it was opened as {self.name!r}")
        if frame.index <= self._last_index:
            raise SourceError(
                f"the source gave frame {frame.index} after {self._last_index}: `index` goes up, over all epochs"
            )
        if self.live and frame.captured_at > now + _ASTRAY_S:
            raise SourceError("the source gave a frame of the future: `captured_at` is time.monotonic()")
        self._last_index = frame.index
        # One that a stall held up counts for no more than one that is twice as late as the others; and one of a moment
        # that is still to come, by a camera's clock, is just here.
        lag_s = max(min(now - frame.captured_at, 2 * self.lag_s + 0.01), 0.0)
        self.lag_s += 0.1 * (lag_s - self.lag_s)

    def saw(self, frame: Frame) -> None:
        """A frame is offered, for the first time or again."""
        last = self._newest
        if last is not None and frame.index <= last.index:
            return
        self.arrived_at = max(self.arrived_at, frame.captured_at)
        if last is not None and last.epoch == frame.epoch:  # else it was away, which is no interval between frames
            period_s = (frame.captured_at - last.captured_at) / (frame.index - last.index)
            share = 0.1 if self.period_s else 1.0
            self.period_s += share * (period_s - self.period_s)
            self.scatter_s += 0.1 * (abs(period_s - self.period_s) - self.scatter_s)
        self._newest = frame

    def overrun_at(self, frame: Frame) -> float:
        """When newer frames will need this one's place; `inf` where they do not come evenly, or it is not live."""
        if not self.live or not self.scatter_s < _EVEN * self.period_s:
            return math.inf
        return frame.captured_at + self.lag_s + self.ingress.capacity * self.period_s

    def abandon(self, failure: Exception) -> None:
        """The stream is over, by a failure: see `clear`."""
        self.failure = self.failure or failure
        self.clear()

    def clear(self) -> None:
        """The stream is over: what waits is dropped and counted, and nothing more is taken."""
        self.ingress.close()
        for frame in tuple(self.ingress):
            self.ingress.take(frame)
            self.metrics.drop(Place.INGRESS, Cause.FAILED)
        self.changed()
