"""Outputs of models that take whole pictures, to people in picture pixels: what `boxes.py` does, in the graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from streampose.inference.boxes import MOST, Limits, candidates, grid
from streampose.inference.card import Card
from streampose.inference.graphs.builder import Builder
from streampose.inference.graphs.sampler import Given
from streampose.inference.graphs.suppression import Own

__all__ = ["HEADS", "people", "rows_of"]

_HUGE = 3e38


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidates:
    """What may be people, in input pixels."""

    boxes: str
    """(b, n, 4) corners."""
    scores: str
    """(b, n)."""
    points: str | None = None
    """(b, n, 3·k) x y score."""
    once: bool = False
    """Whether the model gives everybody once already."""
    most: int = MOST
    """Of a picture, no more are looked at: fewer than `boxes.py` does of a model that has sifted them."""
    own: Own | None = None
    """What its model would have done about doubles first, if that was taken out."""


def rows_of(limits: Limits) -> int:
    """So many people a picture, some of them nobody."""
    return min(max(1, limits.max_people), MOST)


def people(
    g: Builder, card: Card, limits: Limits, outputs: Sequence[str], given: Given, *, own: Own | None = None
) -> str:
    """The people of each picture, best first: (b, `rows_of(limits)`, 5 + 3·k), corners, score, k × (x, y, score).

    Nobody has score 0. `own` is what `taken_out` took out of the model, whose outputs are then boxes and scores.
    """
    size = g.cast(g.take(given.picture, (1, 2), 1))
    k = _k(card)
    found = HEADS[card.family](g, card, outputs) if own is None else _unsifted(g, outputs, own)
    rows = _best(g, limits, found, 5 + 3 * k)
    # For each column the number to take away, to divide by, and the bounds: of these rows, two numbers each.
    zero = g.mul(size, g.floats(0.0))
    one, low, high = (g.add(zero, g.floats(value)) for value in (1.0, -_HUGE, _HUGE))
    table = g.join(
        g.take(given.place, (0, 1), 1), g.div(g.take(given.place, (2, 3), 1), size), size, zero, one, low, high, axis=1
    )
    start, scale, whole, nothing, unit, lowest, highest = range(0, 14, 2)

    def columns(box: int, score: int, point: int) -> str:
        chosen = [box, box + 1] * 2 + [score] + [point, point + 1, score] * k
        return g.reshape(g.take(table, chosen, 1), -1, 1, len(chosen))

    rows = g.div(g.sub(rows, columns(start, nothing, start)), columns(scale, unit, scale))
    rows = g.clip(rows, columns(nothing, nothing, lowest), columns(whole, unit, highest))
    return rows if own is None else g.add(rows, _broken(g, found, max(limits.min_score, own.min_score)))


def _broken(g: Builder, found: _Candidates, least: float) -> str:
    """0, or NaN where a box that counts has a number that is none; of others the model itself would not show it."""
    doubtful = g.reshape(g("Less", found.scores, g.floats(least)), 0, -1, 1)
    return g("ReduceSum", g("Where", doubtful, g.floats(0.0), g.sub(found.boxes, found.boxes)), keepdims=0)


# A row of people each of whom hides the next is decided so far; in practice three or four are the most.
_ROUNDS = 16


def _best(g: Builder, limits: Limits, found: _Candidates, columns: int) -> str:
    """(b, most, columns): those that count, by score, by overlap, by number; the rest zeros."""
    most, own = rows_of(limits), found.own
    least = limits.min_score if limits.max_people else math.inf
    if own is not None:
        least = max(least, own.min_score)
    apart = not found.once and limits.max_overlap < (1 if own is None else own.overlap)
    sifted = max(most, min(found.most, candidates(limits)))
    first = candidates(limits) if own is not None else sifted if apart else most
    rows = [found.boxes, g.reshape(found.scores, 0, -1, 1), *([] if found.points is None else [found.points])]
    # As many of nobody behind, so that there are enough, whatever the model gives.
    everybody = g("Pad", g.join(*rows, axis=2), g.ints([0, 0, 0, 0, first, 0]))
    scores = g.take(everybody, 4, 2)
    # Nor does one count whose box is inside out, which would hide others.
    counts = g.all(
        g("Not", g("Less", scores, g.floats(least))),
        *(g("Less", g.take(everybody, low, 2), g.take(everybody, low + 2, 2)) for low in (0, 1)),
    )
    scores = g("Where", counts, scores, g.mul(scores, g.floats(0.0)))
    if own is not None:
        scores, everybody = _sifted(g, scores, everybody, first, overlap=own.overlap, columns=columns)
        scores, everybody = _highest(g, scores, everybody, sifted, columns)
        scores = g.mul(scores, g.floats(np.arange(sifted) < own.most))
    if apart:
        scores, everybody = _sifted(g, scores, everybody, sifted, overlap=limits.max_overlap, columns=columns)
    best, picked = _highest(g, scores, everybody, most, columns)
    # Who is too many, too doubtful or behind somebody else is nobody, whatever the row says.
    return g("Where", g.reshape(g("Less", g.floats(0.0), best), 0, -1, 1), picked, g.floats(0.0))


def _sifted(g: Builder, scores: str, rows: str, count: int, *, overlap: float, columns: int) -> tuple[str, str]:
    """The best `count`, in order: their scores, 0 for those who are hidden, and rows."""
    best, picked = _highest(g, scores, rows, count, columns)
    return g.mul(best, _unhidden(g, g.take(picked, range(4), 2), count, overlap)), picked


def _highest(g: Builder, scores: str, rows: str, count: int, columns: int) -> tuple[str, str]:
    """The best `count` scores (b, n), in order, and their rows (b, n, columns)."""
    best, order = g.several("TopK", 2, scores, g.ints([count]), axis=1)
    every_column = g.mul(g.reshape(order, 0, -1, 1), g.ints(np.ones((1, 1, columns), int)))
    return best, g("GatherElements", rows, every_column, axis=1)


def _unhidden(g: Builder, boxes: str, count: int, overlap: float) -> str:
    """(b, count): 1.0 for boxes (b, count, 4), best first, that no better one hides which is not hidden itself.

    The runtime's own operator takes a picture after the other (0.5 ms each on an H100). All at once: who overlaps whom
    is a matrix, and who stays follows from who stayed before (Cluster-NMS, Zheng et al., IEEE T-Cybernetics 2022).
    """
    corner = [(g.take(boxes, [i], 2), g.reshape(g.take(boxes, i, 2), 0, 1, -1)) for i in range(4)]
    zero = g.floats(0.0)

    def common(low: int) -> str:
        end, begin = g("Min", *corner[low + 2]), g("Max", *corner[low])
        return g("Max", g.sub(end, begin), zero)

    shared = g.mul(common(0), common(1))
    area, across = (g.mul(*(g.sub(corner[i + 2][side], corner[i][side]) for i in (0, 1))) for side in (0, 1))
    limit = g.mul(g.sub(g.add(area, across), shared), g.floats(overlap))
    # Row i hides column j behind it.
    hides = g.mul(g.cast(g("Less", limit, shared)), g.floats(np.triu(np.ones((1, count, count), np.float32), 1)))
    stays = g.add(g.mul(g.take(hides, [0], 1), zero), g.floats(1.0))
    for _ in range(_ROUNDS):
        stays = g.cast(g("Less", g("MatMul", stays, hides), g.floats(0.5)))
    return g.reshape(stays, 0, -1)


def _corners(g: Builder, centred: str) -> str:
    """(b, n, 4) centre and size → corners."""
    centre, half = g.take(centred, (0, 1), 2), g.mul(g.take(centred, (2, 3), 2), g.floats(0.5))
    return g.join(g.sub(centre, half), g.add(centre, half), axis=2)


def _columns(g: Builder, rows: str, begin: int, end: int) -> str:
    return g("Slice", rows, g.ints([begin]), g.ints([end]), g.ints([2]))


def _of_people(g: Builder, card: Card, scores: str, labels: str) -> str:
    """Scores, 0 for other classes than people; labels as whole numbers."""
    return g.mul(scores, g.cast(g("Equal", g.cast(labels, TensorProto.INT64), g.ints(card.person))))


def _mmdeploy(g: Builder, card: Card, outputs: Sequence[str]) -> _Candidates:
    dets, labels = outputs
    return _Candidates(boxes=_columns(g, dets, 0, 4), scores=_of_people(g, card, g.take(dets, 4, 2), labels), most=300)


def _unsifted(g: Builder, outputs: Sequence[str], own: Own) -> _Candidates:
    boxes, scores = outputs
    return _Candidates(boxes=boxes, scores=g.take(scores, 0, 1), most=own.most, own=own)


def _rtmo(g: Builder, card: Card, outputs: Sequence[str]) -> _Candidates:
    dets, points = outputs
    flat = g.reshape(points, 0, 0, 3 * _k(card))
    return _Candidates(boxes=_columns(g, dets, 0, 4), scores=g.take(dets, 4, 2), points=flat, most=300)


def _yolox(g: Builder, card: Card, outputs: Sequence[str]) -> _Candidates:
    cell, stride = (g.floats(part[None]) for part in grid(card.size_px))
    centre = g.mul(g.add(_columns(g, outputs[0], 0, 2), cell), stride)
    size = g.mul(g("Exp", _columns(g, outputs[0], 2, 4)), stride)
    return _yolox_decoded(g, card, [g.join(centre, size, _columns(g, outputs[0], 4, 6 + card.person), axis=2)])


def _yolox_decoded(g: Builder, card: Card, outputs: Sequence[str]) -> _Candidates:
    (rows,) = outputs
    scores = g.mul(g.take(rows, 4, 2), g.take(rows, 5 + card.person, 2))
    return _Candidates(boxes=_corners(g, rows), scores=scores)


def _picodet(g: Builder, card: Card, outputs: Sequence[str]) -> _Candidates:
    scores, boxes = outputs
    return _Candidates(boxes=boxes, scores=g.take(scores, card.person, 1))


def _yolo(g: Builder, card: Card, outputs: Sequence[str]) -> _Candidates:
    rows = g("Transpose", outputs[0], perm=[0, 2, 1])
    return _Candidates(boxes=_corners(g, rows), scores=g.take(rows, 4 + card.person, 2))


def _yolo_pose(g: Builder, card: Card, outputs: Sequence[str]) -> _Candidates:
    rows = g("Transpose", outputs[0], perm=[0, 2, 1])
    begin = 4 + (card.classes or 1)
    points = _columns(g, rows, begin, begin + 3 * _k(card))
    return _Candidates(boxes=_corners(g, rows), scores=g.take(rows, 4 + card.person, 2), points=points)


def _yolo_end2end(g: Builder, card: Card, outputs: Sequence[str]) -> _Candidates:
    rows = outputs[0]
    scores = _of_people(g, card, g.take(rows, 4, 2), g.take(rows, 5, 2))
    return _Candidates(boxes=_columns(g, rows, 0, 4), scores=scores, once=True)


def _yolo_pose_end2end(g: Builder, card: Card, outputs: Sequence[str]) -> _Candidates:
    rows = outputs[0]
    scores = _of_people(g, card, g.take(rows, 4, 2), g.take(rows, 5, 2))
    points = _columns(g, rows, 6, 6 + 3 * _k(card))
    return _Candidates(boxes=_columns(g, rows, 0, 4), scores=scores, points=points, once=True)


HEADS: Mapping[str, Callable[[Builder, Card, Sequence[str]], _Candidates]] = {
    "rtmdet": _mmdeploy,
    "yolox-nms": _mmdeploy,
    "rtmo": _rtmo,
    "yolox": _yolox,
    "yolox-decoded": _yolox_decoded,
    "picodet": _picodet,
    "yolo": _yolo,
    "yolo-pose": _yolo_pose,
    "yolo-end2end": _yolo_end2end,
    "yolo-pose-end2end": _yolo_pose_end2end,
}
"""By family, as `DECODERS` of `boxes.py`."""


def _k(card: Card) -> int:
    return 0 if card.skeleton is None else len(card.skeleton)
