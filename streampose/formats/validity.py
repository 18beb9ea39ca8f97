"""What is read of files is believed only where it can be."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from streampose.clip import Moment

__all__ = ["checked", "points_and_scores"]

# Of 64 bits, as tables and archives have them.
_MOST = 2**63 - 1


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
        TypeError: the stream's name is no text.
    """
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
    if not (np.isfinite(moment.poses.boxes).all() and np.isfinite(moment.poses.box_scores).all()):
        raise ValueError("a box, or its score, is no number")
    return moment
