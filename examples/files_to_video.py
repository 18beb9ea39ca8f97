"""Recordings to videos with skeletons, as fast as the machine goes, no frame lost.

python examples/files_to_video.py clip1.mp4 clip2.mp4
"""

import asyncio
import sys
from pathlib import Path

import streampose as sp


async def main(*clips: str) -> None:
    streams = [
        sp.Stream(
            name=Path(clip).stem,
            source=sp.open_source(clip),
            sinks=[sp.VideoSink(f"{Path(clip).stem}.poses.mp4")],
            tracker=sp.Tracker(),
            renderer=sp.Renderer(hud=False),
        )
        for clip in clips
    ]
    # On a CPU one session for each core; on a GPU one.
    estimators = sp.load_estimators(sp.ModelChoice(), throughput=True)
    async with sp.Pipeline(streams, estimators, policy=sp.FixedBatch(4)) as pipeline:
        await pipeline.run()
        for name, figures in pipeline.snapshot().streams.items():
            print(name, figures.delivered, "frames")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
