"""From one stream to everybody who follows it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

import cv2

from streampose.channel import Channel, Overflow
from streampose.formats.jsonl import record_of
from streampose.frame import Image, StreamInfo
from streampose.result import Result

__all__ = ["Hub", "Item", "Wish", "jpeg"]

_JPEG_QUALITY = 80


class Wish(Enum):
    """What a follower wants of each frame."""

    POSES = "poses"
    PICTURE = "picture"
    """The drawn picture."""
    JPEG = "jpeg"
    """The same, compressed: once for all who want it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One frame, in the forms that somebody wants."""

    result: Result
    line: str
    """The frame's JSON line without its end (docs/formats.md); empty where nobody wants poses."""
    jpeg: bytes | None


class Hub:
    """A sink that gives each result to its followers; a slow one loses the oldest, and touches nobody else.

    Args:
        loop: where the followers are.
    """

    wants_picture = True

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._followers: dict[Channel[Item], Wish] = {}
        self.closed = False
        """Whether the stream is over."""
        self.latest: Result | None = None
        self.dropped = 0
        """Items that followers did not take in time."""

    def wants(self, *wishes: Wish) -> bool:
        """Whether somebody wants one of these."""
        return any(wish in wishes for wish in tuple(self._followers.values()))

    @property
    def draws(self) -> bool:
        """Whether somebody looks at the drawn picture."""
        return self.wants(Wish.PICTURE, Wish.JPEG)

    @contextlib.contextmanager
    def following(self, wish: Wish) -> Iterator[Channel[Item]]:
        """The newest results, while it lasts; the channel is closed when the stream ends."""
        # One that is being sent, and the next.
        channel = Channel[Item](1, Overflow.DROP_OLDEST, on_drop=self._count)
        if self.closed:
            channel.close()
        self._followers[channel] = wish
        try:
            yield channel
        finally:
            del self._followers[channel]

    def open(self, stream: str, info: StreamInfo) -> None:
        """Nothing to do."""

    def write(self, result: Result) -> None:
        """Give it to the followers. What all of them share is made here, on the stream's own thread."""
        line = _line(result) if self.wants(Wish.POSES) else ""
        # A frame that was finished before somebody looked is not drawn.
        drawn = result.picture is not None and result.picture is not result.frame.image
        picture = jpeg(result.picture) if result.picture is not None and drawn and self.wants(Wish.JPEG) else None
        self.latest = result
        if self._followers:
            item = Item(result=result, line=line, jpeg=picture)
            self._loop.call_soon_threadsafe(self._publish, item)

    def close(self) -> None:
        """The stream is over."""
        with contextlib.suppress(RuntimeError):  # the loop is over, too
            self._loop.call_soon_threadsafe(self._end)

    def _publish(self, item: Item) -> None:
        for channel, wish in self._followers.items():
            missing = (wish is Wish.POSES and not item.line) or (wish is Wish.JPEG and item.jpeg is None)
            if not missing and not channel.closed:
                channel.put_nowait(item)

    def _end(self) -> None:
        self.closed = True
        for channel in self._followers:
            channel.close()

    def _count(self, _: Item) -> None:
        self.dropped += 1


def jpeg(picture: Image) -> bytes:
    """A picture, compressed."""
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return data.tobytes()


def _line(result: Result) -> str:
    timing = result.timing
    record = record_of(result) | {
        "batch": timing.batch_size,
        "queue_ms": round(1000 * (timing.taken_at - timing.captured_at), 2),
        "inference_ms": round(1000 * (timing.inferred_at - timing.taken_at), 2),
        "finish_ms": round(1000 * (timing.delivered_at - timing.inferred_at), 2),
    }
    return json.dumps(record, separators=(",", ":"), allow_nan=False)
