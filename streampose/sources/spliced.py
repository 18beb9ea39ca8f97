"""Media time of recordings, of which one may be several that somebody has put one behind the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction

from av import VideoFrame

from streampose.errors import SourceError

__all__ = ["SWING", "Spliced", "followed"]

# Longer than any pause within one take. FFmpeg takes an MPEG clock that begins anew for one that has run over, and
# moves what follows by up to 26.5 hours.
_PAUSE_S = 3600
SWING = 16
"""Steps by which pictures can be out of order: H.264 and HEVC hold back at most as many."""


class Spliced:
    """Places the times of a recording on one line: strictly increasing, its own as long as they go forwards.

    Where they go back by more than a step, the line goes on by a step, and what follows keeps its distances. Where its
    own times are ahead of the line again (pictures that came out of order), the line returns to them. A smaller way
    back is rounding: that one picture comes a unit after the one before it.

    Args:
        step: what a picture without a time lasts, in units.
        time_base: the unit, in seconds.
        restarts: whether the container's clock may begin anew, so that a pause of more than an hour is none, either.
    """

    def __init__(self, step: int, time_base: Fraction, *, restarts: bool = False) -> None:
        self._step = step
        self._pause = int(_PAUSE_S / time_base) if restarts else None
        self._last: int | None = None
        self._shift = 0
        self.splices = 0
        """How often the line has left their times so far."""

    def believed(self, pts: int | None, following: int | None) -> int | None:
        """A picture's own time, but `None` where it alone is astray: the next goes on where the one before was.

        Args:
            pts: its own time.
            following: the own time of the picture behind it, if that is known.
        """
        if self._last is None or pts is None or following is None:
            return pts
        before, near = self._last - self._shift, SWING * self._step
        return None if abs(pts - before) > near and 0 < following - before <= near else pts

    def place(self, pts: int | None) -> int:
        """Where a picture stands on the line.

        Args:
            pts: its own time; `None` = it has none, and comes a step after the one before it.
        """
        last = self._last
        if last is None:
            place = pts or 0
        elif pts is None:
            place = last + self._step
        else:
            if 0 < pts - last <= self._shift <= SWING * self._step:
                self._shift = 0
            place = pts + self._shift
            if last - place > self._step or (self._pause is not None and place - last > self._pause):
                place = last + self._step
                self._shift = place - pts
                self.splices += 1
            place = max(place, last + 1)
        self._last = place
        return place


def followed(pictures: Iterable[VideoFrame], *, live: bool) -> Iterator[tuple[VideoFrame, int | None]]:
    """Each picture with the own time of the next; of a live source, which is not waited for, without it.

    Raises:
        SourceError: as they do, when the picture before has been given out.
    """
    if live:
        for picture in pictures:
            yield picture, None
        return
    last: VideoFrame | None = None
    failure: SourceError | None = None
    try:
        for picture in pictures:
            if last is not None:
                yield last, picture.pts
            last = picture
    except SourceError as error:
        failure = error
    if last is not None:
        yield last, None
    try:
        if failure is not None:
            raise failure
    finally:
        failure = None  # its traceback holds this frame, and with it decoder and pictures until the next collection
