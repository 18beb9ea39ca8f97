"""A visitor's camera as a source."""

from __future__ import annotations

import threading
from collections import deque
from fractions import Fraction

from av import VideoFrame

from streampose.errors import Disconnected, SourceTimeout
from streampose.frame import Frame, StreamInfo
from streampose.sources.conversion import Conversion

__all__ = ["PeerCamera"]

_CLOCK = Fraction(1, 90_000)  # of video over RTP


class PeerCamera:
    """A live source that is fed from the event loop, through a slot that holds the newest picture.

    Args:
        wait_s: for the first picture, and between two.
    """

    live = True

    def __init__(self, wait_s: float) -> None:
        self._wait_s = wait_s
        self._slot: deque[tuple[VideoFrame, float]] = deque(maxlen=1)
        self._changed = threading.Condition()
        self._ended = self._interrupted = False
        self._count = 0
        self._stream = ""
        self._epoch = 0
        self._size: tuple[int, int] | None = None
        self._first: Frame | None = None
        self._convert = Conversion()
        self._convert.hd_is_bt709 = False  # VP8 is of BT.601, by its standard
        self.dropped = 0
        """Pictures for which a fresher one came before they were taken."""

    def put(self, picture: VideoFrame, captured_at: float) -> None:
        """A picture came, which has a time (pts), at this moment, monotonic seconds."""
        with self._changed:
            self.dropped += len(self._slot)
            self._slot.append((picture, captured_at))
            self._count += 1
            self._changed.notify()

    def end(self) -> None:
        """No more will come."""
        with self._changed:
            self._ended = True
            self._changed.notify()

    def open(self, stream: str) -> StreamInfo:
        """Wait for the first picture.

        Raises:
            SourceTimeout: none came.
            Disconnected: the peer went away.
        """
        self._stream = stream
        self._first = self._next()
        if self._first is None:
            raise Disconnected("the peer went away before its first picture")
        width, height = self._first.size_px
        return StreamInfo(width_px=width, height_px=height, time_base=_CLOCK, codec="webrtc")

    def read(self) -> Frame | None:
        """The newest picture; `None` once the peer has ended.

        Raises:
            SourceTimeout: none came.
        """
        first, self._first = self._first, None
        return first or self._next()

    def interrupt(self) -> None:
        """End what blocks, from any thread."""
        with self._changed:
            self._interrupted = True
            self._changed.notify()

    def close(self) -> None:
        """Let go of what waits."""
        with self._changed:
            self._slot.clear()
            self._first = None
            self._interrupted = False

    def _next(self) -> Frame | None:
        with self._changed:
            if not self._changed.wait_for(lambda: self._slot or self._ended or self._interrupted, self._wait_s):
                raise SourceTimeout(f"the peer sent no picture for {self._wait_s:g} s")
            if not self._slot or self._interrupted:
                return None
            (picture, captured_at), index = self._slot.pop(), self._count - 1
        assert picture.pts is not None
        size = (picture.width, picture.height)
        if self._size not in {None, size}:  # WebRTC changes sizes on the way: what was tracked is elsewhere now
            self._epoch += 1
        self._size = size
        return Frame(
            stream=self._stream,
            index=index,
            epoch=self._epoch,
            pts=picture.pts,
            time_base=_CLOCK,
            captured_at=captured_at,
            image=self._convert(picture),
        )
