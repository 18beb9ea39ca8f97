"""The engine's options against each other: where pictures are prepared, and 16 bits.

    python benchmarks/engine.py [--assets DIR] [--device cuda] [--models …] [--rounds 5] [--json FILE]

For each pair of models, side by side on the shared photos:

- prepared and decoded in the graph against OpenCV and NumPy: frames a second, one and eight at a time, medians of
  interleaved rounds, and how far apart the key points are that both see (score above 0.3);
- COCO key-point AP end to end: as it is, in the graph, with 16-bit models, and with both. 16 bits are for GPUs; a CPU
  computes them in 32 and only rounds, so its AP says what the rounding costs and its speed says nothing.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from accuracy import LOW, Photos, end_to_end
from command import parser_of, write_to
from machine import machine

from streampose.cores import share_cores
from streampose.frame import Image
from streampose.inference.boxes import Limits
from streampose.inference.engine import EngineOptions
from streampose.inference.loading import ModelChoice, PoseEstimator, load_estimator

SURE = 0.3


def choices(models: Path) -> dict[str, ModelChoice]:
    return {
        "streampose-nano (8-bit)": ModelChoice(),
        "rtmdet@320 + pp_tinypose_256x192": ModelChoice(
            detector=models / "rtmdet_nano_person.onnx", pose=models / "pp_tinypose_256x192.onnx"
        ),
        "yolox + pp_tinypose_128x96": ModelChoice(
            detector=models / "yolox_nano_416.onnx", pose=models / "pp_tinypose_128x96.onnx"
        ),
        "yolov8n-pose@640": ModelChoice(model=models / "yolov8n-pose_640_from_int8.onnx"),
    }


def fps(ways: Sequence[PoseEstimator], photos: Sequence[Image], batch: int, rounds: int) -> list[float]:
    """Of each way, medians; every round has all of them in turn."""
    taken: list[list[float]] = [[] for _ in ways]
    for number in range(rounds + 1):
        for way, seconds in zip(ways, taken, strict=True):
            begin = time.perf_counter()
            for i in range(0, 16, batch):
                way(photos[i : i + batch])
            if number:  # the first is for warming up
                seconds.append(time.perf_counter() - begin)
    return [16 / statistics.median(seconds) for seconds in taken]


def apart(plain: PoseEstimator, fused: PoseEstimator, photos: Sequence[Image]) -> dict[str, float]:
    """Of the key points that both see, in pixels of the photo; and photos in which they see different people."""
    distances: list[float] = []
    different = 0
    for photo in photos:
        ((a,), (b,)) = plain([photo]), fused([photo])
        if len(a) != len(b):
            different += 1
        elif len(a):
            nearest = np.abs(a.boxes[:, None] - b.boxes[None]).max(axis=2).argmin(axis=1)
            sure = (a.scores > SURE) & (b.scores[nearest] > SURE)
            distances += np.abs(a.points - b.points[nearest]).max(axis=2)[sure].tolist()
    return {
        "points": len(distances),
        "p50_px": round(float(np.median(distances)), 4),
        "p99_px": round(float(np.quantile(distances, 0.99)), 3),
        "most_px": round(max(distances), 3),
        "within_half_px": round(float(np.mean(np.array(distances) <= 0.5)), 4),
        "photos_with_other_people": different,
    }


def main() -> int:
    parser = parser_of(__doc__, assets="models/ and photos/")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--models", default="", help="only those whose names have this in them")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    share_cores()  # as the commands do
    photos = Photos(arguments.assets / "photos" / "coco_mini_val")
    images = [image for _, image in photos]
    report: dict[str, Any] = {}
    for name, choice in choices(arguments.assets / "models").items():
        if arguments.models not in name:
            continue
        options = EngineOptions(device=arguments.device, threads=1, in_graph=False, rect=False)
        ways = [load_estimator(choice, replace(options, in_graph=in_graph)) for in_graph in (False, True)]
        row: dict[str, Any] = {"apart": apart(*ways, images)}
        for batch in (1, 8):
            plain, fused = fps(ways, images, batch, arguments.rounds)
            row[f"fps_batch_{batch}"] = {"opencv": round(plain, 2), "in_graph": round(fused, 2)}
        for way in ways:
            way.close()
        low = replace(choice, limits=replace(LOW, max_people=20) if choice.model is None else Limits(min_score=0.02))
        row["ap"] = {}
        for in_graph in (False, True):
            for half in (False, True):
                estimator = load_estimator(low, replace(options, in_graph=in_graph, half=half))
                way = f"{'in graph' if in_graph else 'opencv'}, {16 if half else 32} bits"
                row["ap"][way] = round(end_to_end(photos, estimator), 4)
                estimator.close()
        report[name] = row
        print(name)
        print("  apart, px: p50 {p50_px}, p99 {p99_px}, most {most_px}; {within_half_px:.1%} of {points} within 0.5;"
              " other people in {photos_with_other_people} photos".format(**row["apart"]))  # fmt: skip
        for batch in (1, 8):
            f = row[f"fps_batch_{batch}"]
            print(f"  batch {batch}: OpenCV {f['opencv']:.1f} fps, in the graph {f['in_graph']:.1f}:"
                  f" {f['in_graph'] / f['opencv']:.2f} ×")  # fmt: skip
        print("  AP: " + "; ".join(f"{way} {ap:.3f}" for way, ap in row["ap"].items()), flush=True)
    write_to(arguments.json, {"machine": machine(), "device": arguments.device, "models": report})
    return 0


if __name__ == "__main__":
    sys.exit(main())
