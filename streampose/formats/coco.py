"""COCO results JSON, as pycocotools reads it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from streampose.clip import Moment, of_one_stream
from streampose.formats.validity import shares_points
from streampose.pose import Poses, Skeleton
from streampose.skeletons import COCO_17, COCO_WHOLEBODY_133, FACE, FEET, LEFT_HAND, RIGHT_HAND

__all__ = ["check_coco", "entries_of", "write_coco"]

# COCO-WholeBody's results: beside the body's 17, each part under a key of its own.
_PARTS = {"foot_kpts": FEET, "face_kpts": FACE, "lefthand_kpts": LEFT_HAND, "righthand_kpts": RIGHT_HAND}


def check_coco(skeleton: Skeleton) -> None:
    """See whether people of a skeleton can be written.

    Raises:
        FormatUnreadable: it has none of COCO's points.
    """
    shares_points(skeleton, COCO_17, "COCO's")


def entries_of(poses: Poses, image_id: int) -> list[dict[str, Any]]:
    """One entry a person; skeletons other than COCO's are mapped to its 17 points.

    Raises:
        FormatUnreadable: a skeleton has none of them.
    """
    check_coco(poses.skeleton)
    body = poses.to(COCO_17)
    bodies = _triples(body.points, body.scores)
    parts: dict[str, list[list[float]]] = {}
    if poses.skeleton == COCO_WHOLEBODY_133:
        parts = {key: _triples(poses.points[:, part], poses.scores[:, part]) for key, part in _PARTS.items()}
    return [
        {
            "image_id": image_id,
            "category_id": 1,
            "keypoints": bodies[row],
            **{key: values[row] for key, values in parts.items()},
            "score": round(float(poses.box_scores[row]) * float(body.scores[row].mean()), 6),
            "bbox": [round(x1, 2), round(y1, 2), round(x2 - x1, 2), round(y2 - y1, 2)],
        }
        for row, (x1, y1, x2, y2) in enumerate(poses.boxes.tolist())
    ]


def _triples(points: Any, scores: Any) -> list[list[float]]:
    rows = np.dstack([points, scores]).astype(float).round(4)
    flat: list[list[float]] = rows.reshape(len(rows), 3 * rows.shape[1]).tolist()
    return flat


def write_coco(path: Path, moments: Iterable[Moment]) -> None:
    """One list; `image_id` is the number of the frame.

    Raises:
        FormatUnreadable: a skeleton has none of COCO's points, or the moments are of several streams.
    """
    with path.open("w", encoding="utf-8") as file:
        file.write("[")
        before = "\n"
        for moment in of_one_stream(moments):
            for entry in entries_of(moment.poses, moment.index):
                file.write(before + json.dumps(entry, separators=(",", ":"), allow_nan=False))
                before = ",\n"
        file.write("\n]\n")
