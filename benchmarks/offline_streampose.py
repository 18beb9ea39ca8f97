"""One offline run through the library, timed without start-up and warm-up, as rtmlib_loop.py is."""

from __future__ import annotations

import argparse
import asyncio
import time

from streampose.batching import FixedBatch
from streampose.cores import share_cores
from streampose.inference.boxes import Limits
from streampose.inference.loading import ModelChoice, load_estimators
from streampose.pipeline import Pipeline
from streampose.sinks import JsonlSink, VideoSink
from streampose.sources import open_source
from streampose.streams import Stream


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("video")
    parser.add_argument("detector")
    parser.add_argument("pose")
    parser.add_argument("--json")
    parser.add_argument("--out")
    arguments = parser.parse_args()
    share_cores()
    choice = ModelChoice(detector=arguments.detector, pose=arguments.pose, limits=Limits(min_score=0.4))
    estimators = load_estimators(choice, throughput=True)
    sinks = [JsonlSink(arguments.json)] + ([VideoSink(arguments.out)] if arguments.out else [])
    stream = Stream(name="clip", source=open_source(arguments.video), sinks=sinks)
    async with Pipeline([stream], estimators, policy=FixedBatch(4)) as pipeline:
        start = time.perf_counter()
        await pipeline.run()
        seconds = time.perf_counter() - start
    engine = pipeline.snapshot().engine
    print(engine.frames, engine.people, seconds)


if __name__ == "__main__":
    asyncio.run(main())
