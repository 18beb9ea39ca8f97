"""A whole body in its parts, as animation models take them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streampose.pose import Poses
from streampose.skeletons import ANIMATION_20, COCO_WHOLEBODY_133, FACE, LEFT_HAND, RIGHT_HAND

__all__ = ["Groups", "groups"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """Points of n people as x, y, score: pixels, and 0 to 1; 0 = not known."""

    body: NDArray[np.float32]
    """(n, 20, 3) `ANIMATION_20`: neck and toes are the means of their parts."""
    face: NDArray[np.float32]
    """(n, 68, 3) iBUG's."""
    left_hand: NDArray[np.float32]
    """(n, 21, 3) wrist, then each finger from its root."""
    right_hand: NDArray[np.float32]


def groups(poses: Poses) -> Groups:
    """Of any skeleton; one without hands or face has zeros there."""
    body = poses.to(ANIMATION_20)
    whole = poses.to(COCO_WHOLEBODY_133)
    table = _table(whole)
    return Groups(
        body=_table(body), face=table[:, FACE], left_hand=table[:, LEFT_HAND], right_hand=table[:, RIGHT_HAND]
    )


def _table(poses: Poses) -> NDArray[np.float32]:
    return np.concatenate([poses.points, poses.scores[..., None]], axis=2)
