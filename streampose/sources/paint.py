"""Soft volumes drawn with polygons: the brush of the synthetic source."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from streampose.frame import Image

__all__ = ["Brush", "Colour", "Floats", "ball", "mix", "ribbon"]

Floats: TypeAlias = NDArray[np.float64]
Colour: TypeAlias = tuple[int, int, int]
"""Blue, green, red."""

_SHIFT = 4
_ONE = 128  # the shade that leaves a colour as it is
_LIGHT = np.array([-0.45, -0.62, 0.64])  # towards the light: from the upper left, before the picture
_BALL = (np.array([1.05, 1.0, 0.88, 0.72, 0.52, 0.3]), (92, 100, 114, 126, 135, 141))

_ANGLE = np.linspace(0, np.pi, 9)[1:-1]
_ARC = np.stack([np.cos(_ANGLE), np.sin(_ANGLE)], axis=1)


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """`share` of `b`, the rest of `a`."""
    blue, green, red = (round(x + (y - x) * share) for x, y in zip(a, b, strict=True))
    return blue, green, red


def _fixed(points: Floats) -> NDArray[np.int32]:
    return np.rint(points * (1 << _SHIFT)).astype(np.int32)


def _axes(centres: Floats) -> tuple[Floats, Floats]:
    """Unit vectors along the line from the first to the last centre, and across it."""
    x, y = (centres[-1] - centres[0]).tolist()
    length = math.hypot(x, y)
    x, y = (x / length, y / length) if length > 1e-6 else (0.0, 1.0)
    return np.array([x, y]), np.array([-y, x])


def ribbon(centres: Floats, widths: Floats, caps: tuple[float, float]) -> Floats:
    """The outline of a limb.

    Args:
        centres: (n, 2) along its middle.
        widths: (n,) half widths.
        caps: how far each end bulges, as a share of the half width there: 1 = round, 0 = cut off.

    Returns:
        (m, 2) a closed polygon.
    """
    along, across = _axes(centres)
    side = widths[:, None] * across
    round_, out = _ARC[:, :1] * across, _ARC[:, 1:] * along
    start = centres[0] - widths[0] * (round_ + caps[0] * out)
    end = centres[-1] + widths[-1] * (round_ + caps[1] * out)
    return np.concatenate([centres + side, end, (centres - side)[::-1], start])


@lru_cache
def _strips(count: int) -> tuple[Floats, Floats, Floats]:
    """A half round from the side: where each strip ends, its middle, and how far it bulges there.

    Strips are narrower at the edges, where the tone changes fastest.
    """
    breaks = np.sin(np.linspace(-np.pi / 2, np.pi / 2, count + 1))
    middles = (breaks[:-1] + breaks[1:]) / 2
    return breaks[:, None, None], middles, np.sqrt(1 - middles**2)


def ball(points: Floats) -> Floats:
    """The convex hull of (n, 2) points, as a closed polygon (m, 2)."""
    return np.asarray(cv2.convexHull(points.astype(np.float32))[:, 0], np.float64)


class Brush:
    """Draws one figure on a part of a picture: colours at once, shading at the end.

    The colours are anti-aliased polygons. Light and shadow go to a layer of their own, which is blurred, so that a few
    strips of tone look like a round limb, and then multiplied in.

    Args:
        image: (H, W, 3) uint8 BGR, changed in place.
        origin: x, y of its first pixel in the coordinates that are drawn in.
        soft_px: sigma of the blur of the shading.
    """

    def __init__(self, image: Image, origin: tuple[int, int], soft_px: float) -> None:
        self._image, self._origin, self._soft = image, np.array(origin, np.float64), soft_px
        # At half the size: it is blurred anyway.
        self._shade = np.full([(side + 1) // 2 for side in image.shape[:2]], _ONE, np.uint8)
        self._mask = np.zeros(image.shape[:2], np.uint8)

    def ribbon(self, centres: Floats, widths: Floats, caps: tuple[float, float], colour: Colour) -> None:
        """A limb: see the function `ribbon`."""
        self._fill(ribbon(centres, widths, caps), colour)
        along, across = _axes(centres)
        ends = centres - self._origin
        ends[0] -= along * widths[0] * caps[0]
        ends[-1] += along * widths[-1] * caps[1]
        # Shadow on what lies behind, a little towards the ground.
        side, behind = (widths + self._soft)[:, None] * across, ends + np.array([0, 0.6 * self._soft])
        self._tone(_fixed(np.concatenate([behind + side, (behind - side)[::-1]])), 88)
        # As few strips as the blur can join.
        breaks, middles, heights = _strips(int(min(max(widths.max() / self._soft * 1.6, 5), 14)))
        edges = _fixed(ends + breaks * (widths[:, None] * across))
        strips = np.concatenate([edges[:-1], edges[1:, ::-1]], axis=1)
        # Lambert's law over a bright ambient, so that no clothes turn black.
        light = float(across @ _LIGHT[:2]) * middles + _LIGHT[2] * heights
        tones = (_ONE * (0.66 + 0.46 * np.maximum(light, 0))).tolist()
        for strip, tone in zip(strips, tones, strict=True):
            self._tone(strip, tone)

    def ball(self, points: Floats, colour: Colour) -> None:
        """The convex hull of (n, 2) points, as a rounded volume."""
        hull = ball(points)
        self._fill(hull, colour)
        centre = hull.mean(axis=0)
        size = float(np.sqrt(np.ptp(hull[:, 0]) * np.ptp(hull[:, 1])) / 2)
        sizes, tones = _BALL
        away = _LIGHT[:2] * 0.75 * size * (1 - sizes[:, None])
        rings = _fixed(centre - self._origin + sizes[:, None, None] * (hull - centre) + away[:, None])
        for ring, tone in zip(rings, tones, strict=True):
            self._tone(ring, tone)

    def flat(self, outline: Floats, colour: Colour) -> None:
        """A polygon of (n, 2) points on what is drawn already, lit as that is."""
        cv2.fillPoly(self._image, [_fixed(outline - self._origin)], colour, cv2.LINE_AA, _SHIFT)

    def finish(self) -> None:
        """Multiply the shading in, inside of what was drawn only: no shadow falls on the background."""
        # Two box blurs: 5 times as fast as cv2.GaussianBlur at the same sigma, and as smooth to the eye.
        size = (round(np.sqrt(1.5 * self._soft**2 + 1)) | 1,) * 2
        shade = cv2.resize(cv2.blur(cv2.blur(self._shade, size), size), self._mask.shape[::-1])
        lit = cv2.multiply(self._image, cv2.cvtColor(shade, cv2.COLOR_GRAY2BGR), scale=1 / _ONE)
        cv2.copyTo(lit, self._mask, self._image)

    def _fill(self, outline: Floats, colour: Colour) -> None:
        fixed = [_fixed(outline - self._origin)]
        cv2.fillPoly(self._image, fixed, colour, cv2.LINE_AA, _SHIFT)
        cv2.fillPoly(self._mask, fixed, 255, cv2.LINE_8, _SHIFT)

    def _tone(self, fixed: NDArray[np.int32], tone: float) -> None:
        # One more bit of fraction: half the size.
        cv2.fillPoly(self._shade, [fixed], tone, cv2.LINE_8, _SHIFT + 1)
