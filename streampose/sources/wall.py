"""What a camera's wall clock is worth."""

from __future__ import annotations

__all__ = ["WallClock"]

# Beyond jitter and what a media clock that runs 2 % wrong is off by before the next sender report.
_JUMP_S = 1.0
# Sender reports come every 2.5 to 7.5 s (RFC 3550): after so long the next one has said what is right.
_STEADY_S = 10.0


class WallClock:
    """Passes on the camera's own time, but for a while after a jump.

    FFmpeg reckons it from the last sender report and the time of media since. Where a camera's media clock jumps, it is
    wrong by the jump until the next report; where its wall clock was set, the new time is right. Which of both it was
    shows when it stays.
    """

    def __init__(self) -> None:
        # Wall time − time of arrival: as it is believed, and as it is since when it jumped.
        self._offset: float | None = None
        self._other, self._other_since = 0.0, 0.0

    def believed(self, wall_time_s: float | None, at: float) -> float | None:
        """Unix seconds, or `None` where there are none to be trusted.

        Args:
            wall_time_s: what it says.
            at: monotonic seconds of arrival.
        """
        if wall_time_s is None:
            return None
        offset = wall_time_s - at
        if self._offset is not None and abs(offset - self._offset) > _JUMP_S:
            if abs(offset - self._other) > _JUMP_S:
                self._other_since = at
            self._other = offset
            if at - self._other_since < _STEADY_S:
                return None
        self._offset = self._other = offset
        return wall_time_s
