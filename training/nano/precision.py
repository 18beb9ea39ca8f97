"""How right boxes are on photos with labels."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from training.nano.album import Album

__all__ = ["Found", "average_precision", "best_threshold"]

Found: TypeAlias = list[tuple[NDArray[np.float32], NDArray[np.float32]]]
"""For each photo its boxes, (n, 4) corners in pixels, and their scores, (n,)."""


def average_precision(check: Album, found: Found) -> float:
    """At IoU 0.5, area under the curve; what lies in an ignored place counts for nothing."""
    _, right, kept, total = _curve(check, found)
    precision = np.maximum.accumulate((right / kept)[::-1])[::-1]
    return float((precision * np.diff(right, prepend=0)).sum() / max(total, 1))


def best_threshold(check: Album, found: Found) -> tuple[float, float] | None:
    """The score from which on boxes are worth keeping, and the F1 at IoU 0.5 there; `None` where nothing is right."""
    scores, right, kept, total = _curve(check, found)
    if not right.any():
        return None
    measure = 2 * right / (kept + total)
    best = int(np.argmax(measure))
    return float(scores[best]), float(measure[best])


def _curve(check: Album, found: Found) -> tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.intp], int]:
    """Each score that there is, how many boxes from it on are right and are kept; and how many people there are.

    Boxes of one score come in together: int8 models give few scores, and no order within one means anything.
    """
    hits, total = _judged(check, found)
    scores = np.array([score for score, _ in hits])
    last = np.flatnonzero(np.diff(scores, append=-1))
    return scores[last], np.cumsum([hit for _, hit in hits], dtype=np.intp)[last], last + 1, total


def _judged(check: Album, found: Found) -> tuple[list[tuple[float, bool]], int]:
    """Score of each box and whether a person is there (IoU 0.5, one box each), best first; and how many people are."""
    hits: list[tuple[float, bool]] = []
    total = 0
    for page, (boxes, scores) in zip(check.pages, found, strict=True):
        truth = [p.box for p in page.photo.people if page.photo.complete or p.score >= 0.45]
        total += len(truth)
        free = list(range(len(truth)))
        for box, score in sorted(zip(boxes, scores, strict=True), key=lambda r: -r[1]):
            overlaps = {i: _one_iou(box, truth[i]) for i in free}
            best = max(overlaps, key=overlaps.__getitem__, default=None)
            if best is not None and overlaps[best] >= 0.5:
                free.remove(best)
                hits.append((float(score), True))
            elif not any(_inside(box, other) > 0.5 for other in page.photo.ignore):
                hits.append((float(score), False))
    hits.sort(reverse=True)
    return hits, total


def _one_iou(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    inside = float(np.prod(np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None)))
    return inside / (float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - inside + 1e-6)


def _inside(box: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    inside = float(np.prod(np.clip(np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2]), 0, None)))
    return inside / max(float(np.prod(box[2:] - box[:2])), 1e-6)
