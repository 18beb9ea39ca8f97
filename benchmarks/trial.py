"""One fault in a running pipeline, and what it did to the stream that it hit and to the one beside it."""

from __future__ import annotations

import asyncio
import gc
import logging
import statistics
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import psutil
from live import Nothing

from streampose import CallSink, FixedBatch, Pipeline, Result, Stream
from streampose.metrics import Cause, Place
from streampose.observe.collector import PipelineCollector
from streampose.sources import Link, LinkState, NetworkSource, Reconnecting

WITHIN_S = 20.0
CALM_S = 6.0


class Seen:
    """Keeps times, not pictures."""

    def __init__(self) -> None:
        self.delivered_at: list[float] = []
        self.age_s: list[float] = []
        self.latency_s: list[float] = []
        self.time_s: list[float] = []
        self.by_camera: list[tuple[float, float]] = []
        self.sizes: list[tuple[int, int]] = []
        self.epoch = -1
        self.epoch_at: dict[int, float] = {}

    def took(self, result: Result) -> None:
        timing, frame = result.timing, result.frame
        self.delivered_at.append(timing.delivered_at)
        self.latency_s.append(timing.latency_s)
        self.age_s.append(timing.taken_at - timing.captured_at)
        self.time_s.append(frame.time_s)
        if frame.wall_time_s is not None:
            taken_wall_s = timing.taken_at + time.time() - time.monotonic()
            self.by_camera.append((timing.taken_at, taken_wall_s - frame.wall_time_s))
        height, width = frame.image.shape[:2]
        if (width, height) not in self.sizes[-1:]:
            self.sizes.append((width, height))
        self.epoch = frame.epoch
        self.epoch_at.setdefault(self.epoch, timing.delivered_at)

    def figures(self, since: float, until: float) -> dict[str, float]:
        """Rate, and latency in ms, of what was delivered between these moments."""
        chosen = [late for at, late in zip(self.delivered_at, self.latency_s, strict=False) if since <= at < until]
        return {
            "fps": round(len(chosen) / (until - since), 2),
            "p50 ms": round(1000 * quantile(chosen, 0.5), 2),
            "p99 ms": round(1000 * quantile(chosen, 0.99), 2),
        }


@dataclass
class Trial:
    """While it runs: the source that is hit, what came of it, and how soon it came back."""

    source: Reconnecting
    seen: Seen
    back_s: list[float] = field(default_factory=list)

    async def until(self, condition: Callable[[], bool], within_s: float = WITHIN_S) -> None:
        began = time.monotonic()
        while not condition():
            if time.monotonic() - began > within_s:
                raise TimeoutError(
                    f"nothing within {within_s:g} s: {self.source.link}, delivered up to epoch {self.seen.epoch}"
                )
            await asyncio.sleep(0.005)

    async def lost(self) -> None:
        await self.until(lambda: self.source.link.state is LinkState.LOST)

    async def flows(self, since: float, epoch: int) -> None:
        """Wait until results of a later epoch come, and note how long that took."""
        await self.until(lambda: self.seen.epoch > epoch)
        first_at = min(at for later, at in self.seen.epoch_at.items() if later > epoch)
        self.back_s.append(max(0.0, first_at - since))


Fault = Callable[[Trial], Awaitable[None]]


class Lines(logging.Handler):
    """The log lines about one stream."""

    def __init__(self, stream: str) -> None:
        super().__init__(logging.WARNING)
        self._stream = stream
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "stream", None) == self._stream:
            self.lines.append(record.getMessage())


@dataclass(frozen=True)
class Held:
    """What this process holds."""

    threads: int
    files: int
    rss_mb: float

    @staticmethod
    def now() -> Held:
        gc.collect()
        process = psutil.Process()
        # Those of asyncio.to_thread are made once, on demand, and stay.
        lent = sum(thread.name.startswith("asyncio") for thread in threading.enumerate())
        rss_mb = round(process.memory_info().rss / 1e6, 1)
        return Held(threads=process.num_threads() - lent, files=process.num_fds(), rss_mb=rss_mb)

    async def left(self) -> dict[str, Any]:
        """What is held now beyond this; threads in FFmpeg or in the resolver have time to end with their timeouts."""
        now = Held.now()
        for _ in range(120):
            if now.threads <= self.threads and now.files <= self.files:
                break
            await asyncio.sleep(0.1)
            now = Held.now()
        rss_mb = [self.rss_mb, now.rss_mb]
        return {"threads": now.threads - self.threads, "files": now.files - self.files, "rss MB": rss_mb}


async def attempt(
    url: str, fault: Fault, bystander: str, *, decoy: Callable[[], Awaitable[None]] | None = None, **options: Any
) -> dict[str, Any]:
    """The fault in a running pipeline, and a row of figures.

    Args:
        url: of the stream that is hit.
        fault: hits it.
        bystander: URL of the other stream; its figures during the fault are compared with those just before it.
        decoy: what is done before the fault, for comparison: it takes as much of the machine, and hits no stream.
        options: of the `NetworkSource`.
    """
    lines = Lines("victim")
    logging.getLogger("streampose").addHandler(lines)
    seen, other = Seen(), Seen()
    source = Reconnecting(NetworkSource(url, **options))
    streams = [
        Stream(name="victim", source=source, sinks=[CallSink(seen.took)]),
        Stream(name="bystander", source=Reconnecting(NetworkSource(bystander)), sinks=[CallSink(other.took)]),
    ]
    row: dict[str, Any] = {}
    async with Pipeline(streams, Nothing(), policy=FixedBatch(1)) as pipeline:
        running = asyncio.create_task(pipeline.run())
        run = Trial(source, seen)
        await run.until(lambda: len(seen.delivered_at) > 5 and len(other.delivered_at) > 5)
        await asyncio.sleep(0.5)
        calm_at = time.monotonic()
        await (asyncio.sleep(CALM_S) if decoy is None else decoy())
        began = time.monotonic()
        victims = len(seen.delivered_at)
        try:
            await fault(run)
            # A connection that comes and goes at once is not back.
            await run.until(lambda: len(seen.delivered_at) > victims + 5)
        except TimeoutError as error:
            row["failed"] = f"{error} {pipeline.snapshot().streams['victim']}"
        ended = time.monotonic()
        victims = len(seen.delivered_at) - victims
        row["in metrics"] = told(pipeline)
        pipeline.stop()
        reports = await running
        snapshot = pipeline.snapshot()
    logging.getLogger("streampose").removeHandler(lines)
    for name, sink in (("victim", seen), ("bystander", other)):
        figures = snapshot.streams[name]
        passed_by = sum(n for (place, _), n in figures.dropped.items() if place is Place.SINK)
        taken, given_up = len(sink.delivered_at), figures.dropped.get((Place.BATCH, Cause.FAILED), 0)
        # What is missing at its end a stream gives up, so that its own sum is always right.
        assert (taken + passed_by, given_up) == (figures.delivered, 0), f"{name}: the sink took {taken}, {figures}"
    link = reports["bystander"].link
    assert link is not None
    row |= {
        "lost": dict(source.link.lost),
        "reconnects": source.link.reconnects,
        "tries in vain": source.link.tries,
        "log lines": len(lines.lines),
        "said": next(iter(lines.lines), ""),
        "seconds": round(ended - began, 1),
        "fps": round(victims / (ended - began), 2),
        "age p99 ms": round(1000 * quantile(seen.age_s, 0.99), 1),
        "bystander": {
            "compared with": "calm" if decoy is None else "the same process starts, hitting nobody",
            "before": other.figures(calm_at, began),
            "during": other.figures(began, ended),
            "lost": sum(link.lost.values()),
        },
    }
    row |= more(source.link, seen, began)
    if run.back_s:
        row["back s"] = {
            "median": round(statistics.median(run.back_s), 2),
            "worst": round(max(run.back_s), 2),
            "rounds": len(run.back_s),
        }
    return row


def more(link: Link, seen: Seen, began: float) -> dict[str, Any]:
    """What only some rows have."""
    row: dict[str, Any] = {}
    if link.skipped_packets:
        row["packets skipped"] = link.skipped_packets
    if len(seen.sizes) > 1:
        row["sizes"] = ["×".join(map(str, size)) for size in seen.sizes]
    hit = [late for at, late in seen.by_camera if at >= began]
    if len(hit) > 90:
        third = len(hit) // 3
        row["age by the camera's clock, p50 ms: first third, last"] = [
            round(1000 * quantile(part, 0.5), 1) for part in (hit[:third], hit[-third:])
        ]
    hit = [t for at, t in zip(seen.delivered_at, seen.time_s, strict=False) if at >= began]
    at = [at for at in seen.delivered_at if at >= began]
    row["media time per second"] = round((hit[-1] - hit[0]) / (at[-1] - at[0]), 4)
    row["media time goes forwards"] = all(a < b for a, b in zip(seen.time_s, seen.time_s[1:], strict=False))
    return row


def told(pipeline: Pipeline) -> dict[str, float]:
    """Losses by cause, as Prometheus sees them."""
    return {
        sample.labels["cause"]: sample.value
        for metric in PipelineCollector(pipeline, "").collect()
        for sample in metric.samples
        if "cause" in sample.labels and sample.name == LOSSES and sample.labels["stream"] == "victim" and sample.value
    }


LOSSES = "streampose_connections_lost_total"


def quantile(values: list[float], q: float) -> float:
    ordered = sorted(values)
    return ordered[int(q * (len(ordered) - 1))] if ordered else float("nan")
