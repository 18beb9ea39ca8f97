"""Rectangular inputs: what they save, and what they cost of the boxes found.

    python benchmarks/rect.py [--assets DIR] [--rounds 60] [--json rect.json]

A detector whose graph leaves its size open has its whole input, or what the picture needs of it (`EngineOptions.rect`).
Times are of whole calls on one thread (two pictures of one drawn person in, poses out), the ways taking turns; AP is of
person boxes on the shared photos, most of them 4:3 (`accuracy.py`).
"""

from __future__ import annotations

import statistics
import time

from accuracy import LOW, Photos, boxes_only, detector
from command import parser_of, write_to
from machine import machine

from streampose.cores import share_cores
from streampose.inference.engine import EngineOptions
from streampose.inference.loading import ModelChoice, load_estimator
from streampose.inference.zoo import built_in
from streampose.sources import SyntheticSource

WAYS = {"whole": False, "rect": True}
SHAPES = {"16:9": (1280, 720), "4:3": (640, 480)}


def times_ms(choice: ModelChoice, size_px: tuple[int, int], rounds: int) -> dict[str, float]:
    width, height = size_px
    source = SyntheticSource(width_px=width, height_px=height, live=False)
    pictures = [source.render(30), source.render(60)]
    ways = {
        way: load_estimator(choice, EngineOptions(device="cpu", threads=1, rect=rect)) for way, rect in WAYS.items()
    }
    times: dict[str, list[float]] = {way: [] for way in ways}
    for i in range(rounds + 3):
        for way, estimator in ways.items():
            begin = time.perf_counter()
            estimator(pictures)
            if i >= 3:
                times[way].append((time.perf_counter() - begin) * 1000 / len(pictures))
    for estimator in ways.values():
        estimator.close()
    return {way: round(statistics.median(values), 2) for way, values in times.items()}


def main() -> None:
    parser = parser_of(__doc__, assets="models/ and photos/")
    parser.add_argument("--rounds", type=int, default=60)
    arguments = parser.parse_args()
    share_cores()
    photos = Photos(arguments.assets / "photos" / "coco_mini_val")
    rtmdet, pose = (arguments.assets / "models" / f"{n}.onnx" for n in ("rtmdet_nano_person", "pp_tinypose_256x192"))
    figures: dict[str, object] = {"machine": machine()}
    for name, choice in {
        "streampose-nano": ModelChoice(),
        "rtmdet@320 + pp_tinypose_256x192": ModelChoice(detector=rtmdet, pose=pose),
        "rtmdet@640 + pp_tinypose_256x192": ModelChoice(detector=rtmdet, pose=pose, detector_size_px=(640, 640)),
    }.items():
        size = None if choice.detector_size_px is None else choice.detector_size_px[0]
        row: dict[str, object] = {}
        for shape, size_px in SHAPES.items():
            row[f"ms, {shape}"] = ms = times_ms(choice, size_px, arguments.rounds)
            print(f"{name:<34} {shape:<5} {ms['whole']:6.2f} → {ms['rect']:6.2f} ms: {ms['whole'] / ms['rect']:.2f} ×")
        found = {
            way: boxes_only(photos, detector(choice.detector or built_in("detector"), size, LOW, rect=rect))
            for way, rect in WAYS.items()
        }
        row["box AP"] = {way: round(value, 4) for way, value in found.items()}
        print(f"{name:<34} box AP {found['whole']:.3f} → {found['rect']:.3f}", flush=True)
        figures[name] = row
    write_to(arguments.json, figures)


if __name__ == "__main__":
    main()
