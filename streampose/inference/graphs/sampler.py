"""Pixels of pictures of any sizes to the tensor that a model takes.

Every pixel of the input is blended from the four of the picture around the place that it shows (bilinear), as in
OpenCV's `resize` and `warpAffine`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from streampose.inference.card import Card
from streampose.inference.graphs.builder import Builder

__all__ = ["FLOATS", "Given", "crops", "letterboxed"]

FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What a fused graph takes."""

    pixels: str
    """(p, 3) uint8 BGR: of all pictures, one after the other."""
    picture: str
    """(n, 3) int32, of each item's picture: its first pixel, its width and height."""
    place: str
    """(n, 4): for a picture, its left, top, width and height in the model's input; for a person, centre x, centre y,
    width and height of the crop in picture pixels."""


def letterboxed(g: Builder, card: Card, given: Given, dtype: int) -> str:
    """Whole pictures at the model's size, of the dtype that it takes."""
    at, shown = [], []
    for axis, (cells, shape) in enumerate(_axes(card)):
        start, fitted = g.take(given.place, [axis], 1), g.take(given.place, [2 + axis], 1)
        size = g.cast(g.take(given.picture, [1 + axis], 1))
        inside = g.sub(g.floats(np.arange(cells)[None]), start)
        shown.append(g.reshape(g.all(g("Less", g.floats(-0.5), inside), g("Less", inside, fitted)), *shape, 1))
        # A picture goes on as it ends, beyond the middle of its outermost pixels.
        scale = g.div(_doubles(g, size), _doubles(g, fitted))
        there = g.mul(_doubles(g, g.add(inside, g.floats(0.5))), scale)
        there = g.cast(g.sub(there, _doubles(g, g.floats(0.5))))
        at.append(g.clip(there, g.floats(0.0), g.sub(size, g.floats(1.0))))
    sampled = _sampled(g, card, given, at, fixed_point=True)
    return _normalised(g, card, g("Where", g.all(*shown), sampled, g.floats(float(card.fill))), dtype)


def crops(g: Builder, card: Card, given: Given, dtype: int) -> str:
    """One crop for each person, black outside the picture, of the dtype that the model takes."""
    edge = 1 if card.udp else 0
    at = []
    for axis, (cells, _) in enumerate(_axes(card)):
        centre, extent = (_doubles(g, g.take(given.place, [i + axis], 1)) for i in (0, 2))
        scale = g.div(extent, _doubles(g, g.floats(cells - edge)))
        begin = g.sub(centre, g.mul(scale, _doubles(g, g.floats((cells - edge) / 2))))
        at.append(g.cast(g.add(g.mul(scale, _doubles(g, g.floats(np.arange(cells)[None]))), begin)))
    return _normalised(g, card, _sampled(g, card, given, at, fixed_point=False), dtype)


def _doubles(g: Builder, value: str) -> str:
    """Where in a picture: the nearest float may be on the other side of a rounding."""
    return g.cast(value, TensorProto.DOUBLE)


def _axes(card: Card) -> tuple[tuple[int, tuple[int, int, int]], ...]:
    """Cells along x and y, and the shape that spreads (n, cells) over n pictures."""
    width, height = card.size_px
    return (width, (-1, 1, width)), (height, (-1, height, 1))


def _sampled(g: Builder, card: Card, given: Given, at: Sequence[str], *, fixed_point: bool) -> str:
    """(n, h, w, 3) whole numbers at the places x (n, w) and y (n, h).

    With `fixed_point` they are rounded on the way as `cv2.resize` does: weights to 1/2048, lines down to 1/128, their
    shares down to 1/4. A small model can be quite another one for a difference of 1 in each tenth pixel.
    """
    first, width = (g.reshape(g.take(given.picture, i, 1), -1, 1, 1) for i in (0, 1))
    columns, rows = (
        _taps(g, where, g.cast(g.take(given.picture, [1 + axis], 1)), shape, fixed_point=fixed_point)
        for axis, (where, (_, shape)) in enumerate(zip(at, _axes(card), strict=True))
    )
    lines = []
    for row, row_weight in rows:
        begin = g.add(first, g.mul(row, width))
        pairs = [(g("Gather", given.pixels, g.add(begin, column), axis=0), weight) for column, weight in columns]
        line = g.add(*(g.mul(g.cast(colours), weight) for colours, weight in pairs))
        if fixed_point:
            line = g("Floor", g.mul(line, g.floats(2048 / 16)))
            lines.append(g("Floor", g.mul(line, g.mul(row_weight, g.floats(2048 / 65536)))))
        else:
            lines.append(g.mul(line, row_weight))
    if fixed_point:
        return g("Floor", g.mul(g.add(*lines, g.floats(2.0)), g.floats(1 / 4)))
    return g("Round", g.add(*lines))


def _taps(g: Builder, at: str, size: str, shape: tuple[int, int, int], *, fixed_point: bool) -> list[tuple[str, str]]:
    """The two pixels beside each place along one axis: index and weight, which is 0 outside the picture."""
    before = g("Floor", at)
    share = g.sub(at, before)
    if fixed_point:
        share = g.mul(g("Round", g.mul(share, g.floats(2048.0))), g.floats(1 / 2048))
    taps = []
    for pixel, weight in ((before, g.sub(g.floats(1.0), share)), (g.add(before, g.floats(1.0)), share)):
        index = g.clip(pixel, g.floats(0.0), g.sub(size, g.floats(1.0)))
        weight_there = g.mul(weight, g.cast(g("Equal", pixel, index)))
        taps.append((g.reshape(g.cast(index, TensorProto.INT32), *shape), g.reshape(weight_there, *shape, 1)))
    return taps


def _normalised(g: Builder, card: Card, pictures: str, dtype: int) -> str:
    """(n, h, w, 3) BGR, whole numbers to 255, to what the model takes."""
    if card.rgb:
        pictures = g.take(pictures, (2, 1, 0), 3)
    shape = (1, 1, 1, 3)
    if not card.channels_last:
        pictures, shape = g("Transpose", pictures, perm=[0, 3, 1, 2]), (1, 3, 1, 1)
    if dtype not in FLOATS:
        return g.cast(pictures, dtype)
    mean, std = (g.floats(np.reshape(values, shape)) for values in (card.mean, card.std))
    normal = g.div(g.sub(pictures, mean), std)
    return normal if dtype == TensorProto.FLOAT else g.cast(normal, dtype)
