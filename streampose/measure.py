"""One run, measured: the pipeline as it is, with a stopwatch at each place."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streampose.batching import BatchPolicy
from streampose.cores import available_cores
from streampose.figures import Figures
from streampose.frame import Image
from streampose.gauges import Gauges
from streampose.inference.estimator import Estimator
from streampose.meter import Metered, Watch
from streampose.metrics import Histogram, Place, Snapshot
from streampose.pipeline import Pipeline
from streampose.sinks import CallSink
from streampose.sources import Paced
from streampose.sources.source import Source
from streampose.streams import Stream, StreamReport
from streampose.tracking import Tracker

__all__ = ["Measurement"]

_TICK_S = 0.2


@dataclass(frozen=True, slots=True)
class _Mark:
    """All counters at one moment."""

    at: float
    snapshot: Snapshot
    reads: int
    read_wall_s: float
    read_cpu_s: float
    stages_s: Mapping[str, float]


class Measurement:
    """Streams through estimators, with figures of what happened.

    Args:
        sources: by stream name; each read is timed. A recording that shall be live is paced here, not before.
        estimators: they are closed in the end.
        policy: sizes the batches.
        live: whether recordings are played at their own speed.
        frames: of each stream; `None` = all, or until it is stopped.
        warm_up_s: what happens before does not count.
        track: give people stable ids, as `streampose run` does.
    """

    def __init__(
        self,
        sources: Mapping[str, Source],
        estimators: Sequence[Estimator],
        policy: BatchPolicy,
        *,
        live: bool = False,
        frames: int | None = None,
        warm_up_s: float = 0.0,
        track: bool = True,
    ) -> None:
        self._meters = {name: Metered(source, frames=frames) for name, source in sources.items()}
        self.live = live or any(meter.live for meter in self._meters.values())
        self._budget_s = policy.budget_s if self.live and math.isfinite(policy.budget_s) else None
        self._watches = [Watch(self._budget_s) for _ in self._meters]
        self._estimators, self._policy, self._warm_up_s = list(estimators), policy, warm_up_s
        streams = [
            Stream(
                name=name,
                source=Paced(meter) if live and not meter.live else meter,
                sinks=[CallSink(watch)],
                tracker=Tracker() if track else None,
            )
            for (name, meter), watch in zip(self._meters.items(), self._watches, strict=True)
        ]
        self.gauges = Gauges()
        self._pipeline = Pipeline(streams, self._estimators, policy=policy)
        self._running: asyncio.Task[Any] | None = None
        self._from: _Mark | None = None
        self._until: _Mark | None = None

    @property
    def reports(self) -> Mapping[str, StreamReport]:
        """How each stream is doing, by name."""
        return self._pipeline.reports

    @property
    def pictures(self) -> list[Image]:
        """A few of those that came."""
        return [picture for meter in self._meters.values() for picture in meter.pictures]

    def snapshot(self) -> Snapshot:
        """The pipeline's figures, now."""
        return self._pipeline.snapshot()

    def stop(self) -> None:
        """End it; what is on its way still arrives, and counts."""
        self._pipeline.stop()

    def cancel(self) -> None:
        """Cut it off."""
        if self._running is not None:
            self._running.cancel()

    async def run(self, *, seconds: float | None = None, tick: Callable[[], None] = lambda: None) -> None:
        """Run until the sources end, `stop` is called, or so many seconds (after the warm-up) have passed.

        Args:
            seconds: how long to measure; `None` = to the end.
            tick: called a few times a second.

        Raises:
            StreamposeError: an engine failed.
        """
        async with self._pipeline as pipeline:
            self._from = self._mark()
            self.gauges.start()
            self._running = asyncio.create_task(pipeline.run())
            loop = asyncio.get_running_loop()
            begin = loop.time()
            warm, end = begin + self._warm_up_s, math.inf if seconds is None else begin + self._warm_up_s + seconds
            while not self._running.done():
                # Wakes at the moments that matter too: a mark that is late measures something else.
                due = min(t for t in (loop.time() + _TICK_S, warm, end) if t > loop.time())
                await asyncio.wait([self._running], timeout=due - loop.time())
                if loop.time() >= warm:
                    warm = math.inf
                    self._begin()
                if loop.time() >= end:
                    end = math.inf
                    self._end()
                    self.stop()
                self.gauges.sample()
                tick()
            if self._until is None:
                self._end()
            await self._running

    def _begin(self) -> None:
        if self._warm_up_s:
            self._from = self._mark()
            self.gauges.start()
            for watch in self._watches:
                watch.forget()

    def _end(self) -> None:
        self._until = self._mark()
        self.gauges.stop()
        for watch in self._watches:
            watch.counting = False

    def _mark(self) -> _Mark:
        meters = self._meters.values()
        stages: Counter[str] = Counter()
        for estimator in self._estimators:
            # Estimators may say what each of their stages took; those of users need not.
            if (stage_seconds := getattr(estimator, "stage_seconds", None)) is not None:
                stages.update(stage_seconds())
        return _Mark(
            time.monotonic(),
            self._pipeline.snapshot(),
            sum(meter.reads for meter in meters),
            sum(meter.wall_s for meter in meters),
            sum(meter.cpu_s for meter in meters),
            stages,
        )

    def figures(self, *, bound_fps: float | None = None, on_gpu: bool = False, gpu_unused: str = "") -> Figures:
        """What was measured, so far or in all.

        Args:
            bound_fps: what the engines do alone.
            on_gpu: whether they run on a GPU.
            gpu_unused: why a GPU that is there is not used.
        """
        begin = self._from or self._mark()
        end = self._until or self._mark()
        elapsed_s = max(end.at - begin.at, 1e-9)
        before, after = begin.snapshot, end.snapshot
        delivered = {name: s.delivered - before.streams[name].delivered for name, s in after.streams.items()}
        dropped: Counter[str] = Counter()
        for name, stream in after.streams.items():
            for (place, cause), count in stream.dropped.items():
                if place is not Place.SINK and (new := count - before.streams[name].dropped.get((place, cause), 0)):
                    dropped[f"{place.value} {cause.value}"] += new
        latency, wait, finish = Histogram(), Histogram(), Histogram()
        for watch in self._watches:
            latency.merge(watch.latency)
            wait.merge(watch.wait)
            finish.merge(watch.finish)
        batches = Counter(after.engine.batch_sizes)
        batches.subtract(before.engine.batch_sizes)
        frames = after.engine.frames - before.engine.frames
        busy_s = after.engine.busy_s - before.engine.busy_s
        infos = [report.info for report in self.reports.values() if report.info is not None]
        rates = [float(info.rate) for info in infos if info.rate is not None]
        return Figures(
            live=self.live,
            budget_s=self._budget_s,
            elapsed_s=elapsed_s,
            captured=sum(s.captured - before.streams[name].captured for name, s in after.streams.items()),
            delivered=delivered,
            dropped=dict(dropped),
            on_time=None
            if self._budget_s is None or not latency.count
            else sum(watch.on_time for watch in self._watches) / latency.count,
            latency_s={f"p{q}": value for q in (50, 90, 99) if (value := latency.quantile(q / 100)) is not None},
            stages_s=self._stages(begin, end, wait=wait, finish=finish),
            reading=min(1.0, (end.read_wall_s - begin.read_wall_s) / elapsed_s / len(self._meters)),
            source_fps=sum(rates) if self.live and len(rates) == len(self._meters) else None,
            engines=len(self._estimators),
            busy=min(1.0, busy_s / elapsed_s / len(self._estimators)),
            batches={size: count for size, count in sorted(batches.items()) if count > 0},
            max_batch=self._policy.max_frames,
            batch_s=after.engine.batch_p50_s,
            people=(after.engine.people - before.engine.people) / frames if frames else 0.0,
            on_gpu=on_gpu,
            gpu_unused=gpu_unused,
            decoder=", ".join(sorted({info.decoder if info.codec else "none" for info in infos})) or "none",
            bound_fps=bound_fps,
            gpu=self.gauges.gpu,
            cores=available_cores(),
            cores_used=self.gauges.cores_used,
            rss_peak_mb=self.gauges.rss_peak_mb,
            rss_growth_mb=self.gauges.rss_growth_mb,
        )

    def _stages(self, begin: _Mark, end: _Mark, *, wait: Histogram, finish: Histogram) -> dict[str, float]:
        """Seconds of each stage for one frame, in the order of the way."""
        stages: dict[str, float] = {}
        if reads := end.reads - begin.reads:
            # A camera's read waits for the next picture: what it computes is what counts.
            native = any(meter.live for meter in self._meters.values())
            cpu_s, wall_s = end.read_cpu_s - begin.read_cpu_s, end.read_wall_s - begin.read_wall_s
            stages["decode"] = (cpu_s if native else wall_s) / reads
        if wait.count:
            stages["wait"] = wait.total_s / wait.count
        before, after = begin.snapshot.engine, end.snapshot.engine
        if frames := after.frames - before.frames:
            inside = {name: (s - begin.stages_s.get(name, 0.0)) / frames for name, s in end.stages_s.items()}
            # The estimator's own "decode" is that of the model's outputs.
            stages |= {"outputs" if name == "decode" else name: s for name, s in inside.items() if s > 0}
            if (rest := (after.busy_s - before.busy_s) / frames - sum(inside.values())) > 0:
                stages["other" if inside else "infer"] = rest
        if finish.count:
            stages["finish"] = finish.total_s / finish.count
        return stages
