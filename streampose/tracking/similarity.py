"""How alike two people are in place and pose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from streampose.pose import Poses
from streampose.skeletons import COCO_17

__all__ = ["Looks", "similarity"]

Floats = NDArray[np.float64]

_VARIANCE = (2 * np.array(COCO_17.sigmas)) ** 2
# A point is compared when both see it at least so well; with fewer points than this, boxes alone decide.
_SEEN = 0.3
_ENOUGH = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """What n people look like to the tracker."""

    boxes: Floats
    """(n, 4) x1 y1 x2 y2 pixels."""
    points: Floats
    """(n, 17, 2) pixels, COCO's."""
    scores: Floats
    """(n, 17)."""

    @classmethod
    def of(cls, poses: Poses) -> Self:
        """From any skeleton: points that it lacks have score 0."""
        body = poses.to(COCO_17)
        return cls(
            boxes=body.boxes.astype(np.float64),
            points=body.points.astype(np.float64),
            scores=body.scores.astype(np.float64),
        )

    def __getitem__(self, rows: NDArray[np.intp] | slice) -> Looks:
        return Looks(boxes=self.boxes[rows], points=self.points[rows], scores=self.scores[rows])

    @classmethod
    def join(cls, parts: Sequence[Looks]) -> Self:
        """One after the other."""
        return cls(
            boxes=np.concatenate([part.boxes for part in parts]),
            points=np.concatenate([part.points for part in parts]),
            scores=np.concatenate([part.scores for part in parts]),
        )

    @property
    def centres(self) -> Floats:
        """(n, 2) pixels, of the boxes."""
        return (self.boxes[:, :2] + self.boxes[:, 2:]) / 2

    def moved(self, offsets: Floats) -> Looks:
        """The same people, each moved by its row of (n, 2) pixels."""
        return Looks(boxes=self.boxes + np.tile(offsets, 2), points=self.points + offsets[:, None], scores=self.scores)


def similarity(a: Looks, b: Looks, pose_weight: float) -> Floats:
    """Box overlap mixed with pose likeness.

    The box is sure but changes shape when an arm is stretched out; the pose tells people apart whose boxes overlap.

    Args:
        a: n people.
        b: m people.
        pose_weight: share of the object key-point similarity (COCO's OKS), the rest being intersection over union.

    Returns:
        (n, m) in [0, 1].
    """
    overlap = _overlap(a.boxes, b.boxes)
    seen = (a.scores[:, None] >= _SEEN) & (b.scores[None] >= _SEEN)
    count = seen.sum(axis=2)
    distance = ((a.points[:, None] - b.points[None]) ** 2).sum(axis=3)
    # COCO's scale is the area of the outline; the mean of both boxes' areas is easy to have, and a little more lenient.
    area = np.maximum((_area(a.boxes)[:, None] + _area(b.boxes)[None]) / 2, 1e-9)
    near = np.exp(-distance / (2 * area[:, :, None] * _VARIANCE))
    likeness = (near * seen).sum(axis=2) / np.maximum(count, 1)
    return np.where(count >= _ENOUGH, (1 - pose_weight) * overlap + pose_weight * likeness, overlap)


def _area(boxes: Floats) -> Floats:
    width, height = np.maximum(boxes[:, 2:] - boxes[:, :2], 0).T
    return np.asarray(width * height)


def _overlap(a: Floats, b: Floats) -> Floats:
    """Intersection over union, (n, m)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inner: Floats = np.maximum(high - low, 0).prod(axis=2)
    return np.asarray(inner / np.maximum(_area(a)[:, None] + _area(b)[None] - inner, 1e-9))
