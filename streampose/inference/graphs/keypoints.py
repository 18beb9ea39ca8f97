"""Outputs of models that take crops, to key points in picture pixels: what `heatmap.py` does, in the graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from streampose.errors import ModelUnreadable
from streampose.inference.card import Card, Refine
from streampose.inference.graphs.builder import Builder, Shape
from streampose.inference.graphs.sampler import Given
from streampose.inference.heatmap import blur_rows, stencils

__all__ = ["HEADS", "keypoints"]

Head = Callable[[Builder, Card, Mapping[str, Shape]], tuple[str, str]]
"""(n, k, 2) in input pixels and (n, k) scores."""


def keypoints(g: Builder, card: Card, outputs: Mapping[str, Shape], given: Given) -> str:
    """The key points of each crop: (n, k, 3) x y in picture pixels, score in [0, 1].

    Raises:
        ModelUnreadable: an output's shape is open where it may not be.
    """
    points, scores = HEADS[card.family](g, card, outputs)
    size = np.array(card.size_px, np.float32) - (1 if card.udp else 0)
    centre, extent = (g.reshape(g.take(given.place, pair, 1), -1, 1, 2) for pair in ((0, 1), (2, 3)))
    share = g.sub(g.mul(points, g.floats((1 / size)[None, None])), g.floats(0.5))
    clipped = g.clip(scores, g.floats(0.0), g.floats(1.0))
    return g.join(g.add(g.mul(share, extent), centre), g.reshape(clipped, 0, -1, 1), axis=2)


def _peaks(g: Builder, values: str, axis: int) -> tuple[str, str]:
    """Where the highest value along an axis is (int64), and what it is; the axis stays, of length 1."""
    best = g("ArgMax", values, axis=axis, keepdims=1)
    return best, g("GatherElements", values, best, axis=axis)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Peaked:
    """Heatmaps and where their peaks are."""

    maps: str
    """(n·k, h, w)."""
    x: str
    """(n·k, 1) int64."""
    y: str
    size: tuple[int, int]
    """h, w."""

    def inside(self, g: Builder, margin: int) -> str:
        """(n·k, 1): 1.0 where the peak has so many neighbours on all sides."""
        return g.mul(*self.between(g, margin))

    def between(self, g: Builder, margin: int) -> tuple[str, str]:
        """For x and for y (n·k, 1): 1.0 where the peak has so many neighbours on both sides."""

        def within(place: str, cells: int) -> str:
            at = g.cast(place)
            low, high = g.floats(margin - 0.5), g.floats(cells - margin - 0.5)
            return g.cast(g.all(g("Less", low, at), g("Less", at, high)))

        h, w = self.size
        return within(self.x, w), within(self.y, h)

    def patches(self, g: Builder, reach: int) -> str:
        """(n·k, (2·reach + 1)²): the map around each peak, 0 beyond its edge."""
        h, w = self.size
        padded = g("Pad", self.maps, g.ints([0, reach, reach, 0, reach, reach]))
        width, span = w + 2 * reach, np.arange(2 * reach + 1)
        around = g.ints((span[:, None] * width + span).reshape(1, -1))
        where = g.add(g.mul(self.y, g.ints(width)), self.x, around)
        return g("GatherElements", g.reshape(padded, -1, (h + 2 * reach) * width), where, axis=1)


def _heatmap(g: Builder, card: Card, outputs: Mapping[str, Shape]) -> tuple[str, str]:
    ((maps, shape),) = outputs.items()
    k, h, w = _known(card, shape)
    best, peak = _peaks(g, g.reshape(maps, -1, h * w), 1)
    y = g.div(best, g.ints(w))
    x = g.sub(best, g.mul(y, g.ints(w)))
    points = g.cast(g.join(x, y, axis=1))
    if card.refine is not Refine.NONE:
        peaked = _Peaked(maps=g.reshape(maps, -1, h, w), x=x, y=y, size=(h, w))
        points = g.add(points, _quarter(g, peaked) if card.refine is Refine.QUARTER else _dark(g, card, peaked))
    edge = 1 if card.udp else 0
    scale = (np.array(card.size_px) - edge) / (np.array([w, h]) - edge)
    return g.reshape(g.mul(points, g.floats(scale[None])), -1, k, 2), g.reshape(peak, -1, k)


def _known(card: Card, shape: Shape) -> list[int]:
    """All but the batch.

    Raises:
        ModelUnreadable: a dimension is open, or all are.
    """
    known = [side for side in shape[1:] if isinstance(side, int)]
    if not shape or len(known) < len(shape) - 1:
        raise ModelUnreadable(f"{card.family}: the shape of an output is open: {shape}")
    return known


def _quarter(g: Builder, peaked: _Peaked) -> str:
    """A quarter of a pixel towards the higher neighbour; see `heatmap._quarter`."""
    difference = np.zeros((9, 2))
    difference[[5, 7], [0, 1]], difference[[3, 1], [0, 1]] = 1, -1
    step = g("Sign", g("MatMul", peaked.patches(g, 1), g.floats(difference)))
    return g.mul(step, peaked.inside(g, 1), g.floats(0.25))


def _dark(g: Builder, card: Card, peaked: _Peaked) -> str:
    """The Taylor step; see `heatmap._dark`. Blurring in both directions is one product."""
    blur = blur_rows(card.blur_px)
    blurred = g("MatMul", peaked.patches(g, card.blur_px // 2 + 2), g.floats(np.kron(blur, blur).T))
    derivatives = g("MatMul", g("Log", g("Max", blurred, g.floats(1e-10))), g.floats(stencils(card.udp)))
    dx, dy, dxx, dyy, dxy = (g.take(derivatives, [i], 1) for i in range(5))
    det = g.sub(g.mul(dxx, dyy), g.mul(dxy, dxy))
    good = g.all(g("Less", dxx, g.floats(0.0)), g("Less", g.floats(1e-12), det))
    numerators = g.join(g.sub(g.mul(dxy, dy), g.mul(dyy, dx)), g.sub(g.mul(dxy, dx), g.mul(dxx, dy)), axis=1)
    step = g.div(numerators, g("Where", good, det, g.floats(1.0)))
    step = g.mul(step, g.join(*peaked.between(g, 1), axis=1) if card.udp else peaked.inside(g, 2))
    far = g("Less", g.floats(2.0), g("Abs", step))
    good = g.all(good, *(g("Not", g.take(far, [i], 1)) for i in (0, 1)))
    return g("Where", good, step, g.floats(0.0))


def _simcc(g: Builder, card: Card, outputs: Mapping[str, Shape]) -> tuple[str, str]:
    (x_bins, shape), (y_bins, _) = outputs.items()
    (x, x_peak), (y, y_peak) = _peaks(g, x_bins, 2), _peaks(g, y_bins, 2)
    points = g.mul(g.cast(g.join(x, y, axis=2)), g.floats(card.size_px[0] / _known(card, shape)[1]))
    return points, g.reshape(g("Min", x_peak, y_peak), 0, -1)


def _movenet(g: Builder, card: Card, outputs: Mapping[str, Shape]) -> tuple[str, str]:
    ((rows, shape),) = outputs.items()
    rows = g.reshape(rows, -1, *_known(card, shape)[1:])
    points = g.mul(g.take(rows, (1, 0), 2), g.floats(np.array(card.size_px)))
    return points, g.take(rows, 2, 2)


HEADS: Mapping[str, Head] = {"heatmap": _heatmap, "vitpose": _heatmap, "simcc": _simcc, "movenet": _movenet}
"""By family."""
