"""Which number a picture has among those of its recording, also where some are damaged and never come."""

from __future__ import annotations

from bisect import bisect_left, insort

from streampose.sources.seeking import FrameTable

__all__ = ["Numbering"]


class Numbering:
    """Numbers pictures by the packets that are shown before theirs: one that is left out leaves a gap.

    A recording that is read from its beginning and one that is begun inside so have the same numbers. What was read is
    enough for that: a decoder gives a picture out when it has all that are shown before it.

    Args:
        table: of a recording that is begun inside.
    """

    def __init__(self, table: FrameTable | None) -> None:
        self._table = table
        self._waiting: list[int] = []  # times of packets that are shown with the last picture or after it; rising
        self._lost: list[int] = []  # of these, the damaged ones
        self._before = 0

    def read(self, pts: int) -> None:
        """A packet was read."""
        if self._table is None:
            insort(self._waiting, pts)

    def lose(self, pts: int) -> None:
        """A packet that was read is damaged."""
        if self._table is None:
            self._lost.append(pts)

    def fits(self, first_pts: int | None, second_pts: int | None) -> bool | None:
        """Whether packets stand for pictures one by one, as two in a row show, when none has been numbered.

        `None`: a packet between them is damaged, or the one before them, which may be half of the first.
        """
        if self._table is not None or first_pts is None or second_pts is None:
            return True
        first, second = bisect_left(self._waiting, first_pts), bisect_left(self._waiting, second_pts)
        if not set(self._lost).isdisjoint(self._waiting[max(0, first - 1) : second]):
            return None
        return second - first == 1

    def number(self, pts: int) -> int:
        """Of the picture with this time; 0 = there is no packet with it."""
        if self._table is not None:
            return self._table.number(pts) or 0
        place = bisect_left(self._waiting, pts)
        self._before += place
        del self._waiting[:place]
        self._lost.clear()
        return self._before
