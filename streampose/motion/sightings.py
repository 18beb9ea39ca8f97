"""From when to when each person is seen, and which of these belong to one person."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from streampose.clip import Moment

__all__ = ["Sighting", "link", "renamed", "survey"]

Floats = NDArray[np.floating[Any]]


@dataclass(slots=True, kw_only=True)
class Sighting:
    """One person, as far as tracking followed them."""

    id: int
    first_s: float
    last_s: float
    first_box: Floats
    """(4,) x1 y1 x2 y2 pixels."""
    last_box: Floats
    frames: int = 0
    area: float = 0.0
    """Sum over the frames of the box's share of the picture."""
    off_centre: float = 0.0
    """Sum over the frames of the distance of the box's middle from the picture's, in half diagonals."""
    breaks: list[tuple[float, float]] = field(default_factory=list)
    """Media times (last seen, seen again) of each span in between in which frames went by without them."""


def survey(moments: Iterable[Moment]) -> dict[int, Sighting]:
    """Who is seen when. Takes memory by people, not by frames.

    Args:
        moments: in order, with ids; moments without any are passed over.
    """
    found: dict[int, Sighting] = {}
    before_s: float | None = None
    for moment in moments:
        poses = moment.poses
        size = np.array(moment.size_px, float)
        for person, box in zip(poses.ids.tolist(), poses.boxes, strict=True) if poses.ids is not None else ():
            seen = found.get(person)
            if seen is None:
                seen = Sighting(
                    id=person, first_s=moment.time_s, last_s=moment.time_s, first_box=box.copy(), last_box=box.copy()
                )
                found[person] = seen
            elif before_s is not None and seen.last_s < before_s:
                seen.breaks.append((seen.last_s, moment.time_s))
            seen.last_s, seen.last_box = moment.time_s, box.copy()
            seen.frames += 1
            seen.area += float(np.prod(np.maximum(box[2:] - box[:2], 0) / size))
            seen.off_centre += float(np.linalg.norm((box[:2] + box[2:]) / 2 - size / 2) / (np.linalg.norm(size) / 2))
        before_s = moment.time_s
    return found


def link(found: Mapping[int, Sighting], *, max_gap_s: float = 2.0, reach: float = 0.75) -> dict[int, int]:
    """Which ids are the same person, lost for a while and found again.

    Somebody who vanishes and somebody who appears later, near there and about as large, are taken for one. Which pairs
    there are is decided for all of the clip at once, so that nobody is given to two.

    Args:
        found: from `survey`.
        max_gap_s: for how long somebody may be away.
        reach: how far they may have come, in sizes (the box's longer side), and as much again for each second.

    Returns:
        For each id the one that it goes on from: the earliest; its own where it is nobody's continuation.
    """
    people = list(found.values())
    if len(people) < 2:
        return {person: person for person in found}
    ends, starts = np.array([p.last_s for p in people]), np.array([p.first_s for p in people])
    gap_s = starts[None] - ends[:, None]
    old, new = np.stack([p.last_box for p in people]), np.stack([p.first_box for p in people])
    old_size, new_size = ((b[:, 2:] - b[:, :2]).max(axis=1).clip(1) for b in (old, new))
    centres = [(b[:, :2] + b[:, 2:]) / 2 for b in (old, new)]
    size = np.sqrt(old_size[:, None] * new_size[None])
    away = np.linalg.norm(centres[0][:, None] - centres[1][None], axis=2) / size
    scale = np.abs(np.log2(old_size[:, None] / new_size[None]))
    allowed = (gap_s > 0) & (gap_s <= max_gap_s) & (away <= reach * (1 + gap_s)) & (scale <= 1)
    # Nearness is what is won by a pair; a pair that is not allowed wins nothing.
    won = np.where(allowed, 2 - away / (reach * (1 + gap_s.clip(0))) - scale / 2, 0)
    before: dict[int, int] = {}
    for i, j in zip(*linear_sum_assignment(won, maximize=True), strict=True):
        if won[i, j] > 0:
            before[people[j].id] = people[i].id
    roots = {}
    for person in found:
        root = person
        while root in before:
            root = before[root]
        roots[person] = root
    return roots


def renamed(moments: Iterable[Moment], names: Mapping[int, int]) -> Iterator[Moment]:
    """The moments with other ids; of two people who would have one id in a frame, the surer one stays."""
    for moment in moments:
        poses = moment.poses
        if poses.ids is None or not len(poses):
            yield moment
            continue
        ids = np.array([names.get(person, person) for person in poses.ids.tolist()], np.int64)
        order = np.argsort(-poses.box_scores, kind="stable")
        _, first = np.unique(ids[order], return_index=True)
        keep = np.sort(order[first])
        yield moment.having(replace(poses, ids=ids).take(keep))
