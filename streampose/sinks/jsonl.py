"""JSON Lines: one line a frame. The schema is described in docs/formats.md."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from pathlib import Path
from typing import Any

from streampose.errors import SinkFailed, SinkUnavailable
from streampose.formats.jsonl import SCHEMA_VERSION, dump, record_of
from streampose.frame import StreamInfo
from streampose.result import Result

__all__ = ["SCHEMA_VERSION", "JsonlSink", "to_record"]

# Several streams may share standard output, and a long line takes more than one write to a full pipe.
_STDOUT = threading.Lock()


class JsonlSink:
    """Writes one self-contained line for each frame.

    Every line is one unbuffered write: a kill leaves whole lines only, and a full disk is told at the line that did not
    fit, which is taken back.

    Args:
        path: of the file, overwritten; ``-`` = standard output.
    """

    wants_picture = False

    def __init__(self, path: str | Path) -> None:
        self._path = str(path)
        self._file: int | None = None

    def open(self, stream: str, info: StreamInfo) -> None:
        """Create the file.

        Raises:
            SinkUnavailable: it cannot be created.
        """
        if self._path == "-":
            self._file = os.dup(sys.stdout.fileno())
            return
        try:
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o666)
        except FileNotFoundError as error:
            raise SinkUnavailable(f"no folder {Path(self._path).parent} for {self._path}: create it first") from error
        except OSError as error:
            raise SinkUnavailable(f"{self._path} cannot be written: {error.strerror}") from error

    def write(self, result: Result) -> None:
        """Append one line.

        Raises:
            SinkFailed: the disk is full, or the reader of a pipe is gone.
        """
        assert self._file is not None
        line = memoryview(dump(to_record(result)))
        written = 0
        try:
            with _STDOUT if self._path == "-" else contextlib.nullcontext():
                while written < len(line):
                    written += os.write(self._file, line[written:])
        except OSError as error:
            self._take_back(written)
            raise SinkFailed(f"{self._path} broke off: {error.strerror}; the lines before are whole") from error

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _take_back(self, written: int) -> None:
        assert self._file is not None
        if written and self._path != "-":
            os.ftruncate(self._file, os.lseek(self._file, 0, os.SEEK_CUR) - written)


def to_record(result: Result) -> dict[str, Any]:
    """One frame's line as plain data; pixels to two decimals, scores to four."""
    return record_of(result.moment, result.timing.latency_s)
