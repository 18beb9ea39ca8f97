"""The way of one stream's frames, in one file.

    source ─▶ ingress ─▶ (batcher, engines) ─▶ outbox ─▶ finish (track, smooth, draw) ─▶ sinks

A stream's task is a group of its own: one that reads (`_ingest`), one that finishes results in capture order
(`_deliver`), and one for each sink (`_drain`). Everything that blocks runs on a `Worker`: one for the source, one for
each sink, one for the finishing.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

from streampose.batching import Batcher, Lane
from streampose.channel import Channel, Overflow
from streampose.clock import Clock
from streampose.errors import ChannelClosed, SinkFailed, SourceError, StreamposeError, WorkerStuck, cause_of
from streampose.finisher import Finisher
from streampose.metrics import Cause, Place
from streampose.number import is_whole
from streampose.patience import Patience
from streampose.redaction import redact
from streampose.render import Hud
from streampose.result import Result, Timing
from streampose.sinks.sink import Sink, StopRequested
from streampose.sources.conversion import read_latent
from streampose.sources.reconnect import Reconnecting
from streampose.sources.source import Source, opened
from streampose.streams import Outcome, Stream, StreamReport, Trace
from streampose.typed import Typed
from streampose.worker import Worker

__all__ = ["Flow"]

log = logging.getLogger("streampose")

# A live viewer wants the newest picture: two results give a sink one to work on and one to be next.
_LIVE_SINK_DEPTH = 2
_OFFLINE_SINK_DEPTH = 8
_HUD_REFRESH_S = 0.25
_HURRY_S = 2.0
# Whatever a user's part does that nobody foresaw, it is not the others' problem.
_OTHERS = Typed(StreamposeError)


class Flow:
    """One stream while it runs, and how that goes.

    Args:
        stream: what is asked for.
        lane: its way through the batcher.
        clock: of the pipeline.
        engine_name: for displays.
        trace: is told of each frame's way.
        latent: whether its pictures are converted when a batch takes them; else on the source's thread.
        alone: whether the pipeline comes to its end: no other stream is running.
        stop_all: called when somebody who watches asks the whole run to stop.
    """

    def __init__(
        self,
        stream: Stream,
        lane: Lane,
        clock: Clock,
        *,
        engine_name: str | None,
        trace: Trace | None,
        latent: Callable[[], bool],
        alone: Callable[[], bool],
        stop_all: Callable[[], None],
    ) -> None:
        self.stream, self.lane, self.report = stream, lane, StreamReport(sinks=stream.sinks)
        self._clock, self._engine_name, self._trace = clock, engine_name, trace
        self._latent, self._alone, self._stop_all = latent, alone, stop_all
        self._sinks: list[tuple[Worker[Sink], Channel[Result]]] = []
        self._unsent: Counter[Worker[Sink]] = Counter()
        # What waits for the source, first for its opening: `stop` cancels it.
        self._ingest_task: asyncio.Task[Any] | None = None
        self._stopping, self._patience = False, Patience(live=lane.live)

    def stop(self) -> None:
        """Stop reading; what is on its way is still delivered, outputs are finished, and `run` returns."""
        self._stopping = True
        self._patience.begin()
        self._stop_reading()

    async def run(self, batcher: Batcher) -> None:
        """From open to close, whatever happens to it; `report` has the outcome."""
        report, lane = self.report, self.lane
        try:
            with _OTHERS:
                async with AsyncExitStack() as closing:
                    if (source := await self._open(closing)) is not None:
                        await self._flow(source, batcher, closing)
            if lane.failure is not None:
                raise lane.failure
            report.outcome = Outcome.STOPPED if self._stopping else Outcome.ENDED
        except StreamposeError as error:
            # What broke first is the cause; an output that then cannot be finished is its consequence.
            report.outcome, report.error = Outcome.FAILED, lane.failure or error
            self._tell(report.error)
        finally:
            report.outcome = report.outcome or Outcome.CANCELLED
            lane.clear()  # whoever is cut off leaves frames, and the batcher would wait for their credits for ever
            lane.metrics.drop(Place.BATCH, Cause.FAILED, lane.metrics.in_flight)

    def _tell(self, error: Exception) -> None:
        """Say that it failed: at once where others go on, else whoever runs the pipeline is about to learn it."""
        tags = {"stream": self.stream.name, "event": "failed", "cause": cause_of(error)}
        level = logging.INFO if self._alone() else logging.WARNING
        log.log(level, "%s failed: %s", self.stream.name, redact(str(error)), extra=tags)

    async def _open(self, closing: AsyncExitStack) -> Worker[Source] | None:
        """Open the source, then the sinks; the stack closes all sinks, then the source. `None` = stopped meanwhile."""
        stream = self.stream
        source = Worker(stream.source, f"source-{stream.name}")
        if isinstance(stream.source, Reconnecting):
            self.report.link = stream.source.link
        closing.push_async_callback(self._let_go, source)
        opening = asyncio.create_task(source.call(Typed(SourceError)(opened), stream.source, stream.name))
        self._ingest_task = opening
        if self._stopping:
            opening.cancel()  # it is closed without: who pushes learns that nobody takes it
        try:
            self.report.info = info = await opening
        except asyncio.CancelledError:
            opening.cancel()
            if self._stopping:
                return None
            raise
        sinks: list[Worker[Sink]] = []
        closing.push_async_callback(self._finish_all, sinks)
        for i, sink in enumerate(stream.sinks):
            worker: Worker[Sink] = Worker(sink, f"sink-{stream.name}-{i}")
            sinks.append(worker)
            await self._patience.call(worker, Typed(SinkFailed)(sink.open), stream.name, info)
            self._sinks.append((worker, self._sink_channel()))
        return None if self._stopping else source

    async def _flow(self, source: Worker[Source], batcher: Batcher, closing: AsyncExitStack) -> None:
        """Frames in, results out, until the end of the source, a stop, or a failure; then everything drains."""
        finisher = Worker(Finisher(self.stream), f"finish-{self.stream.name}")
        closing.push_async_callback(finisher.aclose)
        batcher.add(self.lane)
        try:
            async with asyncio.TaskGroup() as group:
                self._ingest_task = group.create_task(self._ingest(source))
                # Not at its own end: one that is cancelled before its first step has none.
                self._ingest_task.add_done_callback(lambda _: self.lane.ingress.close())
                group.create_task(self._deliver(finisher))
                for worker, channel in self._sinks:
                    group.create_task(self._drain(worker, channel))
        except ExceptionGroup as broken:
            raise broken.exceptions[0] from broken.exceptions[0].__cause__

    async def _ingest(self, source: Worker[Source]) -> None:
        """Source → ingress."""
        lane = self.lane
        read = Typed(SourceError)(partial(read_latent, source.thing.read, self._latent))
        try:
            while (frame := await source.call(read)) is not None:
                lane.came(frame, now := self._clock.now())
                if self._trace is not None:
                    _OTHERS(self._trace.captured)(frame, now)
                await lane.ingress.put(frame)
                lane.metrics.capture(frame.captured_at)
        except ChannelClosed:
            pass  # the lane was abandoned, and knows why
        except StreamposeError as error:
            # What was read before is still worth delivering: the failure comes at its place, after the last frame.
            lane.failure = lane.failure or error

    async def _deliver(self, finisher: Worker[Finisher]) -> None:
        """Outbox → finish → sinks, in capture order; a credit goes back for every frame."""
        lane = self.lane
        finish = _OTHERS(finisher.thing)
        hud: Hud | None = None
        hud_at = -math.inf
        try:
            async for frame, future in lane.outbox:
                inferred = await future
                if (now := self._clock.now()) - hud_at > _HUD_REFRESH_S:
                    hud, hud_at = self._hud(), now
                if finisher.thing.brief(inferred.poses):
                    poses, picture = finish(frame, inferred.poses, hud)
                    await asyncio.sleep(0)  # sinks and others have their turn between two results
                else:
                    poses, picture = await finisher.call(finish, frame, inferred.poses, hud)
                timing = Timing(
                    captured_at=frame.captured_at,
                    taken_at=inferred.taken_at,
                    inferred_at=inferred.inferred_at,
                    delivered_at=self._clock.now(),
                    batch_size=inferred.batch_size,
                )
                result = Result(frame=frame, poses=poses, timing=timing, picture=picture)
                if self._trace is not None:
                    _OTHERS(self._trace.delivered)(result)
                for _, channel in self._sinks:
                    await channel.put(result)
                lane.metrics.deliver(timing, len(poses))
                lane.return_credit(timing.delivered_at - timing.inferred_at, self._clock.now())
        except StreamposeError as error:
            lane.abandon(error)
        finally:
            for _, channel in self._sinks:
                channel.close()
            if lane.failure is not None:
                self._stop_reading()  # it may be waiting for a silent source

    async def _drain(self, worker: Worker[Sink], channel: Channel[Result]) -> None:
        """Channel → sink. A sink that breaks ends its stream; the stream's other sinks still get what is on its way."""
        write, broken = Typed(SinkFailed, passing=(StopRequested,))(worker.thing.write), False
        async for result in channel:
            if broken:
                self.lane.metrics.drop(Place.SINK, Cause.FAILED)
                continue
            began_at = self._clock.now()
            try:
                await self._patience.call(worker, write, result)
                if self._trace is not None:
                    _OTHERS(self._trace.written)(result, type(worker.thing).__name__, began_at, self._clock.now())
            except StopRequested:
                self._stop_all()
            except StreamposeError as error:
                broken = True
                self.lane.abandon(error)  # its outbox ends by that, and the reading with that
            self._count_unsent(worker)

    def _count_unsent(self, sink: Worker[Sink]) -> None:
        # Our sinks that send to a server count them; those of others need not.
        if is_whole(unsent := getattr(sink.thing, "unsent", 0)):
            self.lane.metrics.drop(Place.SINK, Cause.UNSENT, unsent - self._unsent[sink])
            self._unsent[sink] = unsent

    def _stop_reading(self) -> None:
        if self._ingest_task is not None:
            self._ingest_task.cancel()

    def _sink_channel(self) -> Channel[Result]:
        if not self.lane.live:
            return Channel(_OFFLINE_SINK_DEPTH)
        drop = self.lane.metrics.drop
        return Channel(_LIVE_SINK_DEPTH, Overflow.DROP_OLDEST, on_drop=lambda _: drop(Place.SINK, Cause.OVERFLOW))

    def _hud(self) -> Hud:
        figures = self.lane.metrics.snapshot(self._clock.now())
        return Hud(
            stream=self.stream.name,
            fps=figures.fps,
            latency_p50_s=figures.recent_p50_s,
            latency_p95_s=figures.recent_p95_s,
            batch_size=figures.batch_size,
            dropped=figures.dropped_total,
            engine=self._engine_name,
        )

    @staticmethod
    async def _let_go(source: Worker[Source]) -> None:
        """Close a source; a hung driver or a silent server must not hold up the end of the others."""
        try:
            with Typed(SourceError, "closing: "):
                await source.aclose(timeout_s=2.0)
        except WorkerStuck as error:
            log.warning("%s", error)

    async def _finish_all(self, sinks: list[Worker[Sink]]) -> None:
        """Close sinks side by side: a file is not left unfinished while servers are waited for."""
        closings = asyncio.gather(*map(self._finish, sinks), return_exceptions=True)
        task = asyncio.current_task()
        cut_off = task is not None and task.cancelling() > 0
        try:
            await asyncio.wait([closings], timeout=_HURRY_S if cut_off else None)
        except asyncio.CancelledError:
            # Who is in a hurry does not want half a file either.
            await asyncio.wait([closings], timeout=_HURRY_S)
            raise
        finally:
            closings.cancel()
            closings.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody else asks
        if not cut_off:
            for error in closings.result():
                if error is not None:
                    raise error

    async def _finish(self, sink: Worker[Sink]) -> None:
        """Close a sink; an error that it did not foresee ends its stream, too."""
        try:
            with Typed(SinkFailed, "closing: "):
                await self._patience.close(sink)
        finally:
            self._count_unsent(sink)
