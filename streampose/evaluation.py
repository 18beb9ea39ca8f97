"""How right poses are, where the truth is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from streampose.pose import Poses

__all__ = ["Pck", "pck"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pck:
    """Percentage of correct key points, as counts that can be added up over frames."""

    right: int = 0
    total: int = 0
    """Key points of the truth that are in sight."""
    people: int = 0
    found: int = 0

    def __add__(self, other: Pck) -> Pck:
        return Pck(
            right=self.right + other.right,
            total=self.total + other.total,
            people=self.people + other.people,
            found=self.found + other.found,
        )

    @property
    def share(self) -> float | None:
        """Right ones of all, in [0, 1]; `None` when there was nobody."""
        return self.right / self.total if self.total else None


def pck(truth: Poses, found: Poses, within: float = 0.1) -> Pck:
    """PCK (Yang and Ramanan, 2013): a key point is right if it lies within a share of the person's height of the truth.

    People are paired so that most points are right in all; somebody who is missing has no point right, and a point
    that is not known is not right, wherever it lies.

    Args:
        truth: score 1 = in sight; lower is not asked for.
        found: by a model, same skeleton.
        within: share of the height of the true box.
    """
    asked = truth.scores >= 1
    total = int(asked.sum())
    if not len(truth) or not len(found):
        return Pck(total=total, people=len(truth), found=len(found))
    distance = np.linalg.norm(truth.points[:, None] - found.points[None], axis=3)
    height = np.maximum(truth.boxes[:, 3] - truth.boxes[:, 1], 1.0)[:, None, None]
    right = (distance <= within * height) & asked[:, None] & found.seen(0)
    rows, columns = linear_sum_assignment(right.sum(axis=2), maximize=True)
    return Pck(right=int(right[rows, columns].sum()), total=total, people=len(truth), found=len(found))
