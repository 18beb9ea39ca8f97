"""Cameras through our own pipeline, with what `streampose run` sets; see peers.py."""

from __future__ import annotations

import sys

from watcher import Watcher

from streampose import LatencyBatch, Pipeline, Result, Stream, StreamInfo
from streampose.cores import share_cores
from streampose.inference.boxes import Limits
from streampose.inference.engine import EngineOptions
from streampose.inference.loading import ModelChoice, load_estimators
from streampose.loop import run_async
from streampose.sinks import StopRequested
from streampose.sources import NetworkSource, Reconnecting


class Seen:
    """A sink that shows its results to the watcher."""

    wants_picture = False

    def __init__(self, watcher: Watcher, stream: int) -> None:
        self._watcher, self._stream = watcher, stream

    def open(self, stream: str, info: StreamInfo) -> None:
        pass

    def write(self, result: Result) -> None:
        if not self._watcher.saw(self._stream, result.frame.image, len(result.poses)):
            raise StopRequested

    def close(self) -> None:
        pass


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
        Stream(name=f"camera-{i}", source=Reconnecting(NetworkSource(url)), sinks=[Seen(watcher, i)])
        for i, url in enumerate(urls)
    ]
    async with Pipeline(streams, estimators, policy=LatencyBatch(float(budget_s))) as pipeline:
        await pipeline.run()
    print(watcher.report(), flush=True)


if __name__ == "__main__":
    run_async(main())
