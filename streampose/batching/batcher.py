"""Frames of many streams in, fair batches through free engines, results back to each stream in order."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice

from streampose.batching.adviser import Adviser, Offer
from streampose.batching.lane import Inferred, Lane
from streampose.batching.policy import BatchPolicy, Load, Wait, Waiting
from streampose.batching.station import Infer, Station
from streampose.clock import Clock
from streampose.errors import EngineFailed, PolicyError, StreamposeError
from streampose.frame import Frame, Images
from streampose.metrics import Cause, EngineMetrics, Place
from streampose.pose import Poses
from streampose.typed import Typed

__all__ = ["Batcher"]

# A stream of which nothing could be taken for a while has no more claim than so many frames beside those that were.
_MOST_CLAIM = 1.0
# A batch does not wait for a stream whose source and sinks have given and taken nothing for so long.
_STALLED_S = 0.25
# No more of a budget is kept for finishing: what was late by it does not make all that follows hopeless.
_FINISHING = 0.5
# A policy that waits for what is past is asked again after so long: for ever, perhaps, and a core does nothing else.
_AGAIN_S = 0.02
_ENGINE = Typed(EngineFailed, "the model failed: ")


class Batcher:
    """Collects fair batches from lanes and runs them on whichever engine is free.

    Args:
        engines: run the batches.
        policy: sizes the batches.
        on_failure: called when an engine or the policy failed, and no batch will run any more.

    Raises:
        PolicyError: the policy cannot be told how many engines there are.
    """

    def __init__(
        self,
        engines: Sequence[Infer],
        policy: BatchPolicy,
        clock: Clock,
        *,
        metrics: EngineMetrics | None = None,
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_failure = on_failure
        self.metrics = metrics or EngineMetrics()
        self._stations = [Station(infer) for infer in engines]
        self._policy, self._clock = policy, clock
        self._adviser = Adviser(policy, len(engines))
        self._lanes: list[Lane] = []
        self._turn = 0.0  # of the frames that were taken, the latest: virtual time
        self._wake = asyncio.Event()
        self._closed = False
        self._failure: Exception | None = None

    def held_up_s(self, now: float) -> float:
        """For how long the oldest batch has been running, or an idle engine could have taken a frame that waits."""
        since = [station.began_at for station in self._stations if station.in_flight]
        if idle := [station.ended_at for station in self._stations if not station.in_flight]:
            fronts = [tuple(lane.ingress)[:1] for lane in tuple(self._lanes) if lane.credits > 0]
            waiting = [frame.captured_at for front in fronts for frame in front]
            # One that cameras have left no room for has waited for long, but not for this engine.
            since += [max(captured_at, min(idle)) for captured_at in waiting]
        return max(0.0, now - min(since, default=now))

    def add(self, lane: Lane) -> None:
        """Let a stream join; may be called at any time."""
        lane.changed = self._wake.set
        lane.arrived_at = self._clock.now()
        lane.served = self._turn
        self._lanes.append(lane)
        if self._failure is not None:
            lane.abandon(self._failure)
        self._wake.set()

    def close(self) -> None:
        """No more lanes will join: `run` returns when those there are have ended."""
        self._closed = True
        self._wake.set()

    async def run(self) -> None:
        """Batch until `close` was called and every lane has ended.

        When an engine fails, every lane is abandoned with its error, so that each stream delivers what it has and ends
        in order; then the error is raised.

        Raises:
            PolicyError: the policy failed, or took what it was not offered.
            ModelError: an engine failed.
        """
        async with asyncio.TaskGroup() as batches:
            while True:
                self._wake.clear()
                until = self._start_all(batches, early=False)
                self._retire()
                if self._closed and not self._lanes:
                    break
                # Whatever changed meanwhile has set the event again.
                await self._clock.wait(self._wake, until)
        if self._failure is not None:
            raise self._failure

    def _start_all(self, batches: asyncio.TaskGroup, *, early: bool) -> float | None:
        """`_step`, as long as nothing has failed."""
        if self._failure is None:
            try:
                return self._step(batches, early=early)
            except PolicyError as error:
                self._fail(error, [])
        return None

    def _step(self, batches: asyncio.TaskGroup, *, early: bool) -> float | None:
        """Start all batches that can start now; return until when to wait if nothing changes.

        Args:
            batches: where they run.
            early: before the last one's results are delivered, which gives credits back.
        """
        live = any(lane.live for lane in self._lanes)
        while True:
            now = self._clock.now()
            station = min(self._stations, key=lambda one: (one.opens_at(now, live=live), one.in_flight, one.ended_at))
            if (opens_at := station.opens_at(now, live=live)) > now:
                return opens_at if opens_at < math.inf else None
            if not (offer := self._offer()):
                return None
            decision = self._adviser.decide(station.free_at(now), offer, early or self._more(offer))
            if isinstance(decision, Wait):
                until = decision.until
                return until if until is None or until > now else now + _AGAIN_S
            for waiting in decision.drop:
                lane, frame = offer[waiting]
                lane.ingress.take(frame)
                lane.metrics.drop(Place.INGRESS, Cause.LATE)
            if decision.frames:
                self._start(batches, station, [offer[w] for w in decision.frames])
            elif not decision.drop:
                return None

    def _offer(self) -> Offer:
        """What may be taken now, in fair order: live before offline, then whose turn comes first.

        A lane's frames have their turns at `served`, and so on in steps of 1 divided by its weight, as in start-time
        fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996).
        """
        rows = []
        for order, lane in enumerate(self._lanes):
            lane.served = max(lane.served, self._turn - _MOST_CLAIM / lane.weight)
            for turn, frame in enumerate(islice(lane.ingress, min(lane.credits, self._policy.max_frames))):
                lane.saw(frame)
                rows.append((not lane.live, lane.served + turn / lane.weight, order, lane, frame))
        rows.sort(key=lambda row: row[:3])
        return {self._waiting(lane, frame): (lane, frame) for _, _, _, lane, frame in rows}

    def _waiting(self, lane: Lane, frame: Frame) -> Waiting:
        budget_s = (self._policy.budget_s if lane.budget_s is None else lane.budget_s) if lane.live else math.inf
        return Waiting(
            stream=lane.name,
            captured_at=frame.captured_at,
            deadline=frame.captured_at + budget_s - min(lane.finishing_s, _FINISHING * budget_s),
            people=lane.people,
            period_s=lane.period_s,
            lag_s=lane.lag_s,
            overrun_at=lane.overrun_at(frame),
            behind=min(max(self._turn - lane.served, 0.0) * lane.weight, _MOST_CLAIM),
        )

    def _more(self, offer: Offer) -> bool:
        """Whether the offer could grow: a batch in flight or sinks give credits back, or a source has room to go on."""
        if any(station.in_flight for station in self._stations):
            return True
        offered = deque(lane for lane, _ in offer.values())
        now = self._clock.now()
        # One whose outputs keep up, and all that is live, does not wait for others' outputs.
        ready = any(lane.live or lane.credits == lane.most_credits for lane in offered)
        return any(
            now - (lane.arrived_at if ready else max(lane.arrived_at, lane.moved_at)) < _STALLED_S
            # Credits of a recording that are out come back as soon as its results are delivered.
            and offered.count(lane)
            < min(
                lane.credits if lane.live else lane.most_credits,
                self._policy.max_frames,
                len(lane.ingress) if lane.ingress.closed else lane.ingress.capacity,
            )
            for lane in self._lanes
        )

    def _start(self, batches: asyncio.TaskGroup, station: Station, batch: list[tuple[Lane, Frame]]) -> None:
        """Take the frames out of their lanes, promise their results in order, and set an engine to work."""
        loop = asyncio.get_running_loop()
        load = Load(frames=len(batch), people=sum(lane.people for lane, _ in batch))
        station.take(self._clock.now(), self._adviser.expected_s(load))
        futures: list[asyncio.Future[Inferred]] = []
        for lane, frame in batch:
            lane.ingress.take(frame)
            lane.credits -= 1
            self._turn = max(self._turn, lane.served)
            lane.served += 1 / lane.weight
            futures.append(loop.create_future())
            lane.outbox.put_nowait((frame, futures[-1]))
        # Whoever was served goes to the end of the line.
        served = {lane for lane, _ in batch}
        self._lanes.sort(key=lambda lane: lane in served)
        try:
            # Here, not in the task: an engine that begins at once gains a turn of the loop.
            with _ENGINE:
                running = station.infer(Images([frame for _, frame in batch]))
        except StreamposeError as error:
            station.done(self._clock.now())
            self._fail(error, futures)
            return
        batches.create_task(self._run_batch(batches, station, running, batch, futures))

    async def _run_batch(
        self,
        batches: asyncio.TaskGroup,
        station: Station,
        running: Awaitable[list[Poses]],
        batch: list[tuple[Lane, Frame]],
        futures: list[asyncio.Future[Inferred]],
    ) -> None:
        try:
            with _ENGINE:
                poses = await running
                if len(poses) != len(batch):
                    raise EngineFailed(f"the model gave {len(poses)} results for {len(batch)} pictures")
                if not all(isinstance(found, Poses) for found in poses):
                    raise EngineFailed("the model gave something else than Poses for a picture")
                people = sum(map(len, poses))
        except StreamposeError as error:
            self._fail(error, futures)
            return
        finally:
            inferred_at = self._clock.now()
            began_at = inferred_at - (seconds := station.done(inferred_at))
        for (lane, _), found in zip(batch, poses, strict=True):
            lane.people += 0.1 * (len(found) - lane.people)
        try:
            self._adviser.observe(Load(frames=len(batch), people=people), seconds)
        except PolicyError as error:
            self._fail(error, [])
        self.metrics.observe(len(batch), people, seconds)
        # The next batch first: what is done with this one's results keeps the loop busy, not the engine.
        if self._gains_nothing():
            self._start_all(batches, early=True)
        for future, found in zip(futures, poses, strict=True):
            if not future.done():  # its stream may be gone
                future.set_result(
                    Inferred(poses=found, taken_at=began_at, inferred_at=inferred_at, batch_size=len(batch))
                )
        self._wake.set()

    def _gains_nothing(self) -> bool:
        """Whether the next batch is as good without the credits that come back as results are delivered."""
        short = [lane for lane in self._lanes if lane.credits < min(len(lane.ingress), self._policy.max_frames)]
        offered = sum(min(len(lane.ingress), lane.credits, self._policy.max_frames) for lane in self._lanes)
        return not short or (offered >= self._policy.max_frames and not any(lane.live for lane in short))

    def _fail(self, error: Exception, futures: list[asyncio.Future[Inferred]]) -> None:
        self._failure = self._failure or error
        for lane in self._lanes:
            lane.abandon(error)
        self._on_failure()
        for future in futures:
            if not future.done():
                future.set_exception(error)
                future.exception()  # a stream that is gone will not look: no warning for that

    def _retire(self) -> None:
        """Let go of lanes that have ended."""
        for lane in [lane for lane in self._lanes if lane.ingress.closed and not lane.ingress]:
            self._lanes.remove(lane)
            lane.outbox.close()
