"""What a segmenter is asked with: boxes, points and outlines in a few frames; and words on what is in sight."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, QhullError

from streampose.clip import Moment
from streampose.pose import Poses
from streampose.skeletons import ANIMATION_20

__all__ = ["key_frames", "prompts", "words"]

# Nose, neck, shoulders, hips, ankles of `ANIMATION_20`: well inside a person.
_POINTS = (0, 1, 2, 5, 8, 11, 10, 13)
_LIMBS = {
    "right arm": (3, 4),
    "left arm": (6, 7),
    "right leg": (9, 10),
    "left leg": (12, 13),
}


def key_frames(count: int, wanted: int = 4) -> list[int]:
    """Which of so many frames: evenly spread, the first and the last among them."""
    return sorted({round(place) for place in np.linspace(0, count - 1, min(wanted, count)).tolist()}) if count else []


def prompts(again: Callable[[], Iterator[Moment]], *, wanted: int = 4, min_score: float = 0.3) -> dict[str, Any]:
    """Boxes, points and outlines of everybody in a few frames of a clip, of those with somebody in them.

    Args:
        again: gives the moments, from the first, at each call; read twice.
        wanted: so many frames.
        min_score: points below are left out.

    Returns:
        Plain data: ``{"frames": [{"frame", "time_s", "size_px", "people": [{"id", "box", "points", "labels", "names",
        "outline"}]}]}``. Coordinates are pixels; each point has the label 1 (inside); an outline is the convex hull of
        all body points, [] if there are too few.
    """

    def peopled() -> Iterator[Moment]:
        return (moment for moment in again() if len(moment.poses))

    places = set(key_frames(sum(1 for _ in peopled()), wanted))
    return {
        "frames": [
            {
                "frame": moment.index,
                "time_s": round(moment.time_s, 6),
                "size_px": list(moment.size_px),
                "people": [_person(moment.poses, row, min_score) for row in range(len(moment.poses))],
            }
            for place, moment in enumerate(peopled())
            if place in places
        ]
    }


def _person(poses: Poses, row: int, min_score: float) -> dict[str, Any]:
    body = poses.to(ANIMATION_20)
    points, seen = body.points[row], body.seen(min_score)[row]
    inside = [i for i in _POINTS if seen[i]]
    return {
        "id": None if poses.ids is None else int(poses.ids[row]),
        "box": poses.boxes[row].astype(float).round(2).tolist(),
        "points": points[inside].astype(float).round(2).tolist(),
        "labels": [1] * len(inside),
        "names": [ANIMATION_20.points[i] for i in inside],
        "outline": _hull(points[seen]).astype(float).round(2).tolist(),
    }


def _hull(points: NDArray[np.float32]) -> NDArray[np.float32]:
    if not len(points):
        return points
    try:
        return np.asarray(points[ConvexHull(points).vertices], np.float32)
    except QhullError:  # too few, or all on one line
        return points[:0]


def words(poses: Poses, *, min_score: float = 0.3) -> str:
    """Which arms and legs of the first person are in sight, for a text prompt."""
    if not len(poses):
        return "Nobody is in sight."
    seen = poses.to(ANIMATION_20).seen(min_score)[0]
    limbs = {name: all(seen[i] for i in points) for name, points in _LIMBS.items()}
    there, hidden = ([name for name, is_seen in limbs.items() if is_seen is wanted] for wanted in (True, False))
    if not hidden:
        return "Both arms and both legs are in sight."
    if not there:
        return "Neither arms nor legs are in sight."
    return f"In sight: {', '.join(there)}; not in sight: {', '.join(hidden)}."
