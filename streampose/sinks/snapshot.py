"""A picture file that shows how it looks now."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import cv2

from streampose.errors import SinkFailed, SinkUnavailable
from streampose.frame import StreamInfo
from streampose.result import Result
from streampose.whole import creating, name_it, part_of

__all__ = ["SnapshotSink"]


class SnapshotSink:
    """Writes the rendered picture as a JPEG every so often, for dashboards and web pages.

    Each is written beside the file and then takes its place in one step: whoever reads it sees a whole picture.

    Args:
        path: of the file; .jpg or .jpeg.
        every_s: the time between two, of the machine's clock. The first one comes with the first picture.
    """

    wants_picture = True

    def __init__(self, path: str | Path, *, every_s: float = 10.0) -> None:
        self.path = self._part = Path(path)
        self._every_s = every_s

    def open(self, stream: str, info: StreamInfo) -> None:
        """See that the file can be.

        Raises:
            SinkUnavailable: it cannot.
        """
        if self.path.suffix.lower() not in {".jpg", ".jpeg"}:
            raise SinkUnavailable(f"{self.path}: a snapshot is a .jpg, not {self.path.suffix or 'without a suffix'}")
        with creating(self.path):
            self._part = part_of(self.path)
            if self._part != self.path:
                self._part.touch()
                self._part.unlink()
        if self._part == self.path:
            raise SinkUnavailable(f"{self.path} is not a file, and a snapshot replaces what is there: name another")
        self._due_at = 0.0

    def write(self, result: Result) -> None:
        """Write the picture, if it is time.

        Raises:
            SinkFailed: the disk is full; the snapshot before stays.
        """
        assert result.picture is not None
        if (now := time.monotonic()) < self._due_at:
            return
        self._due_at = now + self._every_s
        _, data = cv2.imencode(".jpg", result.picture)
        try:
            self._part.write_bytes(data.tobytes())
            name_it(self._part, self.path)
        except OSError as error:
            with contextlib.suppress(OSError):
                self._part.unlink(missing_ok=True)
            raise SinkFailed(f"{self.path} could not be written: {error.strerror}") from error

    def close(self) -> None:
        """Nothing is open."""
