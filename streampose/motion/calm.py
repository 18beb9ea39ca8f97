"""Smoothing that sees both what was and what comes, so that nothing lags."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from streampose.clip import Moment

__all__ = ["calm"]

Floats: TypeAlias = NDArray[np.floating[Any]]

# From here on neighbours count for nothing.
_REACH = 3.0


def calm(moments: Iterable[Moment], *, sigma_s: float = 0.04, min_score: float = 0.3) -> Iterator[Moment]:
    """Smooth every point of everybody over time, without lag.

    Each point is put on the straight line that fits its neighbours in time best (local linear regression with weights
    that fall like a Gaussian's): what moves evenly is not changed at all, and the same clip played backwards gives the
    same points. It looks ahead by three sigma, and holds no more than that on either side. Times count, not frame
    numbers.

    Args:
        moments: in order, with ids; those without ids are passed on.
        sigma_s: how far neighbours count, in media time: higher = calmer. 0 = not at all.
        min_score: a point below it is passed on as it is, and moves nothing.
    """
    if sigma_s <= 0:
        yield from moments
        return
    for _, epoch in groupby(moments, key=lambda moment: moment.epoch):
        yield from _each_calmed(epoch, sigma_s, min_score)


def _each_calmed(moments: Iterable[Moment], sigma_s: float, min_score: float) -> Iterator[Moment]:
    """Of one epoch: the next one's times may begin anew, and nothing of it would ever be out of reach."""
    reach_s = _REACH * sigma_s
    window: deque[Moment] = deque()
    place = 0  # of the next one to give out
    for moment in moments:
        window.append(moment)
        while moment.time_s - window[place].time_s > reach_s:
            yield _calmed(window, place, sigma_s, min_score)
            place += 1
            while window[place].time_s - window[0].time_s > reach_s:
                window.popleft()
                place -= 1
    while place < len(window):
        yield _calmed(window, place, sigma_s, min_score)
        place += 1


def _calmed(window: Sequence[Moment], place: int, sigma_s: float, min_score: float) -> Moment:
    moment = window[place]
    poses = moment.poses
    if poses.ids is None or not len(poses):
        return moment
    near = [m for m in window if m.poses.skeleton == poses.skeleton]
    points, boxes = poses.points.copy(), poses.boxes.copy()
    for row, person in enumerate(poses.ids.tolist()):
        seen = [(m, int(r)) for m in near if m.poses.ids is not None for r in np.flatnonzero(m.poses.ids == person)]
        since_s = np.array([m.time_s - moment.time_s for m, _ in seen])
        # Near a Gaussian, but 0 at the reach, so that it does not matter which side of it a neighbour is rounded to.
        kernel = (1 - (since_s / (_REACH * sigma_s)) ** 2).clip(0) ** 3
        scores = np.stack([m.poses.scores[r] for m, r in seen])
        trusted = poses.scores[row] >= min_score
        fitted = _fit(since_s, kernel[:, None] * (scores >= min_score), np.stack([m.poses.points[r] for m, r in seen]))
        points[row][trusted] = fitted[trusted]
        corners = np.stack([m.poses.boxes[r].reshape(2, 2) for m, r in seen])
        boxes[row] = _fit(since_s, np.repeat(kernel[:, None], 2, axis=1), corners).reshape(4)
    return moment.having(replace(poses, points=points, boxes=boxes))


def _fit(since_s: Floats, weights: Floats, values: Floats) -> Floats:
    """Where straight lines through (m, k, 2) values of m times, weighted (m, k), are at time 0: (k, 2)."""
    when = since_s[:, None]
    total, first, second = (np.asarray((weights * when**power).sum(axis=0)) for power in range(3))
    plain = np.einsum("mk,mkd->kd", weights, values)
    leaning = np.einsum("mk,mkd->kd", weights * when, values)
    det = total * second - first**2
    # One neighbour, or several at one time, have no direction: then it is their mean.
    lined = det > 1e-9 * total * second
    safe = np.where(lined, det, 1)[:, None]
    line = (second[:, None] * plain - first[:, None] * leaning) / safe
    mean = plain / np.maximum(total, 1e-12)[:, None]
    return np.asarray(np.where(lined[:, None], line, mean))
