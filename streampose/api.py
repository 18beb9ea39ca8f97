"""The short way: results of one source, as an async iterator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

from streampose.batching import FixedBatch, LatencyBatch
from streampose.channel import Channel, Overflow
from streampose.errors import ChannelClosed
from streampose.frame import StreamInfo
from streampose.inference.engine import EngineOptions
from streampose.inference.loading import ModelChoice, load_estimators, usual_batch
from streampose.pipeline import Pipeline
from streampose.render import Renderer
from streampose.result import Result
from streampose.sinks.sink import StopRequested
from streampose.sources import Source, open_source
from streampose.streams import Stream
from streampose.tracking import OneEuro, Tracker

__all__ = ["stream"]


async def stream(
    source: str | Path | Source,
    *,
    model: str | Path | None = None,
    detector: str | Path | None = None,
    pose: str | Path | None = None,
    live: bool | None = None,
    budget_s: float = 0.1,
    track: bool = True,
    smooth: bool = False,
    pictures: bool = False,
    options: EngineOptions | None = None,
) -> AsyncGenerator[Result, None]:
    """The people in every frame of a source, as they come.

    A live source drops what the loop around this does not take in time; a recording waits for it. Who leaves the loop
    before its end, and does not want to wait for Python to notice that, closes it::

        async with contextlib.aclosing(streampose.stream("rtsp://camera/1")) as results:
            async for result in results: ...

    Args:
        source: what `open_source` understands, or a source.
        model: one that does all, a path or a name from the zoo; without any, `streampose-nano`; or
        detector: a detector and
        pose: a key-point model.
        live: play a recording at its own speed.
        budget_s: latency that a live stream aims at, from capture to result.
        track: give people identities.
        smooth: calm their key points, too.
        pictures: draw them (`Result.picture`).
        options: how models are run.

    Raises:
        StreamposeError: of the kind that fits; results that came before are not lost.
    """
    opened = open_source(str(source), live=live) if isinstance(source, str | Path) else source
    choice = ModelChoice(model=model, detector=detector, pose=pose)
    estimators = await asyncio.to_thread(load_estimators, choice, options, throughput=not opened.live)
    results: Channel[Result] = Channel(2, Overflow.DROP_OLDEST if opened.live else Overflow.WAIT)
    name = "stream"  # not the source: a URL may hold a password, and names are shown
    one = Stream(
        name=name,
        source=opened,
        sinks=[_Handover(results, wants_picture=pictures)],
        tracker=Tracker() if track or smooth else None,
        smoother=OneEuro() if smooth else None,
        renderer=Renderer(hud=False) if pictures else None,
    )
    most = usual_batch(estimators, live=opened.live)
    policy = LatencyBatch(budget_s, max_frames=most) if opened.live else FixedBatch(most)
    async with Pipeline([one], estimators, policy=policy) as pipeline:
        running = asyncio.create_task(pipeline.run())
        running.add_done_callback(lambda _: results.close())
        try:
            async for result in results:
                yield result
        finally:
            results.close()
            pipeline.stop()
            await running
    if (error := pipeline.reports[name].error) is not None:
        raise error


class _Handover:
    """A sink that puts results into a channel of the event loop that made it."""

    def __init__(self, results: Channel[Result], *, wants_picture: bool) -> None:
        self.wants_picture = wants_picture
        self._results = results
        self._loop = asyncio.get_running_loop()

    def open(self, stream: str, info: StreamInfo) -> None:
        """Nothing to open."""

    def write(self, result: Result) -> None:
        """Wait until the loop has taken it, if it is that kind of channel."""
        try:
            asyncio.run_coroutine_threadsafe(self._results.put(result), self._loop).result()
        except ChannelClosed:
            raise StopRequested from None

    def close(self) -> None:
        """Nothing to close."""
