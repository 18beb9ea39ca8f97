from __future__ import annotations

import asyncio
import gc
from pathlib import Path

import psutil
from fakes import FakeEstimator, ScriptedSource

from streampose.batching import FixedBatch
from streampose.pipeline import Pipeline
from streampose.sinks import JsonlSink, VideoSink
from streampose.streams import Stream
from streampose.tracking import OneEuro, Tracker


async def test_memory_does_not_grow_over_thousands_of_frames(tmp_path: Path):
    # Where each handle and task came from is not asked here, and to write it down is half of the time.
    asyncio.get_running_loop().set_debug(False)
    rss: list[int] = []

    def script():
        for i in range(3_001):  # with the last one memory is looked at for the last time
            if i % 1000 == 0:
                gc.collect()
                rss.append(psutil.Process().memory_info().rss)
            yield i

    sinks = [JsonlSink(tmp_path / "o.jsonl"), VideoSink(tmp_path / "o.mp4", preset="ultrafast")]
    stream = Stream(name="s", source=ScriptedSource(script()), sinks=sinks, tracker=Tracker(), smoother=OneEuro())
    async with Pipeline([stream], [FakeEstimator(), FakeEstimator()], policy=FixedBatch(4)) as pipeline:
        await pipeline.run()
    assert pipeline.snapshot().streams["s"].delivered == 3_001
    # The first 1000 frames fill caches and pools; 2000 frames of 9 kB would be 18 MB if they were kept.
    assert rss[-1] - rss[1] < 6e6, [round(r / 1e6, 1) for r in rss]
