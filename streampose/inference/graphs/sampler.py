"""Pixels of pictures of any sizes to the tensor that a model takes.

Every pixel of the input is blended from the four of the picture around the place that it shows (bilinear), as in
OpenCV's `resize` and `warpAffine`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

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
    sampled = _resized(g, card, given, at)
    return _normalised(g, card, g("Where", g.all(*shown), sampled, g.floats(float(card.fill))), dtype)


def crops(g: Builder, card: Card, given: Given, dtype: int) -> str:
    """One crop for each person, black outside the picture, of the dtype that the model takes.

    Places are rounded as by `preprocess.crop_batch` and OpenCV 5's `warpAffine` with AVX2: columns once, rows after
    each step.
    """
    edge = 1 if card.udp else 0
    at = []
    for axis, (cells, _) in enumerate(_axes(card)):
        steps, place = g.floats(cells - edge), g.floats(np.arange(cells)[None])
        centre, extent = (g.take(given.place, [i + axis], 1) for i in (0, 2))
        scale = g.div(extent, steps)
        begin = g.sub(centre, g.mul(g.mul(scale, steps), g.floats(0.5)))
        if axis == 0:
            scale, place, begin = (_doubles(g, value) for value in (scale, place, begin))
        at.append(g.cast(g.add(g.mul(scale, place), begin)))
    return _normalised(g, card, _warped(g, card, given, at), dtype)


def _doubles(g: Builder, value: str) -> str:
    """Where in a picture: the nearest float may be on the other side of a rounding."""
    return g.cast(value, TensorProto.DOUBLE)


def _axes(card: Card) -> tuple[tuple[int, tuple[int, int, int]], ...]:
    """Cells along x and y, and the shape that spreads (n, cells) over n pictures."""
    width, height = card.size_px
    return (width, (-1, 1, width)), (height, (-1, height, 1))


def _resized(g: Builder, card: Card, given: Given, at: Sequence[str]) -> str:
    """(n, h, w, 3) whole numbers at the places x (n, w) and y (n, h).

    Rounded on the way as `cv2.resize` does: weights to 1/2048, lines down to 1/128, their shares down to 1/4. A small
    model can be quite another one for a difference of 1 in each tenth pixel.
    """
    columns, rows = (_Taps.of(g, card, given, where, axis) for axis, where in enumerate(at))
    lines = []
    for pair, weight in zip(_colours(g, given, columns, rows), rows.weights(g), strict=True):
        line = g.add(*(g.mul(pixel, share) for pixel, share in zip(pair, columns.weights(g), strict=True)))
        line = g("Floor", g.mul(line, g.floats(2048 / 16)))
        lines.append(g("Floor", g.mul(line, g.mul(weight, g.floats(2048 / 65536)))))
    return g("Floor", g.mul(g.add(*lines, g.floats(2.0)), g.floats(1 / 4)))


def _warped(g: Builder, card: Card, given: Given, at: Sequence[str]) -> str:
    """The same, black outside the picture and blended as OpenCV 5's `warpAffine` does, which rounds once less.

    An 8-bit model's points are moved by 0.2 px, in the median, for a difference of 1 in three pixels of a crop; this
    leaves one in some crops.
    """
    columns, rows = (_Taps.of(g, card, given, where, axis) for axis, where in enumerate(at))
    lines = []
    for pair, inside in zip(_colours(g, given, columns, rows), rows.inside, strict=True):
        seen = [g.mul(pixel, there) for pixel, there in zip(pair, columns.inside, strict=True)]
        lines.append(g.mul(_between(g, seen, columns.share), inside))
    return g("Round", _between(g, lines, rows.share))


def _between(g: Builder, pair: Sequence[str], share: str) -> str:
    low, high = pair
    return g.add(low, g.mul(share, g.sub(high, low)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Taps:
    """The two pixels beside each place along one axis."""

    index: list[str]
    """Of each, the nearest one that the picture has."""
    inside: list[str]
    """1.0 where it has that pixel itself."""
    share: str
    """Of the second one."""

    @classmethod
    def of(cls, g: Builder, card: Card, given: Given, at: str, axis: int) -> Self:
        shape = _axes(card)[axis][1]
        size = g.cast(g.take(given.picture, [1 + axis], 1))
        before = g("Floor", at)
        index, inside = [], []
        for pixel in (before, g.add(before, g.floats(1.0))):
            nearest = g.clip(pixel, g.floats(0.0), g.sub(size, g.floats(1.0)))
            index.append(g.reshape(g.cast(nearest, TensorProto.INT32), *shape))
            inside.append(g.reshape(g.cast(g("Equal", pixel, nearest)), *shape, 1))
        return cls(index=index, inside=inside, share=g.reshape(g.sub(at, before), *shape, 1))

    def weights(self, g: Builder) -> list[str]:
        """Of both, in whole parts of 1/2048."""
        second = g.mul(g("Round", g.mul(self.share, g.floats(2048.0))), g.floats(1 / 2048))
        both = g.sub(g.floats(1.0), second), second
        return [g.mul(weight, there) for weight, there in zip(both, self.inside, strict=True)]


def _colours(g: Builder, given: Given, columns: _Taps, rows: _Taps) -> list[list[str]]:
    """Of both rows the pixels of both columns, (n, h, w, 3) each."""
    first, width = (g.reshape(g.take(given.picture, i, 1), -1, 1, 1) for i in (0, 1))
    begins = (g.add(first, g.mul(row, width)) for row in rows.index)
    return [
        [g.cast(g("Gather", given.pixels, g.add(begin, column), axis=0)) for column in columns.index]
        for begin in begins
    ]


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
