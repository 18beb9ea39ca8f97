"""Cuts: where a recording's pictures change from one to the next as none around them do."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from streampose.frame import Image

__all__ = ["Thumbnail", "find_cuts", "thumbnail"]

Thumbnail: TypeAlias = NDArray[np.uint8]
"""(256,), a picture in grey."""

_SIDE_PX = 16
_SAMPLED_PX = 128  # of a side; to look at every pixel took 7 ms of 1080p, to look at these 0.06
# Pictures looked at before and after a cut: a shorter shot is not told from a flash.
_AROUND = 4
# 0 = alike but for their light, 1 = nothing in common. A cut is at least so much, and so many times what comes around
# it. Six clips, also with every 2nd to 10th frame alone, have 0.56 at most, and where it is that much at most 2.6 times
# what is around; cuts between their views have 0.36 and more, at least 270 times what is around, of every 10th frame 10
# times. Two views that look alike have 0.16 at most.
_UNLIKE = 0.2
_TIMES = 4.0
# A standard deviation, in levels of grey: what varies less has nothing to be compared by, as black between two shots.
_FLAT = 4.0
# Levels of grey of a pixel: pictures none of whose differ by more are one that is held, as of a slow camera in a faster
# file; encoded anew they differ by 1. One is held for about as long as those before it, and no more than so many
# frames more: else it is a still shot, as a title. Of 263 shots of 12 frames that were cut from six clips 3 are missed;
# to hold every picture for 15 frames missed 37, and made as many false cuts of slow cameras.
_SAME = 2
_HELD = 15


def thumbnail(image: Image) -> Thumbnail:
    """What a picture is compared by."""
    sampled = cv2.resize(image, (_SAMPLED_PX, _SAMPLED_PX), interpolation=cv2.INTER_LINEAR)
    small = cv2.resize(sampled, (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), np.uint8).ravel()


def find_cuts(thumbnails: Iterable[tuple[int, Thumbnail | None]]) -> set[int]:
    """The numbers of the frames that begin a shot after a cut.

    What moves fast changes from step to step; a flash changes back. Neither is a cut, and no dissolve is. Black between
    two shots belongs to the first, and a picture that is held as those before it are counts as one.

    Args:
        thumbnails: in order, each with the number of its frame; `None` = not known, so there is no cut.
    """
    found: set[int] = set()
    numbers, pictures = deque[int](maxlen=2 * _AROUND), deque[NDArray[np.float32]](maxlen=2 * _AROUND)
    last, held = None, 0
    holds = deque([_HELD], maxlen=2 * _AROUND)
    for number, picture in thumbnails:
        if picture is None:
            pictures.clear()
            last = None
            continue
        if picture.std() < _FLAT:
            continue
        if last is not None and _is_same(last, picture):
            held += 1
            if held <= min(_HELD, 2 * max(holds) + 1):  # one more, as some cameras now and then give a picture twice
                continue
        else:
            holds.append(held)
            held = 0
        last = picture
        numbers.append(number)
        pictures.append(_plain(picture))
        if len(pictures) == 2 * _AROUND and _is_cut(list(pictures)[:_AROUND], list(pictures)[_AROUND:]):
            found.add(numbers[_AROUND])
    return found


def _is_same(a: Thumbnail, b: Thumbnail) -> bool:
    return bool(np.abs(a - b.astype(np.int16)).max() <= _SAME)


def _is_cut(before: Sequence[NDArray[np.float32]], after: Sequence[NDArray[np.float32]]) -> bool:
    if _unlike(before[-1], after[0]) < _UNLIKE:
        return False
    across = min(_unlike(a, b) for a in before[-2:] for b in after[:2])
    within = max(_unlike(a, b) for side in (before, after) for a, b in pairwise(side))
    return across >= max(_UNLIKE, _TIMES * within)


def _plain(picture: Thumbnail) -> NDArray[np.float32]:
    """Without its brightness."""
    return np.asarray(picture - picture.mean(), np.float32)


def _unlike(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """1 less the correlation."""
    floor = len(a) * _FLAT**2
    return 1 - (float(a @ b) + floor) / (math.sqrt(float(a @ a) * float(b @ b)) + floor)
