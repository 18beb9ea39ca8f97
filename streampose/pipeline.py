"""The way of a frame, in one file.

    source ─▶ ingress ─┐                        ┌▶ outbox ─▶ finish (track, smooth, draw) ─▶ sinks    (per stream)
    source ─▶ ingress ─┼▶ batcher ─▶ engines ───┼▶ outbox ─▶ finish ─▶ sinks
    source ─▶ ingress ─┘                        └▶ …

`Pipeline.run` starts one task for the batcher and one for each stream. A stream's task is a group of its own: one that
reads (`_ingest`), one that finishes results in capture order (`_deliver`), and one for each sink (`_drain`). Everything
that blocks runs on a `Worker`: one for each source, each engine, each sink, and one for each stream's finishing.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from streampose.batching import Batcher, BatchPolicy, FixedBatch, Lane, LatencyBatch
from streampose.channel import Channel, Overflow
from streampose.clock import Clock, SystemClock
from streampose.errors import (
    ChannelClosed,
    ConfigError,
    SinkFailed,
    SourceError,
    StreamposeError,
    WorkerStuck,
    cause_of,
    redact,
)
from streampose.finisher import Finisher
from streampose.frame import Image
from streampose.inference.estimator import Estimator
from streampose.metrics import Cause, EngineMetrics, Place, Snapshot, StreamMetrics
from streampose.pose import Poses
from streampose.render import Hud
from streampose.result import Result, Timing
from streampose.sinks.sink import Sink, StopRequested
from streampose.sources.reconnect import Reconnecting
from streampose.sources.source import Source
from streampose.streams import Outcome, Stream, StreamReport, Trace
from streampose.worker import Worker

__all__ = ["Pipeline"]

log = logging.getLogger("streampose")

P = ParamSpec("P")
R = TypeVar("R")

# A live viewer wants the newest picture: two results give a sink one to work on and one to be next.
_LIVE_SINK_DEPTH = 2
_OFFLINE_SINK_DEPTH = 8
_HUD_REFRESH_S = 0.25


@dataclass(slots=True)
class _Running:
    """One stream's state while it runs."""

    stream: Stream
    lane: Lane
    report: StreamReport = field(default_factory=StreamReport)
    source: Worker[Source] | None = None
    sinks: list[tuple[Worker[Sink], Channel[Result]]] = field(default_factory=list)
    ingest: asyncio.Task[Any] | None = None
    """What waits for the source, first for its opening: `stop` cancels it."""


class Pipeline:
    """Many streams through one set of engines.

    Args:
        streams: what to run; names are unique.
        estimators: the engines, one thread each. Several give as many batches in flight: right for a CPU, where two
            sessions of one thread beat one of two; a GPU wants one.
        policy: sizes the batches; by default `FixedBatch` when no stream is live, else `LatencyBatch`.
        clock: for tests.
        engine_name: what computes, for displays (say, ``"CUDA"``).
        trace: is told of each frame's way.

    Raises:
        ConfigError: no stream, or two of one name; a smoother without a tracker.
    """

    def __init__(
        self,
        streams: Sequence[Stream],
        estimators: Estimator | Sequence[Estimator],
        *,
        policy: BatchPolicy | None = None,
        clock: Clock | None = None,
        engine_name: str | None = None,
        trace: Trace | None = None,
    ) -> None:
        names = [stream.name for stream in streams]
        if not streams:
            raise ConfigError("a pipeline needs at least one stream")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ConfigError(f"two streams are named {twice[0]!r}: give each its own name (NAME=SOURCE)")
        if bad := [s.name for s in streams if s.smoother is not None and s.tracker is None]:
            raise ConfigError(
                f"stream {bad[0]!r} smooths without tracking: smoothing follows a person, so it needs ids"
            )
        if bad := [s.name for s in streams if not s.weight > 0]:
            raise ConfigError(f"stream {bad[0]!r} has a weight that is not positive")
        self._engines = list(estimators) if isinstance(estimators, Sequence) else [estimators]
        live = [stream.source.live for stream in streams]
        self._policy: BatchPolicy = policy or (LatencyBatch() if any(live) else FixedBatch())
        self._clock = clock or SystemClock()
        self._engine_name = engine_name
        self._trace = trace
        self._engine_metrics = EngineMetrics()
        self._started_at = self._clock.now()
        self._streams = [_Running(stream, self._lane(stream, len(streams))) for stream in streams]
        self._stack = AsyncExitStack()
        self._batcher: Batcher | None = None
        self._stopping = False

    def _lane(self, stream: Stream, streams: int) -> Lane:
        live = stream.source.live
        # Offline: enough in the air that every engine has a batch, and one more is gathering, whoever it comes from.
        share = math.ceil(self._policy.max_frames * (len(self._engines) + 1) / streams)
        return Lane(
            stream.name,
            live=live,
            credits=stream.credits or (2 if live else max(2, share)),
            capacity=2 if live else max(2, share),
            budget_s=stream.budget_s,
            weight=stream.weight,
            metrics=StreamMetrics(),
        )

    async def __aenter__(self) -> Self:
        engines: list[Callable[[Sequence[Image]], Awaitable[list[Poses]]]] = []
        for i, estimator in enumerate(self._engines):
            worker: Worker[Estimator] = Worker(estimator, f"engine-{i}")
            self._stack.push_async_callback(worker.aclose)
            engines.append(partial(_infer, worker))
        self._batcher = Batcher(engines, self._policy, self._clock, metrics=self._engine_metrics)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @property
    def reports(self) -> Mapping[str, StreamReport]:
        """How each stream is doing, by name."""
        return {running.stream.name: running.report for running in self._streams}

    def snapshot(self) -> Snapshot:
        """All figures, now."""
        now = self._clock.now()
        return Snapshot(
            elapsed_s=now - self._started_at,
            streams={r.stream.name: r.lane.metrics.snapshot(now, len(r.lane.ingress)) for r in self._streams},
            engine=replace(
                self._engine_metrics.snapshot(),
                engines=len(self._engines),
                # Estimators may say so; those of users need not.
                memory_refusals=sum(getattr(estimator, "memory_refusals", 0) for estimator in self._engines),
                held_up_s=0.0 if self._batcher is None else self._batcher.held_up_s(now),
            ),
        )

    def stop(self) -> None:
        """Stop reading; what is on its way is still delivered, outputs are finished, and `run` returns."""
        self._stopping = True
        for running in self._streams:
            if running.ingest is not None:
                running.ingest.cancel()

    async def run(self) -> Mapping[str, StreamReport]:
        """Run until every stream has ended; a stream that fails ends alone (see its report).

        Cancelling it cuts everything off at once; outputs are still closed as valid files.

        Returns:
            How each stream ended.

        Raises:
            ModelError: an engine failed, which ends every stream.
            PolicyError: the batch policy is broken.
        """
        if self._batcher is None:
            raise RuntimeError("use the pipeline as a context: async with Pipeline(…) as pipeline")
        self._started_at = self._clock.now()
        try:
            async with asyncio.TaskGroup() as group:
                batcher = group.create_task(self._batcher.run(), name="batcher")
                streams = [group.create_task(self._run_stream(r), name=r.stream.name) for r in self._streams]
                await asyncio.wait(streams)
                self._batcher.close()
                await batcher
        except* StreamposeError as failures:
            raise failures.exceptions[0] from None
        return self.reports

    async def _run_stream(self, running: _Running) -> None:
        """One stream from open to close, whatever happens to it."""
        report, lane = running.report, running.lane
        try:
            async with AsyncExitStack() as closing:
                if await self._open(running, closing):
                    await self._flow(running, closing)
            if lane.failure is not None:
                raise lane.failure
            report.outcome = Outcome.STOPPED if self._stopping else Outcome.ENDED
        except StreamposeError as error:
            # What broke first is the cause; an output that then cannot be finished is its consequence.
            report.outcome, report.error = Outcome.FAILED, lane.failure or error
            self._tell(running.stream.name, report.error)
        finally:
            report.outcome = report.outcome or Outcome.CANCELLED
            lane.metrics.drop(Place.BATCH, Cause.FAILED, lane.metrics.in_flight)

    def _tell(self, name: str, error: Exception) -> None:
        """Say that a stream failed: at once where others go on, else whoever runs the pipeline is about to learn it."""
        others = any(report.outcome is None for report in self.reports.values())
        tags = {"stream": name, "event": "failed", "cause": cause_of(error)}
        log.log(logging.WARNING if others else logging.INFO, "%s failed: %s", name, redact(str(error)), extra=tags)

    async def _open(self, running: _Running, closing: AsyncExitStack) -> bool:
        """Open the source, then the sinks; the stack closes them the other way round. False = stopped meanwhile."""
        stream = running.stream
        source = Worker(stream.source, f"source-{stream.name}")
        if isinstance(stream.source, Reconnecting):
            running.report.link = stream.source.link
        closing.push_async_callback(self._let_go, source)
        opening = asyncio.create_task(source.call(_typed(SourceError, stream.source.open), stream.name))
        running.ingest = opening
        try:
            info = await opening
        except asyncio.CancelledError:
            opening.cancel()
            if self._stopping:
                return False
            raise
        running.source, running.report.info = source, info
        for i, sink in enumerate(stream.sinks):
            worker: Worker[Sink] = Worker(sink, f"sink-{stream.name}-{i}")
            closing.push_async_callback(self._finish, worker)
            await worker.call(_typed(SinkFailed, sink.open), stream.name, info)
            running.sinks.append((worker, self._sink_channel(running.lane)))
        return not self._stopping

    async def _flow(self, running: _Running, closing: AsyncExitStack) -> None:
        """Frames in, results out, until the end of the source, a stop, or a failure; then everything drains."""
        assert self._batcher is not None
        finisher = Worker(Finisher(running.stream), f"finish-{running.stream.name}")
        closing.push_async_callback(finisher.aclose)
        self._batcher.add(running.lane)
        async with asyncio.TaskGroup() as group:
            running.ingest = group.create_task(self._ingest(running))
            group.create_task(self._deliver(running, finisher))
            for worker, channel in running.sinks:
                group.create_task(self._drain(running, worker, channel))

    async def _ingest(self, running: _Running) -> None:
        """Source → ingress."""
        lane, source = running.lane, running.source
        assert source is not None
        read = _typed(SourceError, source.thing.read)
        try:
            while (frame := await source.call(read)) is not None:
                if self._trace is not None:
                    self._trace.captured(frame, self._clock.now())
                await lane.ingress.put(frame)
                lane.metrics.capture(frame.captured_at)
        except ChannelClosed:
            pass  # the lane was abandoned, and knows why
        except StreamposeError as error:
            # What was read before is still worth delivering: the failure comes at its place, after the last frame.
            lane.failure = lane.failure or error
        finally:
            lane.ingress.close()

    async def _deliver(self, running: _Running, finisher: Worker[Finisher]) -> None:
        """Outbox → finish → sinks, in capture order; a credit goes back for every frame."""
        lane = running.lane
        finish = _typed(StreamposeError, finisher.thing)
        hud: Hud | None = None
        hud_at = -math.inf
        try:
            async for frame, future in lane.outbox:
                inferred = await future
                if (now := self._clock.now()) - hud_at > _HUD_REFRESH_S:
                    hud, hud_at = self._hud(running), now
                poses, picture = inferred.poses, None
                if finisher.thing.needed:
                    poses, picture = await finisher.call(finish, frame, poses, hud)
                timing = Timing(
                    captured_at=frame.captured_at,
                    taken_at=inferred.taken_at,
                    inferred_at=inferred.inferred_at,
                    delivered_at=self._clock.now(),
                    batch_size=inferred.batch_size,
                )
                result = Result(frame=frame, poses=poses, timing=timing, picture=picture)
                if self._trace is not None:
                    self._trace.delivered(result)
                for _, channel in running.sinks:
                    await channel.put(result)
                lane.metrics.deliver(timing, len(poses))
                lane.return_credit(timing.delivered_at - timing.inferred_at)
        except StreamposeError as error:
            lane.abandon(error)
        finally:
            for _, channel in running.sinks:
                channel.close()
            if lane.failure is not None and running.ingest is not None:
                running.ingest.cancel()  # it may be waiting for a silent source

    async def _drain(self, running: _Running, worker: Worker[Sink], channel: Channel[Result]) -> None:
        """Channel → sink. A sink that breaks ends its stream; the stream's other sinks still get what is on its way."""
        write, broken = _typed(SinkFailed, worker.thing.write), False
        async for result in channel:
            if broken:
                running.lane.metrics.drop(Place.SINK, Cause.FAILED)
                continue
            began_at = self._clock.now()
            try:
                await worker.call(write, result)
                if self._trace is not None:
                    self._trace.written(result, type(worker.thing).__name__, began_at, self._clock.now())
            except StopRequested:
                self.stop()
            except StreamposeError as error:
                broken = True
                running.lane.abandon(error)
                if running.ingest is not None:
                    running.ingest.cancel()

    def _sink_channel(self, lane: Lane) -> Channel[Result]:
        if not lane.live:
            return Channel(_OFFLINE_SINK_DEPTH)
        return Channel(
            _LIVE_SINK_DEPTH, Overflow.DROP_OLDEST, on_drop=lambda _: lane.metrics.drop(Place.SINK, Cause.OVERFLOW)
        )

    def _hud(self, running: _Running) -> Hud:
        figures = running.lane.metrics.snapshot(self._clock.now())
        return Hud(
            stream=running.stream.name,
            fps=figures.fps,
            latency_p50_s=figures.recent_p50_s,
            latency_p95_s=figures.recent_p95_s,
            batch_size=figures.batch_size,
            dropped=figures.dropped_total,
            people=figures.people,
            engine=self._engine_name,
        )

    @staticmethod
    async def _let_go(source: Worker[Source]) -> None:
        """Close a source; a hung driver or a silent server must not hold up the end of the others."""
        try:
            await source.aclose(timeout_s=2.0)
        except WorkerStuck as error:
            log.warning("%s", error)
        except Exception as error:
            raise SourceError(f"closing: {type(error).__name__}: {error}") from error

    @staticmethod
    async def _finish(sink: Worker[Sink]) -> None:
        """Close a sink; an error that it did not foresee ends its stream, too."""
        try:
            await sink.aclose(timeout_s=30.0)
        except StreamposeError:
            raise
        except Exception as error:
            raise SinkFailed(f"closing: {type(error).__name__}: {error}") from error


async def _infer(engine: Worker[Estimator], images: Sequence[Image]) -> list[Poses]:
    return await engine.call(engine.thing, images)


def _typed(kind: type[StreamposeError], function: Callable[P, R]) -> Callable[P, R]:
    """The same function, where an error that it did not foresee is a typed one: it ends its stream, not the others."""

    def typed(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except (StreamposeError, StopRequested):
            raise
        except Exception as error:
            raise kind(f"{type(error).__name__}: {error}") from error

    return typed
