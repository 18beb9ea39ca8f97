"""JSON Lines: one line a frame. The schema is described in docs/formats.md."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import threading
import time
from pathlib import Path

from streampose.errors import SinkFailed, SinkUnavailable
from streampose.formats.jsonl import dump, record_of
from streampose.frame import StreamInfo
from streampose.result import Result
from streampose.sinks.rotation import Rotation, create, rotate
from streampose.whole import creating, followed, standard

__all__ = ["JsonlSink", "to_line"]

# Several streams may share standard output, and a long line takes more than one write to a full pipe.
_STDOUT = threading.Lock()


class JsonlSink:
    """Writes one self-contained line for each frame.

    Every line is one unbuffered write: a kill leaves whole lines only, and a full disk is told at the line that did not
    fit, which is taken back.

    Args:
        path: of the file, overwritten unless it rotates; ``-`` = standard output.
        rotation: when it is begun anew. What is there at the start is then kept as an old file.
    """

    wants_picture = False

    def __init__(self, path: str | Path, rotation: Rotation | None = None) -> None:
        self._written, self._rotation = Path(path), rotation
        self.path = None if str(path) == "-" else self._written
        """Of the file; `None` = standard output."""
        self.rotates = rotation is not None
        """Whether files beside `path`, with numbers, are its own, too."""
        self._file: int | None = None
        self._shared = False
        self._begun_at = 0.0

    def open(self, stream: str, info: StreamInfo) -> None:
        """Create the file.

        Raises:
            SinkUnavailable: it cannot be created.
        """
        if self.path is None:
            if sys.stdout is None:  # so it is where the shell said >&-
                raise SinkUnavailable("standard output is closed: name a file instead of -")
            self._file, self._shared = os.dup(sys.stdout.fileno()), True
            return
        if self._rotation is None and (number := standard(self._written)) is not None:
            # Opened by its name (/dev/stdout) it would be emptied of what others have put there (>> file).
            self._file, self._shared = os.dup(number), True
            return
        with creating(self.path):
            if self._rotation is not None:
                # Once: what /dev/stdout leads to is the old file as soon as that has another name.
                self._written = followed(self.path)
            self._begin()

    def write(self, result: Result) -> None:
        """Append one line.

        Raises:
            SinkFailed: the disk is full, or the reader of a pipe is gone.
        """
        line = memoryview(to_line(result))
        written = 0
        assert self._file is not None
        try:
            if self._rotation is not None:
                size_bytes = os.fstat(self._file).st_size  # not counted: another program may have emptied it
                if self._rotation.is_due(size_bytes, self._begun_at, len(line)):
                    self._begin()
                    size_bytes = 0
                if not size_bytes:
                    self._begun_at = time.monotonic()
            with _STDOUT if self._shared else contextlib.nullcontext():
                while written < len(line):
                    written += os.write(self._file, line[written:])
        except OSError as error:
            self._take_back(written)
            where = "standard output" if self.path is None else self.path
            raise SinkFailed(f"{where} broke off: {error.strerror}; the lines before are whole") from error

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _begin(self) -> None:
        self.close()
        if self._rotation is not None:
            rotate(self._written, self._rotation.keep)
        self._file = create(self._written)

    def _take_back(self, written: int) -> None:
        if written and self._file is not None and not self._shared and stat.S_ISREG(os.fstat(self._file).st_mode):
            os.ftruncate(self._file, os.lseek(self._file, 0, os.SEEK_CUR) - written)


def to_line(result: Result) -> bytes:
    """One frame's line, with its end."""
    return dump(record_of(result))
