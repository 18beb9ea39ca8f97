"""Small pictures with transparency, made once and stamped on many frames: labels and panels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from streampose.frame import Image
from streampose.render.style import Colour

__all__ = ["Canvas", "Font", "Tile", "stamp"]

# A curve is drawn four times as large and shrunk: smooth to the eye.
_FINER = 4
# OpenCV 4 writes with Hershey's strokes, which have to grow with the size; OpenCV 5 with a typeface.
_STROKES = int(cv2.__version__.split(".")[0]) < 5


@dataclass(frozen=True, slots=True)
class Tile:
    """A picture to be put over another: result = colour + keep · background."""

    colour: Image
    """(h, w, 3) BGR, multiplied by opacity already."""
    keep: Image
    """(h, w, 3) transparency, 255 = nothing is covered."""


@dataclass(frozen=True, slots=True)
class Font:
    """A face at a size."""

    height_px: int
    """Of a capital letter."""
    bold: bool = False

    @property
    def face(self) -> int:
        """OpenCV's number for it."""
        return cv2.FONT_HERSHEY_DUPLEX if self.bold else cv2.FONT_HERSHEY_SIMPLEX

    @property
    def scale(self) -> float:
        """OpenCV's measure of size."""
        return self.height_px / cv2.getTextSize("H", self.face, 1.0, 1)[0][1]

    @property
    def thickness_px(self) -> int:
        """Of its strokes."""
        return max(1, round(self.height_px / 11)) if _STROKES else 1

    def width_px(self, text: str) -> int:
        """How far a text goes. All digits count as wide ones, so that a layout does not tremble with its numbers."""
        steady = "".join("0" if c.isdigit() else c for c in text)
        return int(cv2.getTextSize(steady, self.face, self.scale, self.thickness_px)[0][0])


class Canvas:
    """A transparent picture of a size in pixels to draw on, then made a `Tile`."""

    def __init__(self, width: int, height: int) -> None:
        self._colour = np.zeros((height, width, 3), np.float32)
        self._opacity = np.zeros((height, width, 1), np.float32)

    def panel(self, colour: Colour, opacity: float, radius_px: float) -> None:
        """Fill it all, with round corners."""
        height, width = self._opacity.shape[:2]
        self._over(_rounded(width, height, radius_px), 0, colour, opacity)

    def text(self, text: str, x: int, baseline: int, font: Font, colour: Colour) -> None:
        """Write a text from x on."""
        # Only its own columns are touched: a fifth of the time for a line of fourteen words.
        mask = np.zeros((len(self._opacity), font.width_px(text) + font.height_px), np.uint8)
        cv2.putText(mask, text, (0, baseline), font.face, font.scale, 255, font.thickness_px, cv2.LINE_AA)
        self._over(mask, x, colour, 1.0)

    def tile(self) -> Tile:
        """What was drawn."""
        keep = np.rint(255 * (1 - self._opacity)).astype(np.uint8)
        return Tile(np.rint(self._colour).astype(np.uint8), keep.repeat(3, axis=2))

    def _over(self, mask: Image, x: int, colour: Colour, opacity: float) -> None:
        """Porter and Duff's "over" (SIGGRAPH 1984), from column x on."""
        there = np.s_[:, x : x + mask.shape[1]]
        cover = mask[:, : self._opacity.shape[1] - x, None] * np.float32(opacity / 255)
        self._colour[there] += cover * (np.array(colour, np.float32) - self._colour[there])
        self._opacity[there] += cover * (1 - self._opacity[there])


@lru_cache(maxsize=64)
def _rounded(width: int, height: int, radius_px: float) -> Image:
    """A mask (h, w) uint8 of a rectangle with round corners."""
    big = np.zeros((height * _FINER, width * _FINER), np.uint8)
    r = round(radius_px * _FINER)
    right, bottom = big.shape[1] - 1, big.shape[0] - 1
    cv2.rectangle(big, (r, 0), (right - r, bottom), 255, -1)
    cv2.rectangle(big, (0, r), (right, bottom - r), 255, -1)
    for centre in ((r, r), (right - r, r), (r, bottom - r), (right - r, bottom - r)):
        cv2.circle(big, centre, r, 255, -1)
    return np.asarray(cv2.resize(big, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def stamp(image: Image, tile: Tile, x: int, y: int) -> None:
    """Put a tile on a picture, its top-left corner at x, y; what lies outside is cut off."""
    height, width = tile.keep.shape[:2]
    left, top = max(0, -x), max(0, -y)
    right, bottom = min(width, image.shape[1] - x), min(height, image.shape[0] - y)
    if left >= right or top >= bottom:
        return
    there = image[y + top : y + bottom, x + left : x + right]
    cv2.multiply(there, tile.keep[top:bottom, left:right], dst=there, scale=1 / 255)
    cv2.add(there, tile.colour[top:bottom, left:right], dst=there)
