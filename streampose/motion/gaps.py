"""People and points that are missing for a moment, between two sightings."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from streampose.clip import Moment
from streampose.pose import Poses, Skeleton

__all__ = ["fill"]

Floats: TypeAlias = NDArray[np.floating[Any]]

# Differences of times are rounded: at 10 frames a second a gap of 0.3 s may be 0.30000000000000004.
_ROUNDING_S = 1e-6


@dataclass(slots=True)
class _Known:
    """What was last known of one person: box and points, each with its time."""

    time_s: float
    box: Floats
    box_score: float
    point_s: Floats
    points: Floats
    scores: Floats


def fill(moments: Iterable[Moment], *, max_gap_s: float = 0.5, min_score: float = 0.3) -> Iterator[Moment]:
    """Put in people and points that are missing for a short while, on straight lines in time.

    What is put in scores as the weaker of its two ends. What was seen is passed on as it is; nothing is put in before
    somebody is first seen in an epoch, or after the last time. It looks ahead by `max_gap_s`, and holds no more than
    that.

    Args:
        moments: in order, with ids; those without ids are passed on.
        max_gap_s: longer gaps stay, in media time.
        min_score: a point below it is missing.
    """
    # Ids of different epochs are different people, and points of different skeletons are different points: each by
    # itself.
    for _, alike in groupby(moments, key=lambda moment: (moment.epoch, moment.poses.skeleton)):
        filler = _Filler(max_gap_s + _ROUNDING_S, min_score)
        window = filler.window
        for moment in alike:
            window.append(moment)
            while moment.time_s - window[0].time_s > filler.max_gap_s:
                yield filler.next()
        while window:
            yield filler.next()


class _Filler:
    """What comes, as far as it is known, and who was there."""

    def __init__(self, max_gap_s: float, min_score: float) -> None:
        self.window: deque[Moment] = deque()
        self._known: dict[int, _Known] = {}
        self.max_gap_s, self._min_score = max_gap_s, min_score

    def next(self) -> Moment:
        """The first moment of the window, whole; it is taken out, and what it shows becomes known."""
        moment = self.window.popleft()
        poses, now_s = moment.poses, moment.time_s
        for person in [p for p, past in self._known.items() if now_s - past.time_s > self.max_gap_s]:
            del self._known[person]
        if poses.ids is None and len(poses):
            return moment
        rows = {} if poses.ids is None else {person: row for row, person in enumerate(poses.ids.tolist())}
        points, scores = poses.points.copy(), poses.scores.copy()
        for person, row in rows.items():
            if person in self._known:
                self._fill_points(points[row], scores[row], person, now_s)
        people = [(int(p), poses.boxes[r], float(poses.box_scores[r]), points[r], scores[r]) for p, r in rows.items()]
        for person in self._known:
            if person not in rows and (new := self._between(person, now_s)) is not None:
                people.append((person, *new))
        _remember(self._known, poses, rows, now_s, self._min_score)
        return moment.having(_joined(poses.skeleton, people))

    def _later(self, person: int) -> Iterator[tuple[float, Poses, int]]:
        """When and where the person is seen again: time, people, row."""
        for later in self.window:
            ids = later.poses.ids
            if ids is not None and len(found := np.flatnonzero(ids == person)):
                yield later.time_s, later.poses, int(found[0])

    def _fill_points(self, points: Floats, scores: Floats, person: int, now_s: float) -> None:
        """In place: (k, 2) and (k,) of somebody of whom not every point is seen."""
        past = self._known[person]
        wanted = (scores < self._min_score) & (past.scores >= self._min_score)
        for later_s, later, row in self._later(person):
            if not wanted.any():
                return
            fits = wanted & (later.scores[row] >= self._min_score)
            near = fits & (later_s - past.point_s <= self.max_gap_s)
            share = ((now_s - past.point_s[near]) / (later_s - past.point_s[near]))[:, None]
            points[near] = past.points[near] + share * (later.points[row][near] - past.points[near])
            scores[near] = np.minimum(past.scores[near], later.scores[row][near])
            wanted &= ~fits

    def _between(self, person: int, now_s: float) -> tuple[Floats, float, Floats, Floats] | None:
        """Somebody who is not seen now: box, its score, points, scores; `None` = the gap is too long."""
        past, again = self._known[person], next(self._later(person), None)
        if again is None or again[0] - past.time_s > self.max_gap_s:
            return None
        later_s, later, row = again
        box = past.box + (now_s - past.time_s) / (later_s - past.time_s) * (later.boxes[row] - past.box)
        points, scores = past.points.copy(), np.zeros_like(past.scores)
        self._fill_points(points, scores, person, now_s)
        return box, min(past.box_score, float(later.box_scores[row])), points, scores


def _remember(known: dict[int, _Known], poses: Poses, rows: dict[int, int], now_s: float, min_score: float) -> None:
    for person, row in rows.items():
        good = poses.scores[row] >= min_score
        past = known.get(person)
        if past is None:
            when = np.full(len(good), -np.inf)
            past = known[person] = _Known(
                now_s, poses.boxes[row], 0.0, when, poses.points[row].copy(), np.zeros(len(good), np.float32)
            )
        past.time_s, past.box, past.box_score = now_s, poses.boxes[row], float(poses.box_scores[row])
        past.point_s[good] = now_s
        past.points[good] = poses.points[row][good]
        past.scores[good] = poses.scores[row][good]


def _joined(skeleton: Skeleton, people: list[tuple[int, Floats, float, Floats, Floats]]) -> Poses:
    if not people:
        return replace(Poses.empty(skeleton), ids=np.zeros(0, np.int64))
    ids, boxes, box_scores, points, scores = zip(*people, strict=True)
    return Poses(
        skeleton=skeleton,
        points=np.stack(points).astype(np.float32),
        scores=np.stack(scores).astype(np.float32),
        boxes=np.stack(boxes).astype(np.float32),
        box_scores=np.array(box_scores, np.float32),
        ids=np.array(ids, np.int64),
    )
