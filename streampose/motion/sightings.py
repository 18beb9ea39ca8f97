"""From when to when each person is seen, and which of these belong to one person."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from streampose.clip import Moment

__all__ = ["Sighting", "Who", "link", "renamed", "survey"]

Who = tuple[int, int]
"""An epoch, and an id in it: ids of different epochs are different people."""

Floats = NDArray[np.floating[Any]]
Rows = NDArray[np.integer[Any]]


@dataclass(slots=True, kw_only=True)
class Sighting:
    """One person, as far as tracking followed them."""

    id: int
    epoch: int = 0
    first_s: float
    last_s: float
    first_box: Floats
    """(4,) x1 y1 x2 y2 pixels."""
    last_box: Floats
    frames: int = 0
    area: float = 0.0
    """Sum over the frames of the box's share of the picture; square pixels, if that is of unknown size."""
    off_centre: float = 0.0
    """Sum over the frames of the distance of the box's middle from the picture's, in half diagonals; NaN, if
    that is of unknown size."""
    breaks: list[tuple[float, float]] = field(default_factory=list)
    """Media times (last seen, seen again) of each span in between in which frames went by without them."""


def survey(moments: Iterable[Moment]) -> dict[Who, Sighting]:
    """Who is seen when. Takes memory by people, not by frames.

    Args:
        moments: in order, with ids; moments without any are passed over.

    Returns:
        Everybody by epoch and id.
    """
    found: dict[Who, Sighting] = {}
    before_s: float | None = None
    for moment in moments:
        poses = moment.poses
        # Poses that do not know their picture (OpenPose's) are compared in pixels; nobody knows where its middle is.
        known = min(moment.size_px) > 0
        size = np.array(moment.size_px if known else (1, 1), float)
        for person, box in zip(poses.ids.tolist(), poses.boxes, strict=True) if poses.ids is not None else ():
            seen = found.get((moment.epoch, person))
            if seen is None:
                seen = found[moment.epoch, person] = Sighting(
                    id=person,
                    epoch=moment.epoch,
                    first_s=moment.time_s,
                    last_s=moment.time_s,
                    first_box=box.copy(),
                    last_box=box.copy(),
                )
            elif before_s is not None and seen.last_s < before_s:
                seen.breaks.append((seen.last_s, moment.time_s))
            seen.last_s, seen.last_box = moment.time_s, box.copy()
            seen.frames += 1
            seen.area += float(np.prod(np.maximum(box[2:] - box[:2], 0) / size))
            away = float(np.linalg.norm((box[:2] + box[2:]) / 2 - size / 2) / (np.linalg.norm(size) / 2))
            seen.off_centre += away if known else math.nan
        before_s = moment.time_s
    return found


def link(found: Mapping[Who, Sighting], *, max_gap_s: float = 2.0, reach: float = 0.75) -> dict[Who, int]:
    """Which ids of an epoch are the same person, lost for a while and found again.

    Somebody who vanishes and somebody who appears later, near there and about as large, are taken for one. Which pairs
    there are is decided for all of the clip at once, so that nobody is given to two.

    Args:
        found: from `survey`.
        max_gap_s: for how long somebody may be away; 0 = nobody is linked.
        reach: how far they may have come, in sizes (the box's longer side), and as much again for each second.

    Returns:
        For each epoch and id the id that it goes on from: the earliest; its own where it is nobody's continuation.
    """
    keys, people = list(found), list(found.values())
    before: dict[Who, Who] = {}
    for rows, columns, won in _candidates(people, max_gap_s, reach):
        for i, j in zip(*linear_sum_assignment(won, maximize=True), strict=True):
            if won[i, j] > 0:
                before[keys[columns[j]]] = keys[rows[i]]
    roots = {}
    for key in keys:
        root = key
        while root in before:
            root = before[root]
        roots[key] = found[root].id
    return roots


def _candidates(people: Sequence[Sighting], max_gap_s: float, reach: float) -> Iterator[tuple[Rows, Rows, Floats]]:
    """Who may go on from whom, in groups that have nothing to do with one another, so that each is small.

    Yields:
        (n,) who goes, (m,) who comes, and (n, m) what each pair wins by nearness; 0 = it is not allowed.
    """
    if len(people) < 2 or max_gap_s <= 0:
        return
    ends, starts = np.array([p.last_s for p in people]), np.array([p.first_s for p in people])
    order = np.argsort(starts, kind="stable")
    low, high = (np.searchsorted(starts[order], ends + gap_s, "right") for gap_s in (0.0, max_gap_s))
    counts = high - low
    goes = np.repeat(np.arange(len(people)), counts)
    comes = order[np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts - low, counts)]
    gap_s = starts[comes] - ends[goes]
    old, new = np.stack([p.last_box for p in people])[goes], np.stack([p.first_box for p in people])[comes]
    old_size, new_size = ((b[:, 2:] - b[:, :2]).max(axis=1).clip(1) for b in (old, new))
    away = np.linalg.norm(old[:, :2] + old[:, 2:] - new[:, :2] - new[:, 2:], axis=1) / 2 / np.sqrt(old_size * new_size)
    scale = np.abs(np.log2(old_size / new_size))
    epochs = np.array([p.epoch for p in people])
    allowed = (epochs[goes] == epochs[comes]) & (gap_s > 0) & (away <= reach * (1 + gap_s)) & (scale <= 1)
    won = (2 - away / (reach * (1 + gap_s)) - scale / 2)[allowed]
    goes, comes = goes[allowed], comes[allowed]
    # Somebody who goes and somebody who comes are knots of their own, also where they are one person.
    links = coo_array((won, (goes, comes + len(people))), shape=(2 * len(people),) * 2)
    _, labels = connected_components(links, directed=False)
    order = np.argsort(labels[goes], kind="stable")
    for group in np.split(order, np.flatnonzero(np.diff(labels[goes][order])) + 1) if len(order) else ():
        rows, i = np.unique(goes[group], return_inverse=True)
        columns, j = np.unique(comes[group], return_inverse=True)
        table = np.zeros((len(rows), len(columns)))
        table[i, j] = won[group]
        yield rows, columns, table


def renamed(moments: Iterable[Moment], names: Mapping[Who, int]) -> Iterator[Moment]:
    """The moments with other ids; of two people who would have one id in a frame, the surer one stays."""
    for moment in moments:
        poses = moment.poses
        if poses.ids is None or not len(poses):
            yield moment
            continue
        ids = np.array([names.get((moment.epoch, person), person) for person in poses.ids.tolist()], np.int64)
        order = np.argsort(-poses.box_scores, kind="stable")
        _, first = np.unique(ids[order], return_index=True)
        keep = np.sort(order[first])
        yield moment.having(replace(poses, ids=ids).take(keep))
