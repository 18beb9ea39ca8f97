"""Pictures from a program's own hands: a source that is pushed into."""

from __future__ import annotations

import threading
import time
from collections import deque
from fractions import Fraction
from typing import Any

from numpy.typing import NDArray

from streampose.errors import ConfigError, Disconnected, SourceError, SourceTimeout
from streampose.frame import Frame, Image, StreamInfo, is_picture, no_picture
from streampose.number import within

__all__ = ["PushSource"]

_TIME_BASE = Fraction(1, 1_000_000)
# What is longer (30 000 years) is no time in seconds: it may be Unix time in milliseconds.
_LONGEST_S = 1e12


class PushSource:
    """Gives out what `push` is given: from a camera's SDK, GStreamer's appsink, ROS, a socket, a game.

    It serves one stream: once that has ended, or was stopped, nothing more can be pushed, and another needs a new one.

    Args:
        live: pictures that are not taken in time are dropped, the newest is kept, and `push` never waits; else `push`
            waits until there is room, so nothing is lost: call it on a thread of its own then.
        rate: pictures a second of what is not live, where their times are not told.
        wait_s: the longest time without a picture; `None` = for ever.

    Raises:
        ConfigError: the rate or the time is none.
    """

    def __init__(self, *, live: bool = True, rate: Fraction | float = 30, wait_s: float | None = None) -> None:
        # Slower or faster, times would have no place in their unit.
        if not within(rate, 1e-6, 1e6):
            raise ConfigError(f"a rate is pictures a second, as 30, not {rate!r}")
        if wait_s is not None and not (within(wait_s, 0, threading.TIMEOUT_MAX) and wait_s > 0):
            raise ConfigError(f"wait_s is seconds above 0, or None for ever, not {wait_s!r}")
        self.live = live
        self._rate = rate
        self._wait_s = None if wait_s is None else float(wait_s)
        self._room = 1 if live else 2
        self._waiting: deque[tuple[int, int, float, Image]] = deque()
        self._changed = threading.Condition()
        self._ended = self._closed = False
        self._count, self._last_pts = 0, -1
        self._began_at: float | None = None
        self._first: Frame | None = None
        self._stream = ""
        self.dropped = 0
        """Pictures for which a fresher one came before they were taken."""

    def push(self, picture: NDArray[Any], *, time_s: float | None = None, captured_at: float | None = None) -> bool:
        """Give a picture; from any thread, and from the event loop if it is live.

        Args:
            picture: (H, W, 3) uint8 BGR, as OpenCV reads it, whose types say less. It is not copied: do not write
                to it any more.
            time_s: media time in seconds, increasing; `None` = as it passes since the first picture; not live: by the
                rate.
            captured_at: monotonic seconds when it was taken, from which a live one's budget counts; `None` = now.

        Returns:
            `False` = nobody takes it any more: the stream was ended, removed or stopped.

        Raises:
            SourceError: it is no such picture, or has no such time; the stream goes on.
        """
        captured_at = time.monotonic() if captured_at is None else captured_at
        if not is_picture(picture):
            raise SourceError(f"this cannot be pushed: {no_picture(picture)}")
        for told in (captured_at, time_s):
            if told is not None and not within(told, -_LONGEST_S, _LONGEST_S):
                raise SourceError(f"a picture that is pushed has times in seconds, not {told!s:.80}")
        with self._changed:
            self._changed.wait_for(lambda: self.live or len(self._waiting) < self._room or self._over)
            if self._over:
                return False
            self._began_at = captured_at if self._began_at is None else self._began_at
            if time_s is None:
                time_s = captured_at - self._began_at if self.live else float(self._count / self._rate)
            pts = round(time_s / _TIME_BASE)
            self._last_pts = pts = max(pts, self._last_pts + 1)
            if len(self._waiting) == self._room:
                self._waiting.popleft()
                self.dropped += 1
            self._waiting.append((self._count, pts, captured_at, picture))
            self._count += 1
            self._changed.notify_all()
        return True

    def end(self) -> None:
        """No more will come; what waits is still given out."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def open(self, stream: str) -> StreamInfo:
        """Wait for the first picture.

        Raises:
            SourceTimeout: none came.
            Disconnected: it was ended before.
        """
        self._stream = stream
        if (first := self._next()) is None:
            raise Disconnected("it was ended before its first picture")
        self._first = first
        width, height = first.size_px
        return StreamInfo(width_px=width, height_px=height, time_base=_TIME_BASE)

    def read(self) -> Frame | None:
        """The next picture; `None` = it was ended.

        Raises:
            SourceTimeout: none came.
        """
        first, self._first = self._first, None
        return first or self._next()

    def interrupt(self) -> None:
        """End what blocks; from any thread."""
        self.close()

    def close(self) -> None:
        """Let go of what waits; `push` takes nothing any more."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._first = None
            self._changed.notify_all()

    @property
    def _over(self) -> bool:
        return self._ended or self._closed

    def _next(self) -> Frame | None:
        with self._changed:
            if not self._changed.wait_for(lambda: self._waiting or self._over, self._wait_s):
                raise SourceTimeout(f"no picture was pushed for {self._wait_s:g} s")
            if not self._waiting:
                return None
            index, pts, captured_at, picture = self._waiting.popleft()
            self._changed.notify_all()
        return Frame(
            stream=self._stream,
            index=index,
            pts=pts,
            time_base=_TIME_BASE,
            captured_at=captured_at,
            image=picture,
        )
