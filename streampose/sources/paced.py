"""A recording played at its own speed, as if it were a camera."""

from __future__ import annotations

import time

from streampose.frame import Frame, StreamInfo
from streampose.sources.source import Source

__all__ = ["Paced"]

# A gap in a recording longer than this is not waited for: it would look like a dead stream, and delay a stop.
_LONGEST_WAIT_S = 1.0


class Paced:
    """Gives each frame of another source when its media time has come, and calls itself live.

    Args:
        source: not live itself.
    """

    live = True

    def __init__(self, source: Source) -> None:
        self._source = source
        # The monotonic moment of media time 0.
        self._origin: float | None = None

    def open(self, stream: str) -> StreamInfo:
        """Open the recording."""
        self._origin = None
        return self._source.open(stream)

    def read(self) -> Frame | None:
        """The next frame, when it is due. One that is read late is given at once; none is left out here."""
        frame = self._source.read()
        if frame is None:
            return None
        now = time.monotonic()
        if self._origin is None:
            self._origin = now - frame.time_s
        wait_s = self._origin + frame.time_s - now
        if wait_s > _LONGEST_WAIT_S:
            self._origin -= wait_s - _LONGEST_WAIT_S
            wait_s = _LONGEST_WAIT_S
        if wait_s > 0:
            time.sleep(wait_s)
        return frame.but(captured_at=time.monotonic())

    def close(self) -> None:
        """Close the recording."""
        self._source.close()
