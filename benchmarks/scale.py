"""How many cameras one process takes in, and what each of them costs.

    python benchmarks/scale.py [--most 96] [--assets shared/assets] [--json …] [--plot docs/images/scale.png]

H.264, 640×360, 10 fps, of real footage (of a drawn picture without `--assets`), encoded once and sent by one GStreamer
server to every client by itself. Streams join the running pipeline step by step; the model takes no time, so what is
measured is connecting, reading, decoding, scheduling and handing on. The server runs on the same machine, so the
processor time of this process is told apart from everybody's.

A number of streams holds while at least 99 % of the frames are delivered, the median age in the last third of a step is
not above that of the first by more than half a frame interval, and the 99th percentile is below one frame interval. A
step that does not hold is measured once more.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from command import parser_of, write_to
from live import Nothing
from machine import conditions, machine

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from servers.clip import footage, moving, write_clip
from servers.rtsp import RtspServer, has_gstreamer
from trial import quantile

from streampose import CallSink, LatencyBatch, Pipeline, Result, Stream
from streampose.sources import NetworkSource, Reconnecting

RATE, SIZE = 10, (640, 360)
SETTLE_S = 3.0
ASSETS = Path(os.environ["STREAMPOSE_ASSETS"]) if "STREAMPOSE_ASSETS" in os.environ else None
STEPS = [1, 2, 4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 128]


Ages = list[tuple[float, float]]
"""When each frame came, and how old it was."""


async def step(pipeline: Pipeline, ages: Ages, server: psutil.Process, streams: int, seconds: float) -> dict[str, Any]:
    """Figures of so many streams that are running."""
    me = psutil.Process()

    def now() -> tuple[float, float, float, float]:
        mine, theirs, all_of_it = me.cpu_times(), server.cpu_times(), psutil.cpu_times()
        busy = sum(all_of_it) - all_of_it.idle - getattr(all_of_it, "iowait", 0.0)
        return time.monotonic(), mine.user + mine.system, theirs.user + theirs.system, busy

    ages.clear()
    before = now()
    await asyncio.sleep(seconds)
    after = now()
    passed_s, mine_s, server_s, busy_s = (b - a for a, b in zip(before, after, strict=True))
    frames = list(ages)
    third = passed_s / 3
    first = [age for at, age in frames if at < before[0] + third]
    last = [age for at, age in frames if at >= after[0] - third]
    everything = [age for _, age in frames]
    figures = pipeline.snapshot().streams.values()
    return {
        "streams": streams,
        "fps per stream": round(len(frames) / passed_s / streams, 3),
        "cores, streampose": round(mine_s / passed_s, 4),
        "cores, server": round(server_s / passed_s, 4),
        "cores, everybody on the machine": round(busy_s / passed_s, 3),
        "age ms, p50": round(1000 * quantile(everything, 0.5), 2),
        "age ms, p99": round(1000 * quantile(everything, 0.99), 2),
        "age ms, p50 of the first third, and of the last": [
            round(1000 * quantile(part, 0.5), 2) for part in (first, last)
        ],
        "dropped so far": sum(f.dropped_total for f in figures),
        "rss MB": round(me.memory_info().rss / 1e6, 1),
        "threads": me.num_threads(),
    }


def holds(row: dict[str, Any]) -> bool:
    first, last = row["age ms, p50 of the first third, and of the last"]
    interval_ms = 1000 / RATE
    return (
        row["fps per stream"] >= 0.99 * RATE and last <= first + interval_ms / 2 and row["age ms, p99"] <= interval_ms
    )


async def scale(most: int, seconds: float, clip: Path) -> list[dict[str, Any]]:
    server = RtspServer("--clip", str(clip), "--rate", str(RATE))
    rows: list[dict[str, Any]] = []
    try:
        process, ages, there = psutil.Process(server.process.pid), Ages(), 0

        def came(result: Result) -> None:
            ages.append((result.timing.delivered_at, result.timing.latency_s))

        async with Pipeline([], Nothing(), policy=LatencyBatch(), keep_running=True) as pipeline:
            running = asyncio.create_task(pipeline.run())
            for streams in (n for n in STEPS if n <= most):
                for i in range(there, streams):
                    source = Reconnecting(NetworkSource(server.url()))
                    await pipeline.add(Stream(name=f"cam{i}", source=source, sinks=[CallSink(came)]))
                    await asyncio.sleep(0.05)
                there = streams
                await asyncio.sleep(SETTLE_S)
                row = await step(pipeline, ages, process, streams, seconds)
                if not holds(row):  # perhaps somebody else needed the machine
                    row = await step(pipeline, ages, process, streams, seconds)
                row["holds"] = holds(row)
                rows.append(row)
                print(
                    f"{streams:>4} streams: {row['fps per stream']:6.2f} fps each, age p50 {row['age ms, p50']:6.1f}, "
                    f"p99 {row['age ms, p99']:7.1f} ms, {row['cores, streampose']:5.2f} cores "
                    f"(server {row['cores, server']:.2f}, machine {row['cores, everybody on the machine']:.2f}), "
                    f"{row['rss MB']:.0f} MB{'' if row['holds'] else '  does not hold'}",
                    flush=True,
                )
                if len(rows) > 1 and not rows[-1]["holds"] and not rows[-2]["holds"]:
                    break
            pipeline.stop()
            await running
    finally:
        server.kill()
    return rows


def fit(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Cores over streams, as a line, where it holds."""
    held = [row for row in rows if row["holds"]]
    n = np.array([row["streams"] for row in held], float)
    cores = np.array([row["cores, streampose"] for row in held])
    slope, start = np.polyfit(n, cores, 1)
    left = cores - (start + slope * n)
    return {
        "cores per stream": round(float(slope), 5),
        "cores at none": round(float(start), 5),
        "r²": round(1 - float(left.var() / cores.var()), 5),
        "ms per frame": round(1000 * float(slope) / RATE, 3),
        "most streams that held": int(n.max()),
    }


def draw(rows: list[dict[str, Any]], line: dict[str, float], path: Path) -> None:
    """Cores (above) and age (below) over the number of streams."""
    from plots import plt, save

    n = [row["streams"] for row in rows]
    figure, (above, below) = plt.subplots(2, 1, figsize=(7, 6.4), sharex=True, layout="constrained")
    most = line["most streams that held"]
    above.plot(n, [row["cores, streampose"] for row in rows], "o", color="#d62839", label="streampose")
    above.plot(
        [0, most], [line["cores at none"], line["cores at none"] + line["cores per stream"] * most], color="#d62839",
        label=f"{1000 * line['cores per stream']:.1f} thousandths of a core per stream (r² = {line['r²']:.3f})",
    )  # fmt: skip
    above.plot(n, [row["cores, server"] for row in rows], "s", ms=4, color="#9aa3ad", label="the camera server")
    above.set(ylabel="cores", ylim=(0, None), title=f"H.264 {SIZE[0]}×{SIZE[1]}, {RATE} fps: decode, schedule, deliver")
    above.legend(frameon=False)
    below.plot(n, [row["age ms, p99"] for row in rows], "D-", color="#e9a23b", label="99th percentile")
    below.plot(n, [row["age ms, p50"] for row in rows], "o-", color="#d62839", label="median")
    below.axhline(1000 / RATE, color="#333", lw=1, ls=(0, (4, 3)))
    below.annotate("one frame interval", (n[0], 1000 / RATE), xytext=(0, 4), textcoords="offset points", fontsize=9)
    below.set(xlabel="streams", ylabel="age at delivery, ms", ylim=(0, 1500 / RATE))
    below.legend(frameon=False)
    for ax in (above, below):
        ax.axvspan(most, max(*n, most), color="#eef0f3", lw=0)
        ax.grid(color="#e3e6ea", lw=0.8)
        ax.spines[["top", "right"]].set_visible(False)
    save(figure, path)


def main() -> int:
    parser = parser_of(__doc__)
    parser.add_argument("--most", type=int, default=96)
    parser.add_argument("--seconds", type=float, default=10, help="of each step")
    parser.add_argument("--assets", type=Path, default=ASSETS)
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    if not has_gstreamer():
        print("GStreamer's RTSP server is absent (gir1.2-gst-rtsp-server-1.0)")
        return 2
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip"
        film = arguments.assets and arguments.assets / "videos" / "pose2sim_single_cam03.mp4"
        write_clip(clip, footage(film) if film else moving(100, *SIZE), rate=RATE, gop=2 * RATE, size=SIZE)
        rows = asyncio.run(scale(arguments.most, arguments.seconds, clip))
    line = fit(rows)
    print(line)
    here = machine() | conditions()
    report = {"machine": here, "film": film.name if film else "drawn", "line": line, "steps": rows}
    write_to(arguments.json, report)
    if arguments.plot:
        draw(rows, line, arguments.plot)
    return 0 if line["r²"] > 0.98 else 1


if __name__ == "__main__":
    sys.exit(main())
