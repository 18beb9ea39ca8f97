"""A close-up of a face, cut out of the video."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np

from streampose.clip import Moment
from streampose.frame import Image

__all__ = ["CloseUp"]

# Where nobody's face is ever seen: a square of so much of the shorter side, near the upper edge.
_FALLBACK = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseUp:
    """Cuts the box of the first person out of each picture, as a square of one size."""

    size_px: int = 512
    """Of the square that comes out."""
    padding: float = 0.0
    """Around the face, as a share; already in the box."""

    wants_image: ClassVar[bool] = True
    """It cuts the video's own picture."""
    alpha: ClassVar[bool] = False
    """Its pictures have three channels."""

    def sized(self, size_px: tuple[int, int]) -> CloseUp:
        """It has a size of its own."""
        return self

    def __call__(self, moment: Moment, image: Image | None) -> Image:
        """A (size, size, 3) BGR picture; black outside of the video's.

        Args:
            moment: whose first box is a square, as of `motion.faces`.
            image: the video's own picture.
        """
        assert image is not None
        x1, y1, x2, _ = moment.poses.boxes[0].tolist() if len(moment.poses) else _somewhere(*moment.size_px)
        side = max(x2 - x1, 1.0)
        # Smaller ones are cut out larger, and averaged: warping alone would skip pixels.
        times = math.ceil(side / self.size_px)
        scale = self.size_px * times / side
        # A box goes from edge to edge, pixels count from their centres.
        matrix = np.array([[scale, 0, -scale * x1 - 0.5], [0, scale, -scale * y1 - 0.5]])
        cut = cv2.warpAffine(image, matrix, (self.size_px * times,) * 2, flags=cv2.INTER_LINEAR)
        if times > 1:
            cut = cv2.resize(cut, (self.size_px,) * 2, interpolation=cv2.INTER_AREA)
        return np.asarray(cut, np.uint8)


def _somewhere(width: int, height: int) -> tuple[float, float, float, float]:
    side = _FALLBACK * min(width, height)
    left, top = (width - side) / 2, 0.1 * height
    return left, top, left + side, top + side
