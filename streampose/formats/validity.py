"""What is read of files is believed only where it can be, and nothing else is written."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streampose.clip import Moment
from streampose.errors import FormatUnreadable
from streampose.number import is_number, is_whole
from streampose.pose import Poses, Skeleton

__all__ = ["checked", "floats", "holdable", "points_and_scores", "shares_points"]

# Of 64 bits, as tables and archives have them.
_MOST = 2**63 - 1


def shares_points(skeleton: Skeleton, other: Skeleton, whose: str) -> None:
    """See that a format which maps people to another skeleton has something of them to write.

    Raises:
        FormatUnreadable: it has none of the other one's points.
    """
    if not any(skeleton.map_to(other)):
        raise FormatUnreadable(f"{skeleton.name} has none of {whose} {len(other)} points: write another format")


def floats(numbers: object) -> NDArray[np.float32]:
    """As an array of 32 bits; what is too large for them is infinite there."""
    with np.errstate(over="ignore"):
        return np.asarray(numbers, np.float32)


def points_and_scores(table: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(n, k, 3) parted to (n, k, 2) and (n, k); what is no number is not known, as OpenPose says it: 0, 0, 0."""
    finite = np.isfinite(table)
    if not finite.all():
        table[~finite.all(axis=2)] = 0
    return np.ascontiguousarray(table[..., :2]), np.ascontiguousarray(table[..., 2])


def checked(moment: Moment) -> Moment:
    """The same moment, if every format could hold it.

    Raises:
        ValueError: something is no number that there can be.
        TypeError: the stream's name is no text, or a unit of time no fraction.
    """
    if not isinstance(moment.time_base, Fraction):
        raise TypeError(f"time_base is a Fraction, not {moment.time_base!r:.40}")
    (width, height), (numerator, denominator) = moment.size_px, moment.time_base.as_integer_ratio()
    for name, number, least in (
        ("frame", moment.index, -_MOST),
        ("epoch", moment.epoch, -_MOST),
        ("pts", moment.pts, -_MOST),
        ("time_base", numerator, -_MOST),
        ("time_base", denominator, 1),
        ("size_px", width, 0),
        ("size_px", height, 0),
    ):
        if type(number) is not int or not least <= number <= _MOST:
            raise ValueError(f"{name} {number!r:.40} is no whole number that can be")
    if not isinstance(moment.stream, str):
        raise TypeError(f"stream is a text, not {moment.stream!r:.40}")
    moment.stream.encode()  # no halves of a sign
    wall_s = moment.wall_time_s
    if wall_s is not None and not (type(wall_s) in {int, float} and math.isfinite(wall_s)):
        raise ValueError(f"wall_time_s is a number, not {wall_s!r:.40}")
    poses = moment.poses
    if not (np.isfinite(floats(poses.boxes)).all() and np.isfinite(floats(poses.box_scores)).all()):
        raise ValueError("a box, or its score, is no number")
    if poses.ids is not None and len(poses) and (most := int(poses.ids.max())) > _MOST:
        raise ValueError(f"an id is at most {_MOST}, not {most}")
    return moment


def holdable(moment: object) -> Moment:
    """The same moment as every format takes it: NumPy's numbers are Python's, and a point that is none is not known.

    Raises:
        FormatUnreadable: it is no `Moment`, or has what no format could hold.
    """
    if not isinstance(moment, Moment):
        raise FormatUnreadable(f"what is written is a Moment (a result's is its `moment`), not {type(moment).__name__}")
    poses, wall_s = moment.poses, moment.wall_time_s
    if not isinstance(poses, Poses):
        raise FormatUnreadable(
            f"frame {moment.index} has no Poses, but {poses!r:.40}: of nobody, Poses.empty(skeleton)"
        )
    known = np.isfinite(floats(poses.points)).all(axis=2) & np.isfinite(floats(poses.scores))
    if not known.all():
        points, scores = np.where(known[..., None], poses.points, 0), np.where(known, poses.scores, 0)
        poses = replace(poses, points=points, scores=scores)
    try:
        width, height = moment.size_px
        plain = replace(
            moment,
            index=_plain(moment.index),
            epoch=_plain(moment.epoch),
            pts=_plain(moment.pts),
            size_px=(_plain(width), _plain(height)),
            poses=poses,
            wall_time_s=float(wall_s) if wall_s is not None and is_number(wall_s) else wall_s,
        )
        return checked(plain)
    except (TypeError, ValueError) as error:
        raise FormatUnreadable(f"frame {moment.index} cannot be written: {error}") from error


def _plain(number: Any) -> Any:
    return int(number) if is_whole(number) else number
