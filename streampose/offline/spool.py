"""The poses of a run that may be cut off at any moment: appended frame by frame, checked when read again.

A file of records in the frames' order. Each is one unbuffered write with a checksum, so after a kill the records are
whole up to the last one, which may be torn and is then written again. Of what the models saw there is a thumbnail in
each, by which cuts are found (`cuts.py`); earlier versions wrote none. Numbers are exact (32-bit floats as they came),
so what is made of a spool is the same however often the run that wrote it was cut off.
"""

from __future__ import annotations

import os
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import numpy as np

from streampose.clip import Moment
from streampose.errors import FormatUnreadable, SinkFailed, SinkUnavailable
from streampose.frame import StreamInfo
from streampose.offline.cuts import Thumbnail, thumbnail
from streampose.pose import Poses, Skeleton
from streampose.result import Result

__all__ = ["Spool", "SpoolSink", "SpoolWriter", "read_spool", "read_thumbnails"]

# "<": little-endian on every machine.
_FRAME = struct.Struct("<4sII")  # mark, length of the body, its CRC-32
_HEAD = struct.Struct("<qqqqqiiI?d")  # index, epoch, pts, time base (2), size (2), people, ids?, camera's time or NaN
_MARK = b"pose"
# After a kill nothing is lost that was written; after a power cut, no more than so much.
_SYNC_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Spool:
    """What a file holds, up to the first record that is not whole."""

    path: Path
    frames: int
    last: tuple[int, int] | None
    """Number and pts of the last frame; `None` = there is none."""
    size: int
    """Bytes that are whole."""

    @classmethod
    def new(cls, path: Path) -> Spool:
        """An empty one, whatever is there."""
        return cls(path=path, frames=0, last=None, size=0)

    @classmethod
    def look(cls, path: Path) -> Spool:
        """Check every record of a file that may be torn, or not be there."""
        frames, last, size = 0, None, 0
        if path.exists():
            with path.open("rb") as file:
                for body in _bodies(file):
                    index, _, pts, *_ = _HEAD.unpack_from(body)
                    last, frames, size = (index, pts), frames + 1, file.tell()
        return cls(path=path, frames=frames, last=last, size=size)


def read_spool(path: Path, stream: str, skeleton: Skeleton) -> Iterator[Moment]:
    """What is whole, one moment after the other; the file is never in memory as a whole.

    Raises:
        FormatUnreadable: the file is gone, or the disk failed.
    """
    for body in _whole(path):
        yield _unpack(body, stream, skeleton)


def read_thumbnails(path: Path, skeleton: Skeleton) -> Iterator[tuple[int, Thumbnail | None]]:
    """Of each frame its number and what its picture is compared by; `None` = an earlier version has kept nothing.

    Raises:
        FormatUnreadable: the file is gone, or the disk failed.
    """
    for body in _whole(path):
        index, *_, n, with_ids, _ = _HEAD.unpack_from(body)
        kept = np.frombuffer(body, np.uint8, offset=_HEAD.size + n * (8 * with_ids + 4 * (5 + 3 * len(skeleton))))
        yield index, kept if len(kept) else None


def _whole(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            yield from _bodies(file)
    except OSError as error:
        raise FormatUnreadable(f"{path} cannot be read: {error.strerror or error}") from error


class SpoolWriter:
    """Appends moments to a file.

    Args:
        spool: what is there; the file is cut to it, and goes on.

    Raises:
        SinkUnavailable: the file cannot be opened.
    """

    def __init__(self, spool: Spool) -> None:
        self._path = spool.path
        try:
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
            os.ftruncate(self._file, spool.size)
            os.lseek(self._file, 0, os.SEEK_END)
        except OSError as error:
            raise SinkUnavailable(f"{self._path} cannot be written: {error.strerror}") from error
        self._synced_at = time.monotonic()

    def write(self, moment: Moment, picture: Thumbnail | None = None) -> None:
        """Append one, and what its picture is compared by.

        Raises:
            SinkFailed: the disk is full.
        """
        body = _pack(moment) + (b"" if picture is None else picture.tobytes())
        data = memoryview(_FRAME.pack(_MARK, len(body), zlib.crc32(body)) + body)
        try:
            while data:
                data = data[os.write(self._file, data) :]
            if (now := time.monotonic()) - self._synced_at > _SYNC_S:
                os.fsync(self._file)
                self._synced_at = now
        except OSError as error:
            raise SinkFailed(f"{self._path} broke off: {error.strerror}; what is there will be used") from error

    def close(self) -> None:
        """Bring it to the disk, and close it.

        Raises:
            SinkFailed: the disk failed.
        """
        try:
            os.fsync(self._file)
        except OSError as error:
            raise SinkFailed(f"{self._path} could not be finished: {error.strerror}") from error
        finally:
            os.close(self._file)


class SpoolSink:
    """Appends the people of each frame, as the models found them.

    Args:
        spool: what is there; the file is cut to it, and goes on.
        tick: told at each frame how many people are in it.
    """

    wants_picture = False

    def __init__(self, spool: Spool, tick: Callable[[int], None] = lambda people: None) -> None:
        self._spool, self._tick = spool, tick
        self._writer: SpoolWriter | None = None

    def open(self, stream: str, info: StreamInfo) -> None:
        """Open the file at the end of what is whole.

        Raises:
            SinkUnavailable: it cannot be opened.
        """
        self._writer = SpoolWriter(self._spool)

    def write(self, result: Result) -> None:
        """Append one frame.

        Raises:
            SinkFailed: the disk is full.
        """
        assert self._writer is not None
        self._writer.write(result.moment, thumbnail(result.frame.image))
        self._tick(len(result.poses))

    def close(self) -> None:
        """Close the file.

        Raises:
            SinkFailed: the disk failed.
        """
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()


def _bodies(file: BinaryIO) -> Iterator[bytes]:
    """Whole records, up to the first that is not; the file stands behind what was given last."""
    while len(head := file.read(_FRAME.size)) == _FRAME.size:
        mark, length, checksum = _FRAME.unpack(head)
        if mark != _MARK:
            return
        body = file.read(length)
        if len(body) != length or zlib.crc32(body) != checksum:
            return
        yield body


def _pack(moment: Moment) -> bytes:
    poses = moment.poses
    head = _HEAD.pack(
        moment.index,
        moment.epoch,
        moment.pts,
        moment.time_base.numerator,
        moment.time_base.denominator,
        *moment.size_px,
        len(poses),
        poses.ids is not None,
        np.nan if moment.wall_time_s is None else moment.wall_time_s,
    )
    arrays = (poses.boxes, poses.box_scores, poses.points, poses.scores)
    ids = b"" if poses.ids is None else poses.ids.astype("<i8").tobytes()
    return b"".join([head, ids, *(array.astype("<f4").tobytes() for array in arrays)])


def _unpack(body: bytes, stream: str, skeleton: Skeleton) -> Moment:
    index, epoch, pts, over, under, width, height, n, with_ids, wall_s = _HEAD.unpack_from(body)
    k = len(skeleton)
    ids = np.frombuffer(body, "<i8", count=n * with_ids, offset=_HEAD.size).astype(np.int64)
    numbers = np.frombuffer(body, "<f4", offset=_HEAD.size + 8 * len(ids)).astype(np.float32)
    boxes, box_scores, points, scores, _ = np.split(numbers, np.cumsum([4 * n, n, 2 * n * k, n * k]))
    return Moment(
        stream=stream,
        index=index,
        epoch=epoch,
        pts=pts,
        time_base=Fraction(over, under),
        size_px=(width, height),
        poses=Poses(
            skeleton=skeleton,
            points=points.reshape(n, k, 2),
            scores=scores.reshape(n, k),
            boxes=boxes.reshape(n, 4),
            box_scores=box_scores,
            ids=ids if with_ids else None,
        ),
        wall_time_s=None if np.isnan(wall_s) else wall_s,
    )
