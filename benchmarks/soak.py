"""Eight cameras with random faults, for a long time: does anything grow, get old, or get lost?

    python benchmarks/soak.py [--minutes 30] [--seed 1] [--json benchmarks/results/soak.json]

Eight streams of H.264 (320×240, 10 fps) from GStreamer servers, one each, behind proxies. Six get faults in random
order, two never do. Every second: memory, threads, files, and whether the counts add up: what the sources gave (counted
at the source, by this program) = what came out (counted at the sink) + drops by cause + what is in flight. A frame
counts as healthy from one second after its stream is back until its next fault; its age is measured from its arrival
and, where the camera tells, by the camera's clock.

Asked for: memory grows by at most 1 MB a minute after the warm-up; no healthy frame is older than 1 s; the counts add
up, always; every stream is back at the end; no thread or file is left.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from command import parser_of, write_to
from live import Nothing
from machine import conditions, machine

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from luck import Camera, bad_luck
from servers.clip import moving, write_clip
from servers.proxy import Proxy
from servers.rtsp import RtspServer, has_gstreamer
from trial import Held, quantile

from streampose import CallSink, LatencyBatch, Pipeline, Stream
from streampose.metrics import Place

RATE = 10
MOST_AGE_S, MOST_MB_PER_MINUTE = 1.0, 1.0
# Queue, credits, and the one that is being read: see docs/design.md, "Credits".
MOST_IN_FLIGHT = 12


@dataclass
class Record:
    """What is looked at every second."""

    rss: list[tuple[float, float]] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)
    files: list[int] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    async def watch(self, pipeline: Pipeline, cameras: list[Camera]) -> None:
        began = time.monotonic()
        while True:
            held = Held.now()
            self.rss.append((time.monotonic() - began, held.rss_mb))
            self.threads.append(held.threads)
            self.files.append(held.files)
            self.add_up(pipeline, cameras)
            await asyncio.sleep(1.0)

    def add_up(self, pipeline: Pipeline, cameras: list[Camera], *, at_the_end: bool = False) -> None:
        """Check the pipeline's counts against ours, taken at the source and at the sink."""
        for camera in cameras:
            given, taken = camera.source.given, camera.taken
            figures = pipeline.snapshot().streams[camera.name]
            passed_by = sum(n for (place, _), n in figures.dropped.items() if place is Place.SINK)
            # While it runs, and at the end one whose reading the stop cut off.
            on_its_way = given - figures.captured
            written = figures.delivered - passed_by - taken
            if (
                figures.captured != figures.delivered + figures.dropped_total + figures.in_flight
                or not 0 <= figures.in_flight <= (0 if at_the_end else MOST_IN_FLIGHT)
                or not 0 <= on_its_way <= (1 if at_the_end else 3)
                or not 0 <= written <= (0 if at_the_end else 3)
            ):
                self.wrong.append(f"{camera.name}: given {given}, taken {taken}, {figures}")

    def slope(self, warm_up_s: float) -> float:
        """MB per minute, by least squares, after so long."""
        at, mb = np.array([(at, mb) for at, mb in self.rss if at >= warm_up_s]).T
        return float(np.polyfit(at / 60, mb, 1)[0])


async def soak(minutes: float, seed: int, folder: Path, most_age_s: float) -> dict[str, Any]:
    clip = folder / "clip"
    write_clip(clip, moving(100, 320, 240), rate=RATE, gop=RATE, size=(320, 240))
    with ExitStack() as stack:
        cameras = []
        for i in range(8):
            server = RtspServer("--clip", str(clip), "--rate", str(RATE))
            stack.callback(server.kill)
            relay = Proxy(server.port)
            stack.callback(relay.close)
            transport = "udp" if i in (0, 1, 7) else "tcp"
            cameras.append(Camera(f"cam{i}", server, relay, faulty=i < 6, transport=transport))
        before = Held.now()
        row = await run(cameras, minutes, random.Random(seed), most_age_s)
        row["left"] = await before.left()
    if row["left"]["threads"] > 0:
        row["not as asked for"].append("threads are left")
    return row


async def run(cameras: list[Camera], minutes: float, dice: random.Random, most_age_s: float) -> dict[str, Any]:
    record, made = Record(), Counter[str]()
    streams = [Stream(name=camera.name, source=camera.source, sinks=[CallSink(camera.took)]) for camera in cameras]
    # Little is asked of it, so that nothing is dropped for being late: what waits is seen as age.
    async with Pipeline(streams, Nothing(), policy=LatencyBatch(0.5)) as pipeline:
        running = asyncio.create_task(pipeline.run())
        until = time.monotonic() + 60 * minutes
        await asyncio.gather(*(camera.flows(None) for camera in cameras))
        watching = asyncio.create_task(record.watch(pipeline, cameras))
        stuck = await asyncio.gather(
            *(bad_luck(camera, dice, until, made) for camera in cameras if camera.faulty), return_exceptions=True
        )
        await asyncio.sleep(max(0.0, until - time.monotonic()))
        watching.cancel()
        links = {camera.name: camera.source.link.state.value for camera in cameras}
        pipeline.stop()
        await running
        record.add_up(pipeline, cameras, at_the_end=True)
        figures = pipeline.snapshot().streams
    warm_up_s = min(180.0, 20 * minutes)
    age, back = [a for c in cameras for a in c.age_s], [b for c in cameras for b in c.back_s]
    by_camera = [a for c in cameras for a in c.by_camera_s]
    lost_by = sum((c.source.link.lost for c in cameras), Counter[str]())
    drops = sum((Counter({f"{p.value}, {w.value}": n for (p, w), n in f.dropped.items()}) for f in figures.values()),
                Counter[str]())  # fmt: skip
    row: dict[str, Any] = {
        "minutes": minutes,
        "faults": dict(made),
        "lost": dict(lost_by),
        "back s": [round(quantile(back, q), 2) for q in (0.5, 1.0)],
        "frames": {
            "given": sum(camera.source.given for camera in cameras),
            "captured": sum(f.captured for f in figures.values()),
            "delivered": sum(f.delivered for f in figures.values()),
            "taken by the sinks": sum(camera.taken for camera in cameras),
            "dropped": dict(drops),
            "healthy": len(age),
        },
        "age s, healthy: p50, p99, most": [round(quantile(age, q), 4) for q in (0.5, 0.99, 1.0)],
        "age s by the camera's clock: p50, p99, most": [round(quantile(by_camera, q), 4) for q in (0.5, 0.99, 1.0)],
        "rss MB: first, after warm-up, last, most": [
            record.rss[0][1],
            next(mb for at, mb in record.rss if at >= warm_up_s),
            record.rss[-1][1],
            max(mb for _, mb in record.rss),
        ],
        "rss MB per minute": round(record.slope(warm_up_s), 3),
        "threads: least, most": [min(record.threads), max(record.threads)],
        "files: least, most": [min(record.files), max(record.files)],
        "looked at the counts": len(record.rss) + 1,
    }
    wrong = [str(error) for error in stuck if error is not None] + record.wrong[:5]
    wrong += [f"{name} is {state} at the end" for name, state in links.items() if state != "up"]
    if max(age) > most_age_s:
        oldest = max(cameras, key=lambda camera: camera.oldest_s)
        wrong.append(f"{oldest.name}: a healthy frame was {max(age):.2f} s old ({oldest.oldest_at})")
    if row["rss MB per minute"] > MOST_MB_PER_MINUTE and minutes >= 10:  # in a minute it has no slope
        wrong.append("memory grows")
    row["not as asked for"] = wrong
    return row


def main() -> int:
    parser = parser_of(__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--most-age-s", type=float, default=MOST_AGE_S, help="of a healthy frame")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if not has_gstreamer():
        print("GStreamer's RTSP server is absent (gir1.2-gst-rtsp-server-1.0)")
        return 2
    with tempfile.TemporaryDirectory() as folder:
        row = asyncio.run(soak(arguments.minutes, arguments.seed, Path(folder), arguments.most_age_s))
    report = {"machine": machine() | conditions(), "soak": row}
    print(json.dumps(report, indent=2, ensure_ascii=False))
    write_to(arguments.json, report)
    return 1 if row["not as asked for"] else 0


if __name__ == "__main__":
    sys.exit(main())
