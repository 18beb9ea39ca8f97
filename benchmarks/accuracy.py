"""COCO key-point and person-box AP on the shared photos, through streampose's own path.

    python benchmarks/accuracy.py [--assets DIR]

Prints ours beside the reference figures of the assets' README (from other code on the same files) and fails if one is
more than 0.01 off. They come from conventions of their own, found by trying which one gives them all: see `Reference`
and `REFERENCE_OVERLAP`. The last column has the same models as streampose uses them by default.

streampose-nano has no reference; its rows are the last.

In both, an instance scores as its box times the mean of its key points; people count from a box score of 0.02 on, so
that the whole curve is seen, and the best 20 of a photo (COCO's limit for key points).
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from command import parser_of, write_to
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from streampose.inference.boxes import Limits
from streampose.inference.card import Card, Refine
from streampose.inference.engine import Engine, EngineOptions
from streampose.inference.family import read_card
from streampose.inference.frame_model import FrameModel, OneStage
from streampose.inference.heatmap import decode_heatmaps
from streampose.inference.preprocess import crop_batch, crop_frames, from_crop, to_blob
from streampose.inference.top_down import KeypointModel, TopDown
from streampose.inference.zoo import built_in

# The reference leaves RTMDet to its own suppression, and has 0.45 where the graph has none.
REFERENCE_OVERLAP = {"rtmdet": 1.0}
LOW = Limits(min_score=0.02, max_people=100)


class Reference(KeypointModel):
    """Key points as the reference figures have them: the three with true boxes come out to the last digit.

    Boxes are grown by 1.25 and cropped from pixel centre to pixel centre; a heatmap's cell is four input pixels, and
    its peak moves by a quarter.
    """

    def __init__(self, engine: Engine, card: Card) -> None:
        super().__init__(engine, replace(card, padding=1.25, udp=True, refine=Refine.QUARTER))

    def __call__(self, images, boxes, owners=None, pixels=None):
        if self.card.family != "heatmap":
            return super().__call__(images, boxes, owners, pixels)
        frames = crop_frames(boxes, self.card)
        pictures = images if owners is None else [images[owner] for owner in owners]
        blob = to_blob(crop_batch(pictures, list(frames), self.card), self.card, self.engine.input_dtype)
        points, scores = decode_heatmaps(self.engine.run(blob)[0], self.card.refine)
        return from_crop(points * 4, frames, self.card), scores


class Photos:
    """The annotated photos, one at a time."""

    def __init__(self, folder: Path) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            self.coco = COCO(str(folder / "person_keypoints.json"))
        self._folder = folder / "images"

    def __iter__(self):
        for image_id in self.coco.getImgIds():
            image = cv2.imread(str(self._folder / self.coco.loadImgs(image_id)[0]["file_name"]))
            yield image_id, image

    def people(self, image_id: int) -> list[dict[str, Any]]:
        return self.coco.loadAnns(self.coco.getAnnIds(imgIds=image_id, catIds=1, iscrowd=False))


def average_precision(photos: Photos, results: list[dict[str, Any]], kind: str) -> float:
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(photos.coco, photos.coco.loadRes(results), kind)
        evaluation.params.catIds = [1]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0])


def instance(image_id: int, points: np.ndarray, scores: np.ndarray, box_score: float) -> dict[str, Any]:
    score = box_score * float(scores.mean())
    keypoints = np.column_stack([points, scores]).reshape(-1)
    return {"image_id": image_id, "category_id": 1, "keypoints": keypoints.tolist(), "score": score}


def detector(
    path: Path, size: int | None, limits: Limits, *, reference: bool = False, rect: bool | None = None
) -> FrameModel:
    engine = Engine(path, EngineOptions(rect=rect))
    card = read_card(engine.signature, path.name, size_px=None if size is None else (size, size))
    if reference:
        limits = replace(limits, max_overlap=REFERENCE_OVERLAP.get(card.family, 0.45))
    return FrameModel(engine, card, limits)


def keypoints(path: Path, *, reference: bool) -> KeypointModel:
    engine = Engine(path)
    return (Reference if reference else KeypointModel)(engine, read_card(engine.signature, path.name))


def with_true_boxes(photos: Photos, model: KeypointModel) -> float:
    results = []
    for image_id, image in photos:
        people = [p for p in photos.people(image_id) if p["num_keypoints"]]
        if people:
            boxes = np.array([p["bbox"] for p in people], np.float32)
            boxes[:, 2:] += boxes[:, :2]
            points, scores = model([image] * len(boxes), boxes)
            results += [instance(image_id, p, s, 1.0) for p, s in zip(points, scores, strict=True)]
    return average_precision(photos, results, "keypoints")


def end_to_end(photos: Photos, estimator: TopDown | OneStage) -> float:
    results = []
    for image_id, image in photos:
        (poses,) = estimator([image])
        results += [
            instance(image_id, p, s, float(b))
            for p, s, b in zip(poses.points, poses.scores, poses.box_scores, strict=True)
        ]
    return average_precision(photos, results, "keypoints")


def boxes_only(photos: Photos, model: FrameModel) -> float:
    results = []
    for image_id, image in photos:
        (found,) = model([image])
        for box, score in zip(found.boxes, found.scores, strict=True):
            x1, y1, x2, y2 = map(float, box)
            results.append(
                {"image_id": image_id, "category_id": 1, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": float(score)}
            )
    return average_precision(photos, results, "bbox")


def main() -> int:
    parser = parser_of(__doc__, assets="models/ and photos/")
    parser.add_argument("--nano", type=Path, help="folder with a nano of your own, to judge it in the place of ours")
    arguments = parser.parse_args()
    nano: dict[str, Path] = {
        # Absolute, so that a folder in front of it is none.
        kind: arguments.nano.absolute() / f"nano-{kind}.onnx" if arguments.nano else built_in(kind)
        for kind in ("detector", "keypoints")
    }
    models = arguments.assets / "models"
    photos = Photos(arguments.assets / "photos" / "coco_mini_val")

    reference = True

    def pose(name: str | Path) -> KeypointModel:
        return keypoints(models / name, reference=reference)

    def true_boxes(name: str | Path) -> float:
        return with_true_boxes(photos, pose(name))

    def pair(name: str | Path, size: int | None = None, second: str | Path = "pp_tinypose_256x192.onnx") -> float:
        people = detector(models / name, size, replace(LOW, max_people=20), reference=reference)
        return end_to_end(photos, TopDown(people, pose(second)))

    def one_stage(name: str) -> float:
        return end_to_end(photos, OneStage(detector(models / name, None, LOW, reference=reference)))

    def boxes(name: str | Path, size: int | None = None) -> float:
        return boxes_only(photos, detector(models / name, size, LOW, reference=reference))

    rtmdet, yolox = "rtmdet_nano_person.onnx", "yolox_nano_416.onnx"
    rows: list[tuple[str, float | None, Callable[[], float]]] = [
        ("key points, true boxes: pp_tinypose_256x192", 0.652, lambda: true_boxes("pp_tinypose_256x192.onnx")),
        ("key points, true boxes: pp_tinypose_128x96", 0.518, lambda: true_boxes("pp_tinypose_128x96.onnx")),
        ("key points, true boxes: movenet", 0.360, lambda: true_boxes("movenet_lightning_192_from_int8.onnx")),
        ("end to end: rtmdet@320 + pp_tinypose_256x192", 0.561, lambda: pair(rtmdet)),
        ("end to end: yolox + pp_tinypose_256x192", 0.563, lambda: pair(yolox)),
        ("end to end: rtmdet@640 + pp_tinypose_256x192", 0.546, lambda: pair(rtmdet, 640)),
        ("end to end: yolov8n-pose@640", 0.434, lambda: one_stage("yolov8n-pose_640_from_int8.onnx")),
        ("person boxes: rtmdet@640", 0.505, lambda: boxes(rtmdet, 640)),
        ("person boxes: rtmdet@320", 0.427, lambda: boxes(rtmdet)),
        ("person boxes: picodet", 0.412, lambda: boxes("picodet_s_320_pedestrian.onnx")),
        ("person boxes: yolox", 0.397, lambda: boxes(yolox)),
        ("key points, true boxes: streampose-nano", None, lambda: true_boxes(nano["keypoints"])),
        ("end to end: streampose-nano", None, lambda: pair(nano["detector"], second=nano["keypoints"])),
        ("person boxes: streampose-nano", None, lambda: boxes(nano["detector"])),
    ]
    print(f"{'COCO AP on the 79 photos':<48} {'reference':>9} {'ours':>6} {'difference':>11} {'our defaults':>13}")
    figures, off = {}, 0
    for name, expected, measure in rows:
        reference = True
        if expected is None:
            reference = False
            default = measure()
            figures[name] = {"defaults": round(default, 4)}
            print(f"{name:<48} {'':>9} {'':>6} {'':>11} {default:13.3f}", flush=True)
            continue
        ours = measure()
        reference = False
        default = measure()
        figures[name] = {"reference": expected, "ours": round(ours, 4), "defaults": round(default, 4)}
        off += abs(ours - expected) > 0.01
        print(f"{name:<48} {expected:9.3f} {ours:6.3f} {ours - expected:+11.3f} {default:13.3f}", flush=True)
    write_to(arguments.json, figures)
    return 1 if off else 0


if __name__ == "__main__":
    sys.exit(main())
