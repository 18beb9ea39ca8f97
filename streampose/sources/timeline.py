"""Media time that only goes forwards, whatever the clock of a camera does."""

from __future__ import annotations

from fractions import Fraction

__all__ = ["Timeline"]

# A step of media time that is off by more than this is no jitter: the camera's clock was set, or it began anew.
_JUMP_S = 1.0


class Timeline:
    """Places the times of a live source on one line: strictly increasing, in one unit, without jumps.

    The steps are the camera's own, so a clock that is a little fast or slow stays as it is. Where its time goes back,
    or runs ahead of what can have passed since the frames before it arrived, the line goes on by the time of arrival.
    A time that stands still, or is a little back, is jitter, and the line waits for it: for a second in all.
    """

    def __init__(self) -> None:
        self._time_base: Fraction | None = None
        self._shift = 0
        self._last, self._last_at = 0, 0.0
        # The smallest arrival − media time so far: nothing comes earlier than this, unless its clock was moved.
        self._origin = 0.0
        self._anew = False

    @property
    def time_base(self) -> Fraction:
        """Seconds per unit: that of the first time."""
        assert self._time_base is not None, "nothing was placed yet"
        return self._time_base

    def restart(self) -> None:
        """What comes next counts from another zero, and perhaps in another unit."""
        self._anew = True

    def place(self, pts: int | None, time_base: Fraction, at: float) -> int:
        """Where a frame stands on the line.

        Args:
            pts: its own time; `None` = it has none.
            time_base: the unit of `pts`, in seconds.
            at: monotonic seconds of its arrival.
        """
        first, unit = self._time_base is None, self._time_base or time_base
        self._time_base = unit
        own = None if pts is None else pts if time_base == unit else round(pts * time_base / unit)
        if first:
            place = own or 0
            self._origin, self._anew = at - float(place * unit), False
        else:
            passed = self._last + max(1, round((at - self._last_at) / unit))
            place = passed if own is None else own + self._shift
            if own is not None and (self._anew or self._jumped(place, at)):
                self._shift, place, self._anew = passed - own, passed, False
                self._origin = at - float(place * unit)
            elif own is not None and place <= self._last and self._lags():
                self._shift, place = passed - own, passed
            place = max(place, self._last + 1)
            self._origin = min(self._origin, at - float(place * unit))
        self._last, self._last_at = place, at
        return place

    def _lags(self) -> bool:
        return self._last_at - self._origin - float(self._last * self.time_base) > _JUMP_S

    def _jumped(self, place: int, at: float) -> bool:
        back_s = float((self._last - place) * self.time_base)
        ahead_s = float(place * self.time_base) + self._origin - at
        return back_s > _JUMP_S or ahead_s > _JUMP_S
