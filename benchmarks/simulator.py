"""Live streams, a batcher and engines on a virtual clock: the very `Batcher`, `Lane` and policy that run live.

Only time is made up: the event loop jumps to its next timer, and an engine is a coroutine that sleeps for what a batch
costs. The machine's speed is a function of time, the same for every policy: a batch ends when the machine has done its
work, so that `bound` knows how much work the machine could do at all.
"""

from __future__ import annotations

import asyncio
import math
import selectors
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from streampose.batching import IN_TIME, Batcher, BatchPolicy, Lane, depth
from streampose.clock import SystemClock
from streampose.frame import Frame, Image
from streampose.pose import Poses
from streampose.skeletons import COCO_17

MAX_PEOPLE = 10
# The most that a live stream's lane holds, waiting and under way, by whichever policy.
WAITING = CREDITS = IN_TIME
_MILLISECOND = Fraction(1, 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Seconds of a batch at speed 1: measured by its size, or base + per_frame · n; + per_person · people."""

    base_s: float = 0.0
    per_frame_s: float = 0.0
    per_person_s: float = 0.0
    buckets: bool = False
    """Sizes and crop counts are padded to powers of two, as on a GPU whose shapes are prepared."""
    measured_s: tuple[float, ...] = ()
    """Of 1, 2, 3 … frames; what lies beyond goes on by the last step."""

    def __call__(self, frames: int, people: float) -> float:
        if self.buckets:
            frames, people = _bucket(frames), _bucket(people)
        if self.measured_s:
            known = self.measured_s
            step = known[-1] - known[-2] if len(known) > 1 else known[-1]
            seconds = known[min(frames, len(known)) - 1] + step * max(frames - len(known), 0)
        else:
            seconds = self.base_s + self.per_frame_s * frames
        return seconds + self.per_person_s * people

    def scaled(self, by: float) -> Cost:
        """The same on a machine so many times slower."""
        return Cost(
            base_s=self.base_s * by,
            per_frame_s=self.per_frame_s * by,
            per_person_s=self.per_person_s * by,
            buckets=self.buckets,
            measured_s=tuple(s * by for s in self.measured_s),
        )


def _bucket(n: float) -> int:
    return 1 << (math.ceil(n) - 1).bit_length() if n > 1 else math.ceil(n)


class Speed:
    """How fast the machine is: piecewise constant. `work(t)` is what it has done until then, in seconds at speed 1."""

    def __init__(self, starts_s: Sequence[float] = (0.0,), speeds: Sequence[float] = (1.0,)) -> None:
        self._starts = np.asarray(starts_s, float)
        self._speeds = np.asarray(speeds, float)
        self._done = np.concatenate([[0.0], np.cumsum(np.diff(self._starts) * self._speeds[:-1])])
        self.fastest = float(self._speeds.max())

    def work(self, t: np.ndarray | float) -> np.ndarray:
        i = np.searchsorted(self._starts, t, "right") - 1
        return self._done[i] + (t - self._starts[i]) * self._speeds[i]

    def end(self, start: np.ndarray | float, work_s: np.ndarray | float) -> np.ndarray:
        """When this much work is done that is begun at `start`."""
        done = self.work(start) + work_s
        i = np.searchsorted(self._done, done, "right") - 1
        return self._starts[i] + (done - self._done[i]) / self._speeds[i]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Who sends what when, and what runs it."""

    cost: Cost
    budget_s: float
    arrivals_s: tuple[np.ndarray, ...]
    """For each stream, when its frames are captured; ascending."""
    people: tuple[np.ndarray, ...]
    """For each stream, how many people its frames show."""
    speed: Speed = field(default_factory=Speed)
    engines: int = 1
    warm_s: float = 0.0
    """Frames captured before are run, but not counted: what was to be learned is learned."""
    first_times: float = 1.0
    """How many times as long the first batch of each size takes: memory is claimed, a shape is planned."""
    lags_s: tuple[np.ndarray, ...] = ()
    """For each stream, how long after its capture each frame comes; the bounds do not know of that either."""
    deciding_s: float = 0.0
    """What the policy takes to decide, while an engine is free."""
    finishing_s: float = 0.0
    """From a batch's end until a frame is delivered, one after the other of a stream, and its credit is back."""
    budgets_s: tuple[float, ...] = ()
    """For each stream, where they differ; the bounds do not know of that, nor of weights."""
    weights: tuple[float, ...] = ()

    def budget_of(self, stream: int) -> float:
        return self.budgets_s[stream] if self.budgets_s else self.budget_s


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What became of the frames that count."""

    captured: int
    delivered: int
    """In time or not."""
    fresh: list[int]
    """Frames delivered within the budget, per stream."""
    asked: list[int]
    """Frames captured, per stream."""
    latencies_s: np.ndarray
    """Of all that were delivered."""
    drops: dict[str, int]
    batches: Counter[int]
    """How many of each size."""
    served: list[int]
    """Frames delivered per stream, in time or not, counted or not."""
    most_in_flight: int
    """Of one stream: taken, and not delivered."""

    @property
    def longest_batch(self) -> int:
        return max(self.batches, default=0)

    @property
    def goodput(self) -> int:
        return sum(self.fresh)

    @property
    def fairness(self) -> float:
        """Jain's index of each stream's fresh share of what it may ask for (max-min); 1 = all alike."""
        got = np.array([f for f, a in zip(self.fresh, self.asked, strict=True) if a], float)
        asked = np.array([a for a in self.asked if a], float)
        share = got / np.minimum(asked, _fair_share(asked, got.sum()))
        return float(share.sum() ** 2 / (len(share) * (share**2).sum())) if share.any() else 0.0

    def quantile(self, q: float) -> float:
        return float(np.quantile(self.latencies_s, q)) if len(self.latencies_s) else math.nan


def _fair_share(asked: np.ndarray, total: float) -> float:
    """The level at which streams that want more are cut (max-min fairness), so that all together get `total`."""
    for i, a in enumerate(rising := np.sort(asked)):
        if a * (len(rising) - i) >= total:
            return max(total / (len(rising) - i), 1e-9)
        total -= a
    return float(rising[-1])


class _Jump(selectors.SelectSelector):
    """Waits for nothing: the time is now the next timer's."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("everything waits for something that will never happen")
        self.now += max(timeout, 0.0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time runs as fast as what it runs. There is nothing to wait for but timers."""

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        return self._jump.now


class VirtualClock(SystemClock):
    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def now(self) -> float:
        return self._loop.time()

    async def wait(self, event: asyncio.Event, until: float | None) -> None:
        # Half a microsecond at least: rounding must not make time stand still.
        timer = None if until is None else self._loop.call_at(max(until, self.now() + 5e-7), event.set)
        await event.wait()
        if timer is not None:
            timer.cancel()


def _pictures() -> list[Image]:
    return [np.full((1, 1, 3), people, np.uint8) for people in range(MAX_PEOPLE + 1)]


def _poses() -> list[Poses]:
    return [
        Poses(
            skeleton=COCO_17,
            points=np.zeros((n, 17, 2), np.float32),
            scores=np.zeros((n, 17), np.float32),
            boxes=np.zeros((n, 4), np.float32),
            box_scores=np.zeros(n, np.float32),
        )
        for n in range(MAX_PEOPLE + 1)
    ]


PICTURES, POSES = _pictures(), _poses()


def simulate(scenario: Scenario, policy: BatchPolicy) -> Outcome:
    """Run a policy through a scenario."""
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(_Simulation(scenario, policy, loop).run())
    finally:
        loop.close()


class _Simulation:
    def __init__(self, scenario: Scenario, policy: BatchPolicy, loop: VirtualLoop) -> None:
        self.scenario = scenario
        self.loop = loop
        self.lanes = [
            Lane(
                f"s{i}",
                live=True,
                credits=depth(policy),
                capacity=depth(policy),
                budget_s=scenario.budget_of(i),
                weight=scenario.weights[i] if scenario.weights else 1.0,
            )
            for i in range(len(scenario.arrivals_s))
        ]
        self.batcher = Batcher([self._infer] * scenario.engines, policy, VirtualClock(loop))
        self.fresh = [0] * len(self.lanes)
        self.latencies: list[float] = []
        self.batches: Counter[int] = Counter()
        self.sizes_run: set[int] = set()
        self.warm_drops: Counter[tuple] = Counter()
        self.served = [0] * len(self.lanes)
        self.most_in_flight = 0

    async def run(self) -> Outcome:
        s = self.scenario
        for lane in self.lanes:
            self.batcher.add(lane)
        async with asyncio.TaskGroup() as group:
            group.create_task(self.batcher.run())
            for i, lane in enumerate(self.lanes):
                group.create_task(self._deliver(i, lane))
                self._next(i, lane, 0)
            self.loop.call_at(s.warm_s, self._warm)
            self.batcher.close()
        asked = [int((a >= s.warm_s).sum()) for a in s.arrivals_s]
        drops = self._drops()
        drops.subtract(self.warm_drops)
        return Outcome(
            captured=sum(asked),
            delivered=len(self.latencies),
            fresh=self.fresh,
            asked=asked,
            latencies_s=np.array(self.latencies),
            drops={cause.value: n for (_, cause), n in drops.items() if n},
            batches=self.batches,
            served=self.served,
            most_in_flight=self.most_in_flight,
        )

    def _drops(self) -> Counter[tuple]:
        return sum((lane.metrics.dropped for lane in self.lanes), Counter())

    def _warm(self) -> None:
        self.warm_drops = self._drops()
        self.batches.clear()

    def _next(self, i: int, lane: Lane, index: int) -> None:
        arrivals, lags = self.scenario.arrivals_s[i], self.scenario.lags_s
        if index < len(arrivals):
            at = float(arrivals[index]) + (float(lags[i][index]) if lags else 0.0)
            self.loop.call_at(at, self._arrive, i, lane, index)
        else:
            lane.ingress.close()

    def _arrive(self, i: int, lane: Lane, index: int) -> None:
        picture, captured_at = PICTURES[int(self.scenario.people[i][index])], self.loop.time()
        if self.scenario.lags_s:
            captured_at = float(self.scenario.arrivals_s[i][index])
        frame = Frame(
            stream=lane.name, index=index, epoch=0, pts=index, time_base=_MILLISECOND,
            captured_at=captured_at, image=picture,
        )  # fmt: skip
        lane.came(frame, self.loop.time())
        lane.ingress.put_nowait(frame)
        self._next(i, lane, index + 1)

    async def _infer(self, images: Sequence[Image]) -> list[Poses]:
        people = [int(image[0, 0, 0]) for image in images]
        self.batches[len(images)] += 1
        now = self.loop.time()
        work_s = self.scenario.cost(len(images), sum(people))
        if len(images) not in self.sizes_run:
            self.sizes_run.add(len(images))
            work_s *= self.scenario.first_times
        seconds = self.scenario.speed.end(now, work_s) - now
        await asyncio.sleep(self.scenario.deciding_s + float(seconds))
        return [POSES[n] for n in people]

    async def _deliver(self, i: int, lane: Lane) -> None:
        budget_s = self.scenario.budget_of(i)
        async for frame, future in lane.outbox:
            # Here as soon as it was taken, not before: what stands in the outbox holds a credit, too.
            self.most_in_flight = max(self.most_in_flight, 1 + len(lane.outbox))
            await future
            if self.scenario.finishing_s:
                await asyncio.sleep(self.scenario.finishing_s)
            lane.return_credit(self.scenario.finishing_s)
            self.served[i] += 1
            if frame.captured_at >= self.scenario.warm_s:
                latency_s = self.loop.time() - frame.captured_at
                self.latencies.append(latency_s)
                self.fresh[i] += latency_s <= budget_s + 1e-9


def bound(scenario: Scenario, max_frames: int, *, blind: bool = False) -> int:
    """More fresh frames than these no schedule can give, even one that knows the future.

    Of the frames that count, the most that fit when each needs no more than its best share of a batch's work:

    - a batch has at most `max_frames`, at most four of each stream (no lane holds more), its work fits into the
      budget at the machine's highest speed, and its frames all exist: so many are captured within what of the budget
      the batch leaves. Of these sizes, the best ``cost(n) / n`` is a frame's least work;
    - engines may stop and go on at any time, each frame is worked on between its capture and its deadline only, the
      oldest first (with one budget for all, and equal works, nothing gives more);
    - where people cost, the frames with the fewest are taken, in the time that there is altogether;
    - no stream gives more than its lane and its credits let through (`_let_through`).

    Args:
        scenario: with one budget for all.
        max_frames: of the policies compared.
        blind: only over schedules that do not choose frames by how many people they show: a batch of n then costs what
            n frames drawn by lot cost on average.
    """
    s = scenario
    counted = [a >= s.warm_s for a in s.arrivals_s]
    when = np.concatenate([a[c] for a, c in zip(s.arrivals_s, counted, strict=True)])
    order = np.argsort(when, kind="stable")
    when = when[order]
    people = np.concatenate([p[c] for p, c in zip(s.people, counted, strict=True)])[order]
    least, least_people = math.inf, 0 if blind else int(people.min())
    drawn = np.random.default_rng(0).choice(people, (200, max_frames)).cumsum(axis=1)
    for n in range(1, min(max_frames, WAITING * len(s.arrivals_s)) + 1):
        rest_s = s.budget_s - s.cost(n, n * least_people) / s.speed.fastest
        if rest_s >= 0 and (n == 1 or (len(when) >= n and np.min(when[n - 1 :] - when[: 1 - n]) <= rest_s)):
            work = np.mean([s.cost(n, int(p)) for p in drawn[:, n - 1]]) if blind else s.cost(n, 0)
            least = min(least, float(work) / n)
    if math.isinf(least):
        return 0
    # Oldest first, preemptive: `free` is the work done by when the engines have finished the frames so far.
    fits, free = 0, 0.0
    each = least + s.cost.per_person_s * least_people
    for start, end in zip(s.engines * s.speed.work(when), s.engines * s.speed.work(when + s.budget_s), strict=True):
        if (done := max(free, start) + each) <= end + 1e-12:
            fits, free = fits + 1, done
    total = s.engines * float(s.speed.work(when[-1] + s.budget_s) - s.speed.work(s.warm_s))
    works = np.full(len(people), least) if blind else least + s.cost.per_person_s * np.sort(people)
    by_work = int(np.searchsorted(np.cumsum(works), total, "right"))
    shortest_s = s.cost(1, least_people) / s.speed.fastest
    passing = sum(_let_through(a, s.warm_s, s.budget_s, shortest_s) for a in s.arrivals_s)
    return min(fits, by_work, passing)


def _let_through(arrivals_s: np.ndarray, warm_s: float, budget_s: float, batch_s: float) -> int:
    """How many frames of one stream could be fresh if it had all engines for itself.

    A frame is dropped when the fourth one after it comes and it is not taken yet; it has to be taken a batch before its
    deadline; and it holds one of the stream's credits for a batch.
    """
    frames = arrivals_s[arrivals_s >= warm_s]
    overtaken = np.append(frames[WAITING:], [math.inf] * WAITING)[: len(frames)]
    held, through = [-math.inf] * CREDITS, 0
    for t, dropped in zip(frames, overtaken, strict=True):
        start = max(t, held[0])
        if start <= min(dropped, t + budget_s - batch_s) + 1e-12:
            held = [*held[1:], start + batch_s]
            through += 1
    return through
