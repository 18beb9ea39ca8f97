"""Outputs of models that take whole pictures, to people: boxes, scores and, for one-stage models, key points.

Each decoder takes the outputs for one picture and gives what is found in input pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from streampose.errors import ConfigError
from streampose.inference.card import Card
from streampose.number import is_number, is_whole

__all__ = ["DECODERS", "MOST", "Found", "Limits", "candidates", "grid"]

MOST = 3000
"""Of a picture no more are looked at, and found, whatever the limits: suppression costs by the square (0.1 s so)."""

Floats: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What counts as a person.

    Raises:
        ConfigError: a value makes no sense.
    """

    min_score: float = 0.4
    """Of the box, from 0 to 1."""
    max_overlap: float = 0.5
    """Of two boxes that overlap by more (intersection over union), the better stays; 1 = both stay. It also holds for
    models that suppress in the graph: RTMDet's own leaves doubles (key-point AP 0.56 → 0.60 at 640 with it)."""
    max_people: int = 100
    """The best so many of a picture; 3000 at most. Of heads without NMS 3000 boxes are looked at: some 300 people."""

    def __post_init__(self) -> None:
        for name in ("min_score", "max_overlap", "max_people"):
            if not (is_number(value := getattr(self, name)) and value >= 0):
                raise ConfigError(f"{name} is at least 0, not {value}")
            if name != "max_people" and value > 1:
                raise ConfigError(f"{name} is at most 1, not {value}")
        if not is_whole(self.max_people):
            raise ConfigError(f"max_people is a whole number, not {self.max_people}")
        object.__setattr__(self, "max_people", int(self.max_people))  # of NumPy's, ONNX makes no graph


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The people found in one picture, best first."""

    boxes: Floats
    """(n, 4) x1 y1 x2 y2."""
    scores: Floats
    """(n,)."""
    points: Floats | None = None
    """(n, k, 3) x y score, from one-stage models."""

    def in_sight(self) -> Found:
        """Those of whom anything is left: a box that was clipped to the picture may have no area any more."""
        some = _have_area(self.boxes)
        if some.all():
            return self
        points = None if self.points is None else self.points[some]
        return Found(boxes=self.boxes[some], scores=self.scores[some], points=points)


Decoder = Callable[[Sequence[NDArray[Any]], Card, Limits], Found]


def candidates(limits: Limits) -> int:
    """So many of the best boxes are looked at before suppression: a model may give ten of one person."""
    return min(max(1000, 10 * limits.max_people), MOST)


def _select(boxes: Floats, scores: Floats, limits: Limits, points: Floats | None = None, *, nms: bool) -> Found:
    """Those that count: by score, by overlap (`nms`), by number."""
    # Graphs with suppression inside pad with rows of score 0, and so does the engine: nobody, whatever the limit.
    # A box that is inside out would hide others: its area is below 0.
    keep = np.flatnonzero((scores >= limits.min_score) & (scores > 0) & _have_area(boxes))
    keep = keep[np.argsort(-scores[keep], kind="stable")][: candidates(limits)]
    if nms and len(keep) > 1 and limits.max_overlap < 1:
        corner, size = boxes[keep, :2], boxes[keep, 2:] - boxes[keep, :2]
        # By score these are chosen already, and OpenCV's limit leaves out who just reaches it.
        chosen = cv2.dnn.NMSBoxes(np.hstack([corner, size]).tolist(), scores[keep].tolist(), 0.0, limits.max_overlap)
        keep = keep[np.asarray(chosen, np.intp).reshape(-1)]
    keep = keep[: limits.max_people]
    return Found(
        boxes=boxes[keep].astype(np.float32, copy=False),
        scores=np.clip(scores[keep], 0, 1).astype(np.float32, copy=False),
        points=None if points is None else points[keep].astype(np.float32, copy=False),
    )


def _have_area(boxes: Floats) -> NDArray[np.bool_]:
    return (boxes[:, 0] < boxes[:, 2]) & (boxes[:, 1] < boxes[:, 3])


def _triples(numbers: Floats) -> Floats:
    """(n, 3·k) → (n, k, 3), also for n = 0."""
    return numbers.reshape(len(numbers), numbers.shape[1] // 3, 3)


def _corners(centred: Floats) -> Floats:
    """(n, 4) centre and size → corners."""
    half = centred[:, 2:4] / 2
    return np.hstack([centred[:, :2] - half, centred[:, :2] + half])


def _mmdeploy(outputs: Sequence[NDArray[Any]], card: Card, limits: Limits) -> Found:
    """A detector as MMDeploy exports it: (n, 5) after NMS, (n,) labels."""
    dets, labels = outputs
    dets = dets[labels == card.person]
    return _select(dets[:, :4], dets[:, 4], limits, nms=True)


def _rtmo(outputs: Sequence[NDArray[Any]], card: Card, limits: Limits) -> Found:
    """RTMO as MMDeploy exports it: (n, 5) after NMS, (n, k, 3)."""
    dets, points = outputs
    return _select(dets[:, :4], dets[:, 4], limits, points, nms=True)


def _yolox(outputs: Sequence[NDArray[Any]], card: Card, limits: Limits) -> Found:
    """YOLOX: (n, 5 + classes) grid offsets, log sizes, objectness, class scores."""
    (rows,) = outputs
    cell, stride = grid(card.size_px)
    scores = rows[:, 4] * rows[:, 5 + card.person]
    keep = scores >= limits.min_score
    rows, cell, stride, scores = rows[keep], cell[keep], stride[keep], scores[keep]
    boxes = np.hstack([(rows[:, :2] + cell) * stride, np.exp(rows[:, 2:4]) * stride])
    return _select(_corners(boxes), scores, limits, nms=True)


def _yolox_decoded(outputs: Sequence[NDArray[Any]], card: Card, limits: Limits) -> Found:
    """YOLOX with `decode_in_inference`: (n, 5 + classes) centre, size, objectness, class scores."""
    (rows,) = outputs
    return _select(_corners(rows[:, :4]), rows[:, 4] * rows[:, 5 + card.person], limits, nms=True)


@lru_cache
def grid(size_px: tuple[int, int]) -> tuple[Floats, Floats]:
    """The cell (x, y) and the stride of each row, for strides 8, 16, 32."""
    cells, strides = [], []
    for stride in (8, 16, 32):
        width, height = size_px[0] // stride, size_px[1] // stride
        y, x = np.mgrid[:height, :width]
        cells.append(np.stack([x, y], axis=2).reshape(-1, 2))
        strides.append(np.full((width * height, 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(strides).astype(np.float32)


def _picodet(outputs: Sequence[NDArray[Any]], card: Card, limits: Limits) -> Found:
    """PicoDet without its NMS: (classes, n) scores; (n, 4) corners."""
    scores, boxes = outputs
    return _select(boxes, scores[card.person], limits, nms=True)


def _yolo(outputs: Sequence[NDArray[Any]], card: Card, limits: Limits) -> Found:
    """YOLOv8 / 11 detection: (4 + classes, n) centre, size, class scores."""
    columns, person = outputs[0], 4 + card.person
    rows = columns[:, columns[person] >= limits.min_score].T
    return _select(_corners(rows[:, :4]), rows[:, person], limits, nms=True)


def _yolo_pose(outputs: Sequence[NDArray[Any]], card: Card, limits: Limits) -> Found:
    """YOLOv8 / 11 pose: (4 + classes + 3·k, n) centre, size, class scores, k × (x, y, score)."""
    columns, person, points = outputs[0], 4 + card.person, 4 + (card.classes or 1)
    rows = columns[:, columns[person] >= limits.min_score].T
    return _select(_corners(rows[:, :4]), rows[:, person], limits, _triples(rows[:, points:]), nms=True)


def _yolo_end2end(outputs: Sequence[NDArray[Any]], card: Card, limits: Limits) -> Found:
    """YOLOv10 / 26 detection, one box each in the graph: (n, 6) corners, score, class."""
    rows = outputs[0][outputs[0][:, 5] == card.person]
    return _select(rows[:, :4], rows[:, 4], limits, nms=False)


def _yolo_pose_end2end(outputs: Sequence[NDArray[Any]], card: Card, limits: Limits) -> Found:
    """YOLO26 pose, one box each in the graph: (n, 6 + 3·k) corners, score, class, k × (x, y, score)."""
    rows = outputs[0][outputs[0][:, 5] == card.person]
    return _select(rows[:, :4], rows[:, 4], limits, _triples(rows[:, 6:]), nms=False)


DECODERS: Mapping[str, Decoder] = {
    "rtmdet": _mmdeploy,
    "yolox-nms": _mmdeploy,
    "rtmo": _rtmo,
    "yolox": _yolox,
    "yolox-decoded": _yolox_decoded,
    "picodet": _picodet,
    "yolo": _yolo,
    "yolo-pose": _yolo_pose,
    "yolo-end2end": _yolo_end2end,
    "yolo-pose-end2end": _yolo_pose_end2end,
}
"""By family."""
