"""Where the face is: a calm square for a close-up."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streampose.clip import Moment
from streampose.motion.calm import calm
from streampose.motion.gaps import fill
from streampose.pose import Poses
from streampose.skeletons import COCO_17, COCO_WHOLEBODY_133, FACE

__all__ = ["face_box", "face_squares", "held"]

Floats = NDArray[np.floating[Any]]

# The box of the 68 points ends at the brows: so much more area, and of what the height gains, three parts above.
_AREA = 1.3
_ABOVE = 0.75
_ENOUGH = 12  # of the 68
_HEAD = slice(0, 5)  # of COCO's 17: nose, eyes, ears


def face_box(poses: Poses, row: int, min_score: float) -> Floats | None:
    """(4,) x1 y1 x2 y2 pixels of one person's face; `None` = it is not seen.

    From the 68 points where the skeleton has them, else from nose, eyes and ears, whose distances say how large a face
    is: its height is about 2.2 times that from ear to ear or 4 times that from eye to eye, whichever is more.
    Points below `min_score` are not there.
    """
    points, scores = poses.points[row], poses.scores[row]
    if poses.skeleton == COCO_WHOLEBODY_133 and (scores[FACE] >= min_score).sum() >= _ENOUGH:
        seen = points[FACE][scores[FACE] >= min_score]
        low, high = seen.min(axis=0), seen.max(axis=0)
        width, height = (high - low) * math.sqrt(_AREA)
        grown = height - (high[1] - low[1])
        middle = (low[0] + high[0]) / 2
        return np.array(
            [middle - width / 2, low[1] - _ABOVE * grown, middle + width / 2, high[1] + (1 - _ABOVE) * grown]
        )
    places = {name: i for i, name in enumerate(poses.skeleton.points)}
    rows = [places[name] for name in COCO_17.points[_HEAD] if name in places]
    if len(rows) < 5 or (seen_rows := [row for row in rows if scores[row] >= min_score]) == []:
        return None
    nose, left_eye, right_eye, left_ear, right_ear = rows
    spans = [(left_eye, right_eye, 4.0), (left_ear, right_ear, 2.2), (nose, left_ear, 2.6), (nose, right_ear, 2.6)]
    sizes = [
        k * float(np.linalg.norm(points[a] - points[b])) for a, b, k in spans if min(scores[a], scores[b]) >= min_score
    ]
    if not sizes:
        return None
    half = max(sizes) / 2
    centre = points[seen_rows].mean(axis=0)
    return np.array([*(centre - half), *(centre + half)])


def face_squares(
    moments: Iterable[Moment],
    *,
    padding: float = 0.0,
    sigma_s: float = 0.15,
    fill_s: float = 2.0,
    min_score: float = 0.3,
) -> Iterator[Moment]:
    """The moments of one person, whose box is now a square around the face; nobody, where it is not seen.

    Args:
        moments: with one person at most; of several the first counts.
        padding: added on every side, as a share of the square.
        sigma_s: smoothed over so long, so that a close-up is calm.
        fill_s: filled in for at most so long.
        min_score: points below are not there.
    """
    squares = (_squared(moment, padding, min_score) for moment in moments)
    return calm(fill(squares, max_gap_s=fill_s, min_score=min_score), sigma_s=sigma_s, min_score=min_score)


def _squared(moment: Moment, padding: float, min_score: float) -> Moment:
    poses = moment.poses.take(np.arange(min(1, len(moment.poses))))
    if not len(poses) or (box := face_box(poses, 0, min_score)) is None:
        return moment.having(replace(Poses.empty(poses.skeleton), ids=np.zeros(0, np.int64)))
    half = max(box[2] - box[0], box[3] - box[1]) / 2 * (1 + 2 * padding)
    centre = (box[:2] + box[2:]) / 2
    square = np.array([[*(centre - half), *(centre + half)]], np.float32)
    return moment.having(replace(poses, boxes=square, ids=np.zeros(1, np.int64) if poses.ids is None else poses.ids))


def held(moments: Iterable[Moment], first: Poses | None = None) -> Iterator[Moment]:
    """The moments with somebody in each: where nobody is, who was there last, and before that `first`."""
    last = first
    for moment in moments:
        if len(moment.poses):
            last = moment.poses
        yield moment if last is None else moment.having(last)
