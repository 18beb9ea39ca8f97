"""What the pipeline itself adds to the latency of a live stream.

    python benchmarks/live.py [--seconds 20]

A drawn 30 fps 720p source, paced by the clock, and a model that takes no time: all that is left is the way from capture
to delivery. Asked for: at most 5 ms at p50 and 15 ms at p99.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

import numpy as np
from command import parser_of, write_to
from machine import machine

from streampose import CallSink, LatencyBatch, OneEuro, Pipeline, Poses, Result, Stream, SyntheticSource, Tracker
from streampose.frame import Frame, Image
from streampose.skeletons import COCO_17
from streampose.sources import Looped, Paced, Source


class Nothing:
    """A model that takes no time, and gives one person."""

    skeleton = COCO_17

    def __call__(self, images: Sequence[Image]) -> list[Poses]:
        one = Poses(
            skeleton=COCO_17,
            points=np.full((1, 17, 2), 100, np.float32),
            scores=np.ones((1, 17), np.float32),
            boxes=np.array([[50, 50, 300, 600]], np.float32),
            box_scores=np.ones(1, np.float32),
        )
        return [one for _ in images]

    def close(self) -> None:
        pass


class Beforehand(Looped):
    """Pictures drawn before the start, for so long: a camera's cost this process nothing."""

    def __init__(self, seconds: float) -> None:
        synthetic = SyntheticSource(rate=30, live=False)
        super().__init__([synthetic.render(i) for i in range(60)])
        self._frames = round(seconds * 30)

    def read(self) -> Frame | None:
        return None if self._index == self._frames else super().read()


async def measure(source: Source, *, full: bool) -> np.ndarray:
    added_s: list[float] = []

    def took(result: Result) -> None:
        t = result.timing
        added_s.append(t.latency_s - (t.inferred_at - t.taken_at))

    stream = Stream(
        name="live",
        source=source,
        sinks=[CallSink(took, wants_picture=full)],
        tracker=Tracker() if full else None,
        smoother=OneEuro() if full else None,
    )
    async with Pipeline([stream], Nothing(), policy=LatencyBatch(0.1)) as pipeline:
        await pipeline.run()
    return np.array(added_s[15:]) * 1000  # without the first half second


def main() -> int:
    parser = parser_of(__doc__)
    parser.add_argument("--seconds", type=float, default=20)
    arguments = parser.parse_args()
    report: dict[str, dict] = {"machine": machine()}
    seconds = arguments.seconds
    for name, source, full in (
        ("results only", SyntheticSource(rate=30, seconds=seconds, live=True), False),
        ("ids, smoothing, drawing; figures drawn beforehand", Paced(Beforehand(seconds)), True),
        ("ids, smoothing, drawing; while the next figure is drawn", SyntheticSource(rate=30, seconds=seconds), True),
    ):
        overhead = asyncio.run(measure(source, full=full))
        p50, p99 = np.percentile(overhead, [50, 99])
        print(f"{name:<56} p50 {p50:5.2f} ms, p99 {p99:5.2f} ms ({len(overhead)} frames)")
        report[name] = {"p50_ms": round(float(p50), 3), "p99_ms": round(float(p99), 3)}
    p50_ms, p99_ms = report["results only"].values()
    write_to(arguments.json, report)
    return 0 if p50_ms <= 5 and p99_ms <= 15 else 1


if __name__ == "__main__":
    sys.exit(main())
