"""Tables: one row a person, one column a number. A frame with nobody in it has one row, without a person."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from streampose.clip import Moment, of_one_skeleton
from streampose.errors import FormatUnreadable
from streampose.formats.validity import checked, floats, points_and_scores
from streampose.pose import Poses, Skeleton
from streampose.skeletons import SKELETONS, skeleton_of

__all__ = ["columns", "moments_of", "read_csv", "rows_of", "write_csv"]

_FRAME = ("stream", "frame", "epoch", "pts", "time_base", "time_s", "width_px", "height_px", "skeleton")
_PERSON = ("id", "score", "x1", "y1", "x2", "y2")


def columns(skeleton: Skeleton) -> list[str]:
    """The names of all columns: of the frame, of the person, then x, y and score of each point by its name."""
    return [*_FRAME, *_PERSON, *(f"{point}_{part}" for point in skeleton.points for part in ("x", "y", "score"))]


def rows_of(moment: Moment) -> list[list[Any]]:
    """One moment's rows; numbers are rounded as in our JSON Lines, and `None` is not there."""
    poses = moment.poses
    frame: list[Any] = [
        moment.stream,
        moment.index,
        moment.epoch,
        moment.pts,
        f"{moment.time_base.numerator}/{moment.time_base.denominator}",
        round(moment.time_s, 6),
        *moment.size_px,
        poses.skeleton.name,
    ]
    if not len(poses):
        return [frame + [None] * (len(_PERSON) + 3 * len(poses.skeleton))]
    points = np.dstack([poses.points.astype(float).round(2), poses.scores.astype(float).round(4)])
    flat = points.reshape(len(poses), -1).tolist()
    boxes = poses.boxes.astype(float).round(2).tolist()
    scores = poses.box_scores.astype(float).round(4).tolist()
    ids = [None] * len(poses) if poses.ids is None else poses.ids.tolist()
    return [[*frame, ids[i], scores[i], *boxes[i], *flat[i]] for i in range(len(poses))]


def moments_of(rows: Iterable[Mapping[str, Any]], where: str) -> Iterator[Moment]:
    """Rows by column, as numbers or as texts, back to moments.

    Raises:
        FormatUnreadable: a column is missing, or holds what it cannot.
    """
    try:
        for _, group in groupby(rows, key=lambda row: (row["stream"], row["epoch"], row["frame"])):
            yield checked(_moment(list(group)))
    except FormatUnreadable as error:
        raise FormatUnreadable(f"{where}: {error}") from error
    except (LookupError, ValueError, TypeError, ArithmeticError, csv.Error) as error:
        raise FormatUnreadable(f"{where} is not a table of poses: {type(error).__name__} {error}") from error


def _moment(group: list[Mapping[str, Any]]) -> Moment:
    first = group[0]
    skeleton = _skeleton(first)
    people = [row for row in group if row["score"] not in {None, ""}]
    names = columns(skeleton)[len(_FRAME) + len(_PERSON) :]
    table = floats([[float(row[name]) for name in names] for row in people])
    points, scores = points_and_scores(table.reshape(len(people), len(skeleton), 3))
    ids = [row["id"] for row in people]
    return Moment(
        stream=first["stream"],
        index=int(first["frame"]),
        epoch=int(first["epoch"]),
        pts=int(first["pts"]),
        time_base=Fraction(first["time_base"]),
        size_px=(int(first["width_px"]), int(first["height_px"])),
        poses=Poses(
            skeleton=skeleton,
            points=points,
            scores=scores,
            boxes=floats([[float(row[c]) for c in ("x1", "y1", "x2", "y2")] for row in people]).reshape(-1, 4),
            box_scores=floats([float(row["score"]) for row in people]),
            ids=None if any(i in {None, ""} for i in ids) else np.array([int(i) for i in ids], np.int64),
        ),
    )


def _skeleton(row: Mapping[str, Any]) -> Skeleton:
    """The known one of its name, if its points are the columns', in whatever order; else one of its own."""
    name, points = row["skeleton"], _points(tuple(row))
    known = SKELETONS.get(name)
    if points is None or (known is not None and set(known.points) == set(points)):
        return skeleton_of(name)
    return skeleton_of(name, points)


# Every frame's row has the same.
@lru_cache(4)
def _points(row: tuple[str, ...]) -> tuple[str, ...] | None:
    """The names of the points, as the columns have them; `None` = they are not such columns."""
    names = tuple(str(column).removesuffix("_x") for column in row[len(_FRAME) + len(_PERSON) :: 3])
    return names if names and list(row) == columns(Skeleton(name="", points=names, edges=())) else None


def write_csv(path: Path, moments: Iterable[Moment]) -> None:
    """With a first line of names; of a file without moments, nothing.

    Raises:
        FormatUnreadable: the moments have several skeletons.
    """
    with path.open("w", encoding="utf-8", newline="") as file:
        writer, begun = csv.writer(file), False
        for moment in of_one_skeleton(moments):
            if not begun:
                writer.writerow(columns(moment.poses.skeleton))
                begun = True
            writer.writerows(rows_of(moment))


def read_csv(path: Path) -> Iterator[Moment]:
    """Moments of a table that `write_csv` has written.

    Raises:
        FormatUnreadable: it is another table, or breaks off.
    """
    with path.open(encoding="utf-8", newline="") as file:
        yield from moments_of(_whole_rows(csv.DictReader(file)), str(path))


def _whole_rows(reader: csv.DictReader[str]) -> Iterator[dict[str, str]]:
    names = reader.fieldnames  # None of an empty file, which is an empty clip
    if names is not None and (missing := [name for name in (*_FRAME, *_PERSON) if name not in names]):
        raise FormatUnreadable(f"not a table of poses: it has no column {missing[0]!r}")
    for row in reader:
        if None in row.values():
            there = sum(value is not None for value in row.values())
            raise FormatUnreadable(f"line {reader.line_num} breaks off: it has {there} of {len(row)} columns")
        yield row
