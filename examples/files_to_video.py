"""Recordings to videos with skeletons, as fast as the machine goes, no frame lost.

python examples/files_to_video.py clip1.mp4 clip2.mp4
"""

import asyncio
import sys
from pathlib import Path

import streampose as sp


def by_name(clips: tuple[str, ...]) -> dict[str, str]:
    """Clips of one name in several folders: a, a-2, …"""
    named: dict[str, str] = {}
    for clip in clips:
        name, number = Path(clip).stem, 1
        while name in named:
            number += 1
            name = f"{Path(clip).stem}-{number}"
        named[name] = clip
    return named


async def main(*clips: str) -> str | None:
    """What failed, if anything did: one that fails ends no other."""
    streams = [
        sp.Stream(
            name=name,
            source=sp.open_source(clip),
            sinks=[sp.VideoSink(f"{name}.poses.mp4")],
            tracker=sp.Tracker(),
            renderer=sp.Renderer(hud=False),
        )
        for name, clip in by_name(clips).items()
    ]
    # As many sessions as give the most frames a second here.
    estimators = await asyncio.to_thread(sp.load_estimators, throughput=True)
    async with sp.Pipeline(streams, estimators, policy=sp.FixedBatch(4)) as pipeline:
        reports = await pipeline.run()
        for name, figures in pipeline.snapshot().streams.items():
            print(name, figures.delivered, "frames")
    return "\n".join(f"{name}: {report.error}" for name, report in reports.items() if report.error) or None


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    try:
        sys.exit(asyncio.run(main(*sys.argv[1:])))
    except KeyboardInterrupt:  # outputs are whole all the same
        sys.exit(130)
    except sp.StreamposeError as error:
        sys.exit(str(error))
