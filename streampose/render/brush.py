"""Lines and dots with sub-pixel places and sizes, an outline, and an opacity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from streampose.frame import Image
from streampose.render.style import Colour

__all__ = ["Shape", "lines", "paint"]

Floats: TypeAlias = NDArray[np.floating[Any]]

# Sixteenths of a pixel, so that slow movement is smooth.
_SHIFT = 4
# Half a circle away from a line's direction, along and across it.
_TURN = np.linspace(math.pi / 2, 3 * math.pi / 2, 7)
_ARC = np.stack([np.cos(_TURN), np.sin(_TURN)], axis=1)


@dataclass(frozen=True, slots=True)
class Shape:
    """A convex polygon with its outline."""

    fill: NDArray[np.int32]
    """(m, 2) in sixteenths of a pixel."""
    edge: NDArray[np.int32]
    """(m, 2) the same, wider: the outline is what it shows more."""
    colour: Colour
    opacity: float
    """In [0, 1]; from 1 on, solid."""


def lines(
    starts: Floats, ends: Floats, widths: Floats, *, rim: float, colours: Sequence[Colour], opacities: Floats
) -> list[Shape]:
    """Lines with round ends; one that ends where it starts is a dot.

    Args:
        starts: (n, 2) pixels.
        ends: (n, 2) pixels.
        widths: (n,) pixels.
        rim: width of the outline, pixels.
        colours: n.
        opacities: (n,) in [0, 1]; what has 0 is left out.
    """
    some = np.flatnonzero(opacities > 0)
    fills = _capsules(starts[some], ends[some], widths[some] / 2)
    edges = _capsules(starts[some], ends[some], widths[some] / 2 + rim)
    return [Shape(fills[i], edges[i], colours[row], float(opacities[row])) for i, row in enumerate(some.tolist())]


def paint(image: Image, shapes: list[Shape], outline: Colour) -> None:
    """Draw shapes on a picture, in place: the faint ones below the solid ones, all outlines below all fills."""
    for shape in shapes:
        if shape.opacity < 1:
            _blend(image, shape, outline)
    solid = [shape for shape in shapes if shape.opacity >= 1]
    for shape in solid:
        cv2.fillConvexPoly(image, shape.edge, outline, cv2.LINE_AA, _SHIFT)
    for shape in solid:
        cv2.fillConvexPoly(image, shape.fill, shape.colour, cv2.LINE_AA, _SHIFT)


def _blend(image: Image, shape: Shape, outline: Colour) -> None:
    """Draw a see-through shape, at the price of the rectangle around it only."""
    low = np.maximum((shape.edge.min(axis=0) >> _SHIFT) - 2, 0)
    high = (shape.edge.max(axis=0) >> _SHIFT) + 3
    there = image[low[1] : max(high[1], 0), low[0] : max(high[0], 0)]
    if not there.size:
        return
    layer = there.copy()
    offset = low << _SHIFT
    cv2.fillConvexPoly(layer, shape.edge - offset, outline, cv2.LINE_AA, _SHIFT)
    cv2.fillConvexPoly(layer, shape.fill - offset, shape.colour, cv2.LINE_AA, _SHIFT)
    cv2.addWeighted(layer, shape.opacity, there, 1 - shape.opacity, 0, dst=there)


def _capsules(starts: Floats, ends: Floats, radii: Floats) -> NDArray[np.int32]:
    """(n, 14, 2) outlines in sixteenths of a pixel."""
    along = ends - starts
    length = np.hypot(along[:, 0], along[:, 1])[:, None]
    along = np.where(length > 0, along / np.maximum(length, 1e-6), np.array([1.0, 0.0]))
    across = along[:, ::-1] * (-1, 1)
    arc = _ARC[:, :1] * along[:, None] + _ARC[:, 1:] * across[:, None]
    reach = radii[:, None, None] * arc
    outline = np.concatenate([starts[:, None] + reach, ends[:, None] - reach], axis=1)
    return np.asarray(np.rint(outline * (1 << _SHIFT)), np.int32)
