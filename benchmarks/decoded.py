"""Live streams of video that has to be decoded, on a CPU: what three choices of ours bring, each beside its opposite.

    python benchmarks/decoded.py [--cases 1080:6,1080:10,360:24] [--seconds 6] [--rounds 3] [--json decoded.json]

H.264 of 16:9 at 30 fps, drawn figures encoded at first, is played live so many times (`height:streams`) through
streampose-nano with a budget of 200 ms, one session of one thread for each core. The ways take turns; medians:

- *as it comes*: pictures stay as the decoder gave them until a batch takes them (`frame.Latent`), each engine stays on
  a core (`cores.stay_on_core`), and the event loop is uvloop's;
- *all converted*: by their sources, whether a batch takes them or not;
- *engines move*: wherever the system has them run;
- *asyncio's loop*.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from fractions import Fraction
from pathlib import Path
from unittest import mock

import av
from command import parser_of, write_to
from machine import machine

from streampose.batching import LatencyBatch
from streampose.cores import available_cores, share_cores
from streampose.figures import Figures, jain
from streampose.frame import Image
from streampose.inference.engine import EngineOptions
from streampose.inference.loading import ModelChoice, load_estimators
from streampose.loop import run_async
from streampose.measure import Measurement
from streampose.sources import FileSource, SyntheticSource

BUDGET_S = 0.2
RATE = 30
WAYS: dict[str, AbstractContextManager[object]] = {
    "as it comes": nullcontext(),
    "all converted": mock.patch("streampose.flow.read_latent", lambda read, _: read()),
    "engines move": mock.patch("streampose.engine_thread.stay_on_core"),
    "asyncio's loop": mock.patch(f"{__name__}.run_async", asyncio.run),
}


def encode(path: Path, pictures: Iterable[Image]) -> None:
    """H.264, at 30 fps."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"preset": "veryfast"}, pix_fmt="yuv420p")
        for i, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            if not i:
                stream.width, stream.height = frame.width, frame.height
            frame.pts, frame.time_base = i, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def play(path: Path, streams: int, seconds: float) -> Figures:
    options = EngineOptions(device="cpu", sessions=available_cores(), threads=1)
    estimators = load_estimators(ModelChoice(), options, throughput=True)
    sources = {f"s{i}": FileSource(path) for i in range(streams)}
    measurement = Measurement(sources, estimators, LatencyBatch(BUDGET_S), live=True, warm_up_s=1.5)
    run_async(measurement.run(seconds=seconds))
    return measurement.figures()


def row(figures: list[Figures], beside: list[Figures]) -> dict[str, float]:
    """Medians; `of_ours` is the median of each round's frames beside those of *as it comes*."""
    return {
        "fps": round(statistics.median(f.fps for f in figures), 1),
        "of_ours": round(statistics.median(f.fps / ours.fps for f, ours in zip(figures, beside, strict=True)), 3),
        "fps_worst": round(min(f.fps for f in figures), 1),
        "p50_ms": round(statistics.median(f.latency_s["p50"] for f in figures) * 1000, 1),
        "p99_ms": round(statistics.median(f.latency_s["p99"] for f in figures) * 1000, 1),
        "jain": round(min(jain(list(f.delivered.values())) for f in figures), 3),
        "cores_used": round(statistics.median(f.cores_used or 0.0 for f in figures), 2),
    }


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--cases", default="1080:6,1080:10,360:24", help="HEIGHT:STREAMS, …")
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    share_cores()
    report: dict[str, object] = {"machine": machine()}
    with tempfile.TemporaryDirectory() as folder:
        for case in arguments.cases.split(","):
            height, streams = map(int, case.split(":"))
            clip = Path(folder) / f"{height}.mp4"
            source = SyntheticSource(width_px=height * 16 // 9, height_px=height, people=2, live=False)
            encode(clip, map(source.render, range(round((arguments.seconds + 4) * RATE))))
            played: dict[str, list[Figures]] = {way: [] for way in WAYS}
            for i in range(arguments.rounds):
                for way in [*WAYS][i % len(WAYS) :] + [*WAYS][: i % len(WAYS)]:
                    with WAYS[way]:
                        played[way].append(play(clip, streams, arguments.seconds))
                print(f"{case}: round {i + 1} of {arguments.rounds} done", file=sys.stderr, flush=True)
            rows = {way: row(figures, played["as it comes"]) for way, figures in played.items()}
            print(f"{streams} streams of {height}p at {RATE} fps ({streams * RATE} frames a second come)")
            for way, values in rows.items():
                print(f"  {way:<14} " + ", ".join(f"{key} {value:g}" for key, value in values.items()), flush=True)
            report[f"{streams} streams of {height}p"] = rows
    write_to(arguments.json, report)


if __name__ == "__main__":
    main()
