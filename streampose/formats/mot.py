"""MOTChallenge text: where everybody is, by id."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from streampose.clip import Moment, of_one_stream

__all__ = ["write_mot"]


def write_mot(path: Path, moments: Iterable[Moment]) -> None:
    """A line a person: frame (from 1), id, left, top, width, height, score, -1, -1, -1. Who has no id is left out.

    Raises:
        FormatUnreadable: the moments are of several streams.
    """
    with path.open("w", encoding="ascii") as file:
        for moment in of_one_stream(moments):
            poses = moment.poses
            for person, (x1, y1, x2, y2), score in zip(
                [] if poses.ids is None else poses.ids.tolist(),
                poses.boxes.tolist(),
                poses.box_scores.tolist(),
                strict=poses.ids is not None,
            ):
                # MOT counts from the corner of the first pixel as (1, 1); ours is its centre at (0, 0).
                place = f"{x1 + 1:.2f},{y1 + 1:.2f},{x2 - x1:.2f},{y2 - y1:.2f}"
                file.write(f"{moment.index + 1},{person},{place},{score:.4f},-1,-1,-1\n")
