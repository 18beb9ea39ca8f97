"""Cameras through our own pipeline, with what `streampose run` sets; see peers.py."""

from __future__ import annotations

import sys

from watcher import Watcher

from streampose import CallSink, LatencyBatch, Pipeline, Result, Stream
from streampose.cores import share_cores
from streampose.inference.boxes import Limits
from streampose.inference.engine import EngineOptions
from streampose.inference.loading import ModelChoice, load_estimators
from streampose.loop import run_async
from streampose.sinks import StopRequested
from streampose.sources import NetworkSource, Reconnecting


def shown_to(watcher: Watcher, stream: int) -> CallSink:
    def saw(result: Result) -> None:
        if not watcher.saw(stream, result.frame.image, len(result.poses)):
            raise StopRequested

    return CallSink(saw)


async def main() -> None:
    detector, pose, seconds, budget_s, *urls = sys.argv[1:]
    share_cores()
    watcher = Watcher(len(urls), float(seconds))
    choice = ModelChoice(
        model=pose if detector == "-" else None,
        detector=None if detector == "-" else detector,
        pose=None if detector == "-" else pose,
        limits=Limits(min_score=0.4),
    )
    estimators = load_estimators(choice, EngineOptions(device="cpu"), throughput=False, streams=len(urls))
    streams = [
        Stream(name=f"camera-{i}", source=Reconnecting(NetworkSource(url)), sinks=[shown_to(watcher, i)])
        for i, url in enumerate(urls)
    ]
    async with Pipeline(streams, estimators, policy=LatencyBatch(float(budget_s))) as pipeline:
        await pipeline.run()
    print(watcher.report(), flush=True)


if __name__ == "__main__":
    run_async(main())
