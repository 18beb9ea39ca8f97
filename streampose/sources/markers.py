"""Coloured discs on the joints, as on a motion-capture suit."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from streampose.frame import Image
from streampose.sources.paint import Floats

__all__ = ["MARKER_RGB", "covered_markers", "draw_markers"]

MARKER_RGB = np.array([
    (255, 255, 0), (0, 255, 255), (255, 0, 255), (0, 0, 255), (255, 0, 0),  # nose, eyes, ears
    (0, 255, 0), (255, 128, 0), (0, 128, 255), (255, 0, 128), (0, 255, 128), (128, 0, 255),  # arms, left first
    (128, 255, 0), (255, 128, 255), (128, 128, 255), (128, 0, 128), (128, 255, 128), (0, 112, 0),  # legs
], np.uint8)  # fmt: skip
"""(17, 3) red, green, blue of each COCO key point. Any two differ by 112 of 255 in some channel, and nothing else in
the scene is so saturated."""

_RADII_M = np.array([0.018] * 5 + [0.032] * 12)


def draw_markers(image: Image, points: Floats, scale: Floats) -> None:
    """Draw one person's discs, the nearest last.

    Args:
        image: (H, W, 3) uint8 BGR, changed in place.
        points: (17, 2) pixels.
        scale: (17,) pixels a metre.
    """
    for j in np.argsort(scale, kind="stable").tolist():
        x, y = np.rint(points[j] * 16).astype(int).tolist()
        colour = MARKER_RGB[j, ::-1].tolist()
        cv2.circle(image, (x, y), round(_RADII_M[j] * scale[j] * 16), colour, cv2.FILLED, cv2.LINE_AA, 4)


def covered_markers(points: Floats, scale: Floats) -> NDArray[np.bool_]:
    """(17,) the discs whose middle another one of the same person covers or touches; arguments as of `draw_markers`."""
    order = np.argsort(scale, kind="stable")
    rank = np.argsort(order)
    away = np.linalg.norm(points[:, None] - points, axis=2)
    return np.asarray(((away < _RADII_M * scale + 1.5) & (rank > rank[:, None])).any(axis=1))
