"""What the pipeline counts and times, in bounded memory.

For every stream, at every moment: captured = delivered + dropped before delivery + in flight.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from streampose.result import Timing

__all__ = [
    "BOUNDS_S",
    "Cause",
    "EngineMetrics",
    "EngineSnapshot",
    "Histogram",
    "Place",
    "Snapshot",
    "StreamMetrics",
    "StreamSnapshot",
]

BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 5, 10)
"""Durations that `Histogram.at_most` counts exactly: dense where budgets of live streams are."""

# 0.1 ms to 100 s in steps of 5 %: a quantile read from it is within 2.5 % of the truth, in 2.5 kB.
_STEP = 1.05
_BOUNDS = tuple(sorted({*BOUNDS_S, *(1e-4 * _STEP**i for i in range(math.ceil(math.log(1e6, _STEP)) + 1))}))
_PUBLIC = tuple(_BOUNDS.index(bound) for bound in BOUNDS_S)

# "Recent" for displays: the last two seconds or so of a 30 fps stream.
_RECENT = 64


class Place(Enum):
    """Where a frame was dropped."""

    INGRESS = "ingress"
    """Waiting for a batch."""
    BATCH = "batch"
    """Taken for a batch, never delivered."""
    SINK = "sink"
    """Delivered, but not taken by a slow sink in time (counted per sink)."""


class Cause(Enum):
    """Why a frame was dropped."""

    OVERFLOW = "overflow"
    """A fresher one came while it waited."""
    LATE = "late"
    """It could no longer meet its deadline."""
    FAILED = "failed"
    """Its stream, or the run, ended by a failure."""
    UNSENT = "unsent"
    """The server that it was for was away for too long, or refused it."""


class Histogram:
    """Durations in logarithmic buckets of 5 %."""

    __slots__ = ("_counts", "count", "total_s")

    def __init__(self) -> None:
        self._counts = [0] * (len(_BOUNDS) + 1)
        self.count = 0
        self.total_s = 0.0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        self._counts[bisect.bisect_left(_BOUNDS, seconds)] += 1
        self.count += 1
        self.total_s += seconds

    def at_most(self) -> tuple[int, ...]:
        """How many were no longer than each of `BOUNDS_S`."""
        running = tuple(itertools.accumulate(self._counts))
        return tuple(running[i] for i in _PUBLIC)

    def merge(self, other: Histogram) -> None:
        """Count what the other one has counted, too."""
        self._counts = [mine + theirs for mine, theirs in zip(self._counts, other._counts, strict=True)]
        self.count += other.count
        self.total_s += other.total_s

    def quantile(self, q: float) -> float | None:
        """The duration below which a share `q` of them lies, in seconds; `None` when there is none."""
        if not self.count:
            return None
        bucket = bisect.bisect_left(tuple(itertools.accumulate(self._counts)), max(1, q * self.count))
        # Its geometric middle.
        return _BOUNDS[min(bucket, len(_BOUNDS) - 1)] / math.sqrt(_STEP)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSnapshot:
    """One stream's figures at one moment."""

    captured: int
    delivered: int
    in_flight: int
    dropped: Mapping[tuple[Place, Cause], int]
    queued: int
    """Frames that wait for a batch (of those in flight)."""
    fps_in: float | None
    """Frames captured per second over the last few dozen; `None` = not known yet."""
    fps: float | None
    """The same of deliveries."""
    age_s: float | None
    """How long ago the picture was captured that was delivered last; `None` = none was."""
    recent_p50_s: float | None
    """Latency, capture to delivery, over the last few dozen frames."""
    recent_p95_s: float | None
    latency_p50_s: float | None
    """The same over the whole run."""
    latency_p99_s: float | None
    latency_at_most: tuple[int, ...]
    """How many deliveries took no longer than each of `BOUNDS_S`."""
    latency_total_s: float
    people: int
    """In the last frame."""
    people_total: int
    """Of all frames that were delivered; the engine's may be more, of whom no track was made."""
    batch_size: int
    """Of the last frame's batch."""

    @property
    def dropped_total(self) -> int:
        """Frames that were never delivered."""
        return sum(n for (place, _), n in self.dropped.items() if place is not Place.SINK)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSnapshot:
    """The shared engine's figures at one moment."""

    batches: int
    frames: int
    people: int
    batch_sizes: Mapping[int, int]
    """How many batches had so many frames."""
    busy_s: float
    """Seconds spent in batches, summed over workers."""
    batch_p50_s: float | None
    batch_p99_s: float | None
    batch_at_most: tuple[int, ...]
    """How many batches took no longer than each of `BOUNDS_S`."""
    engines: int = 1
    memory_refusals: int = 0
    """How often the device had no memory for a batch, which was then halved."""
    held_up_s: float = 0.0
    """For how long the oldest batch has been running, or a frame has waited beside an idle engine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All figures of a pipeline at one moment."""

    elapsed_s: float
    streams: Mapping[str, StreamSnapshot]
    engine: EngineSnapshot
    removed: StreamSnapshot = field(default_factory=lambda: StreamMetrics().snapshot(0.0))
    """All streams that were removed while it ran, as one: totals go on with them."""


@dataclass(slots=True, kw_only=True)
class StreamMetrics:
    """Counts and times of one stream."""

    captured: int = 0
    delivered: int = 0
    dropped: Counter[tuple[Place, Cause]] = field(default_factory=Counter)
    latency: Histogram = field(default_factory=Histogram)
    people: int = 0
    people_total: int = 0
    batch_size: int = 0
    _arrivals: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT))
    _recent: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=_RECENT))

    def capture(self, captured_at: float) -> None:
        """Count one captured frame."""
        self.captured += 1
        self._arrivals.append(captured_at)

    def drop(self, place: Place, cause: Cause, frames: int = 1) -> None:
        """Count dropped frames."""
        if frames:
            self.dropped[place, cause] += frames

    def deliver(self, timing: Timing, people: int) -> None:
        """Count one delivered frame."""
        self.delivered += 1
        self.people = people
        self.people_total += people
        self.batch_size = timing.batch_size
        self.latency.add(timing.latency_s)
        self._recent.append((timing.delivered_at, timing.latency_s))

    def merge(self, other: StreamMetrics) -> None:
        """Count what the other one has counted, too."""
        self.captured += other.captured
        self.delivered += other.delivered
        self.dropped.update(other.dropped)
        self.latency.merge(other.latency)
        self.people_total += other.people_total

    @property
    def in_flight(self) -> int:
        """Frames captured, neither delivered nor dropped yet."""
        gone = sum(n for (place, _), n in dict(self.dropped).items() if place is not Place.SINK)
        return self.captured - self.delivered - gone

    def snapshot(self, now: float, queued: int = 0) -> StreamSnapshot:
        """The figures at this monotonic time, while so many frames wait for a batch; from any thread."""
        # Copies, each made in one step: meanwhile others come.
        arrivals, recent, dropped = list(self._arrivals), list(self._recent), dict(self.dropped)
        latencies = sorted(latency for _, latency in recent)
        last = recent[-1] if recent else None
        return StreamSnapshot(
            captured=self.captured,
            delivered=self.delivered,
            in_flight=self.in_flight,
            queued=queued,
            dropped=dropped,
            fps_in=_rate(arrivals, now),
            fps=_rate([at for at, _ in recent], now),
            age_s=None if last is None else now - last[0] + last[1],
            recent_p50_s=latencies[len(latencies) // 2] if latencies else None,
            recent_p95_s=latencies[int(0.95 * (len(latencies) - 1))] if latencies else None,
            latency_p50_s=self.latency.quantile(0.5),
            latency_p99_s=self.latency.quantile(0.99),
            latency_at_most=self.latency.at_most(),
            latency_total_s=self.latency.total_s,
            people=self.people,
            people_total=self.people_total,
            batch_size=self.batch_size,
        )


def _rate(times: Sequence[float], now: float) -> float | None:
    """Events per second. From the second mean interval after the last one on, a stall shows: the rate falls."""
    if len(times) < 2:
        return None
    first, last = times[0], times[-1]
    pause = now - last if now - last > 2 * (last - first) / (len(times) - 1) else 0.0
    span = last - first + pause
    return (len(times) - 1) / span if span > 0 else None


@dataclass(slots=True, kw_only=True)
class EngineMetrics:
    """Counts and times of the shared engine."""

    frames: int = 0
    people: int = 0
    batch_sizes: Counter[int] = field(default_factory=Counter)
    seconds: Histogram = field(default_factory=Histogram)

    def observe(self, frames: int, people: int, seconds: float) -> None:
        """Count one batch."""
        self.frames += frames
        self.people += people
        self.batch_sizes[frames] += 1
        self.seconds.add(seconds)

    def snapshot(self) -> EngineSnapshot:
        """The figures now."""
        return EngineSnapshot(
            batches=self.seconds.count,
            frames=self.frames,
            people=self.people,
            batch_sizes=dict(sorted(self.batch_sizes.items())),
            busy_s=self.seconds.total_s,
            batch_p50_s=self.seconds.quantile(0.5),
            batch_p99_s=self.seconds.quantile(0.99),
            batch_at_most=self.seconds.at_most(),
        )
