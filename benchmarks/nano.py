"""streampose-nano: how fast, how large, how right on drawn figures, beside a pair of published models.

    python benchmarks/nano.py [--assets DIR]

Times are of whole calls (picture in, poses out) for one person in a 1280×720 picture on two threads, the pairs taking
turns. PCK@0.1 of the person's height is over drawn figures of seeds that training never saw.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import cv2
import numpy as np
from command import parser_of, write_to
from machine import machine

from streampose.evaluation import Pck, pck
from streampose.inference.engine import EngineOptions
from streampose.inference.loading import ModelChoice, load_estimator
from streampose.inference.zoo import built_in
from streampose.render import Renderer
from streampose.sources import SyntheticSource

SEEDS = range(100, 120)


def main() -> None:
    parser = parser_of(__doc__, assets="models/")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--pictures", type=Path, help="draw usual frames, and below them the worst, into this file")
    arguments = parser.parse_args()
    models = arguments.assets / "models"
    other = ModelChoice(
        detector=models / "rtmdet_nano_person.onnx",
        pose=models / "pp_tinypose_256x192.onnx",
        detector_size_px=(320, 320),
    )
    pairs = {
        name: load_estimator(choice, EngineOptions(device="cpu", threads=2))
        for name, choice in {"streampose-nano": ModelChoice(), "rtmdet@320 + pp_tinypose_256x192": other}.items()
    }
    figures: dict[str, object] = {"machine": machine()}
    picture = SyntheticSource(live=False).render(30)
    for estimator in pairs.values():
        assert len(estimator([picture])[0]) == 1
    times: dict[str, list[float]] = {name: [] for name in pairs}
    for _ in range(arguments.rounds):
        for name, estimator in pairs.items():
            start = time.perf_counter()
            estimator([picture])
            times[name].append(1000 * (time.perf_counter() - start))
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, median in medians.items():
        score = Pck()
        frames: list[tuple[float, np.ndarray]] = []
        for seed in SEEDS:
            source = SyntheticSource(people=1 + seed % 3, seed=seed, live=False)
            for index in range(0, 300, 30):
                image = source.render(index)
                (found,) = pairs[name]([image])
                one = pck(source.truth(index), found)
                score += one
                if arguments.pictures and name == "streampose-nano":
                    frames.append((one.share or 0.0, Renderer()(image, found)))
        assert score.share is not None
        print(f"{name:<34} {median:6.2f} ms a picture of one person, PCK@0.1 {score.share:.3f}, "
              f"{score.found} found of {score.people}")  # fmt: skip
        figures[name] = {"ms": round(median, 2), "pck": round(score.share, 4), "found": score.found, "of": score.people}
        if frames:
            frames.sort(key=lambda frame: frame[0])
            chosen = frames[len(frames) // 2 :][:3] + frames[:3]
            tiles = [cv2.resize(picture, (480, 270), interpolation=cv2.INTER_AREA) for _, picture in chosen]
            sheet = np.vstack([np.hstack(tiles[:3]), np.hstack(tiles[3:])])
            if not cv2.imwrite(str(arguments.pictures), sheet):
                raise SystemExit(f"{arguments.pictures} cannot be written")
    ratio = medians["rtmdet@320 + pp_tinypose_256x192"] / medians["streampose-nano"]
    sizes = {kind: built_in(kind).stat().st_size for kind in ("detector", "keypoints")}
    print(f"streampose-nano is {ratio:.2f} × as fast; its files: {sizes}")
    figures |= {"ratio": round(ratio, 2), "bytes": sizes}
    write_to(arguments.json, figures)


if __name__ == "__main__":
    main()
