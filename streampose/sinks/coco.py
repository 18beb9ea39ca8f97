"""COCO results JSON, as pycocotools reads it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import IO

from streampose.errors import SinkFailed
from streampose.formats.coco import entries_of
from streampose.frame import Frame, StreamInfo
from streampose.number import is_whole
from streampose.result import Result
from streampose.whole import creating, name_it, part_of

__all__ = ["CocoSink"]


class CocoSink:
    """Writes one entry for each person; poses of other skeletons are mapped to COCO's 17 points.

    The file appears under its name when it is closed whole; until then, and after a failure, it is ``NAME.part``. A
    FIFO or a device is written to at once.

    Args:
        path: of the file, overwritten.
        image_id: of a frame; its index by default.
    """

    wants_picture = False

    def __init__(self, path: str | Path, *, image_id: Callable[[Frame], int] | None = None) -> None:
        self.path = self._part = Path(path)
        self._image_id = image_id or (lambda frame: frame.index)
        self._file: IO[str] | None = None

    def open(self, stream: str, info: StreamInfo) -> None:
        """Create the file.

        Raises:
            SinkUnavailable: it cannot be created.
        """
        self._empty, self._broken = True, False
        with creating(self.path):
            self._part = part_of(self.path)
            self._file = self._part.open("w", encoding="utf-8")
            self._file.write("[")

    def write(self, result: Result) -> None:
        """Append the people of one frame.

        Raises:
            SinkFailed: the disk is full.
            FormatUnreadable: their skeleton has none of COCO's points.
        """
        assert self._file is not None
        self._broken = True  # until all of it is there, whatever goes wrong: `image_id` is not ours
        number = self._image_id(result.frame)
        for entry in entries_of(result.poses, int(number) if is_whole(number) else number):
            text = ("\n" if self._empty else ",\n") + json.dumps(entry, separators=(",", ":"), allow_nan=False)
            try:
                self._file.write(text)
            except OSError as error:
                raise SinkFailed(f"{self.path} broke off: {error.strerror}") from error
            self._empty = False
        self._broken = False

    def close(self) -> None:
        """Complete the file and give it its name.

        Raises:
            SinkFailed: the disk is full.
        """
        if self._file is None:
            return
        file, self._file = self._file, None
        try:
            if self._broken:
                with contextlib.suppress(OSError):  # what is buffered does not fit either
                    file.close()
                return
            with file:
                file.write("\n]\n")
            name_it(self._part, self.path)
        except OSError as error:
            raise SinkFailed(f"{self.path} could not be finished: {error.strerror}") from error
