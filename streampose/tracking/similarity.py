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

    def __getitem__(self, rows: Sequence[int] | slice) -> Looks:
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

    def moved_to(self, centres: Floats) -> Looks:
        """The same people elsewhere: (n, 2) pixels."""
        offsets = (centres - self.centres)[:, None]
        boxes = (self.boxes.reshape(-1, 2, 2) + offsets).reshape(-1, 4)
        return Looks(boxes=boxes, points=self.points + offsets, scores=self.scores)


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
    # For the few people of a picture the number of NumPy's calls is what costs.
    both = _area(a.boxes)[:, None] + _area(b.boxes)
    low = np.maximum(a.boxes[:, None, :2], b.boxes[:, :2])
    high = np.minimum(a.boxes[:, None, 2:], b.boxes[:, 2:])
    inner = _product(np.maximum(high - low, 0))
    overlap: Floats = inner / np.maximum(both - inner, 1e-9)
    seen = (a.scores >= _SEEN)[:, None] & (b.scores >= _SEEN)
    count = np.add.reduce(seen, axis=2)
    apart = a.points[:, None] - b.points
    apart *= apart
    # COCO's scale is the area of the outline; the mean of both boxes' areas is easy to have, and a little more lenient.
    near = np.exp((apart[..., 0] + apart[..., 1]) / (np.maximum(both, 2e-9)[:, :, None] * -_VARIANCE))
    likeness = np.add.reduce(near * seen, axis=2) / np.maximum(count, 1)
    return np.where(count >= _ENOUGH, (1 - pose_weight) * overlap + pose_weight * likeness, overlap)


def _area(boxes: Floats) -> Floats:
    return _product(np.maximum(boxes[:, 2:] - boxes[:, :2], 0))


def _product(sides: Floats) -> Floats:
    """Of the last axis, which has two."""
    return np.asarray(sides[..., 0] * sides[..., 1])
