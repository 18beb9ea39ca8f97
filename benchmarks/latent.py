"""Live streams of video that has to be decoded: pictures converted when a batch takes them, or all of them.

    python benchmarks/latent.py [--streams 3,6,10] [--seconds 8] [--rounds 3] [--json latent.json]

H.264 of 1920×1080 at 30 fps, drawn figures encoded at first, is played live so many times through streampose-nano with
a budget of 200 ms, sessions as for the most frames. Where every core has an engine of one thread, the pipeline
leaves pictures as the decoder gave them until a batch takes them (`frame.Latent`); beside it the same with engines that
do not say that they are of one thread, so that the sources convert all. The two take turns; medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
from machine import machine

from streampose.batching import LatencyBatch
from streampose.cores import share_cores
from streampose.figures import Figures, jain
from streampose.frame import Image
from streampose.inference.engine import EngineOptions, available_cores
from streampose.inference.estimator import Estimator
from streampose.inference.loading import ModelChoice, load_estimators
from streampose.loop import run_async
from streampose.measure import Measurement
from streampose.pose import Poses
from streampose.sources import FileSource, SyntheticSource

BUDGET_S = 0.2
RATE = 30


class Silent:
    """An estimator that does not say on how many threads it computes."""

    def __init__(self, estimator: Estimator) -> None:
        self._estimator = estimator
        self.skeleton = estimator.skeleton

    def __call__(self, images: Sequence[Image]) -> list[Poses]:
        return self._estimator(images)

    def close(self) -> None:
        self._estimator.close()


def encode(path: Path, seconds: float) -> None:
    source = SyntheticSource(width_px=1920, height_px=1080, people=2, live=False)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = 1920, 1080, "yuv420p"
        for i in range(round(seconds * RATE)):
            picture = av.VideoFrame.from_ndarray(source.render(i), format="bgr24")
            picture.pts, picture.time_base = i, Fraction(1, RATE)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


def play(path: Path, streams: int, seconds: float, *, latent: bool) -> Figures:
    # As where several sessions are best: one of one thread for each core.
    options = EngineOptions(device="cpu", sessions=available_cores(), threads=1)
    estimators: list[Estimator] = list(load_estimators(ModelChoice(), options, throughput=True))
    if not latent:
        estimators = [Silent(estimator) for estimator in estimators]
    sources = {f"s{i}": FileSource(path) for i in range(streams)}
    measurement = Measurement(sources, estimators, LatencyBatch(BUDGET_S), live=True, warm_up_s=1.5)
    run_async(measurement.run(seconds=seconds))
    return measurement.figures()


def row(figures: list[Figures]) -> dict[str, float]:
    return {
        "fps": round(statistics.median(f.fps for f in figures), 1),
        "fps_worst": round(min(f.fps for f in figures), 1),
        "p50_ms": round(statistics.median(f.latency_s["p50"] for f in figures) * 1000, 1),
        "p99_ms": round(statistics.median(f.latency_s["p99"] for f in figures) * 1000, 1),
        "jain": round(min(jain(list(f.delivered.values())) for f in figures), 3),
        "cores_used": round(statistics.median(f.cores_used or 0.0 for f in figures), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=lambda text: [int(n) for n in text.split(",")], default=[3, 6, 10])
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    share_cores()
    report: dict[str, object] = {"machine": machine()}
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        encode(clip, arguments.seconds + 4)
        for streams in arguments.streams:
            played: dict[bool, list[Figures]] = {True: [], False: []}
            for i in range(arguments.rounds):
                for latent in (True, False) if i % 2 else (False, True):
                    played[latent].append(play(clip, streams, arguments.seconds, latent=latent))
                print(f"{streams} streams: round {i + 1} of {arguments.rounds} done", file=sys.stderr, flush=True)
            rows = {"when taken": row(played[True]), "all": row(played[False])}
            ratio = rows["when taken"]["fps"] / rows["all"]["fps"]
            print(f"{streams} streams of 1080p at 30 fps ({streams * RATE} frames a second come): {ratio:.2f} ×")
            for way, values in rows.items():
                print(f"  converted {way:<11} " + ", ".join(f"{key} {value:g}" for key, value in values.items()))
            report[f"{streams} streams"] = {"ratio": round(ratio, 3), **rows}
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
