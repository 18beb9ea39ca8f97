"""A stream's drawn pictures as an outgoing video track."""

from __future__ import annotations

import asyncio
import contextlib
import time
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av import VideoFrame

from streampose.channel import Channel
from streampose.errors import ChannelClosed
from streampose.result import Result
from streampose.web.effort import Effort, Share
from streampose.web.hub import Hub, Item, Wish

__all__ = ["DrawnVideo"]


class DrawnVideo(MediaStreamTrack):
    """Gives aiortc's encoder the newest drawn picture whenever it is ready for one. Times stay as they are.

    Args:
        hub: of the stream.
        effort: how much encoding may take.
    """

    kind = "video"

    def __init__(self, hub: Hub, effort: Effort) -> None:
        super().__init__()
        self._hub, self._effort = hub, effort
        self._share: Share | None = None
        self._wanted = asyncio.Event()
        self._following = contextlib.ExitStack()
        self._pictures: Channel[Item] | None = None
        self._given_at: float | None = None
        self.frames = 0
        """How many were given to the encoder."""

    def show(self, wanted: bool) -> None:
        """Begin or pause; nothing is drawn for a video that pauses."""
        if not wanted:
            self._wanted.clear()
            self._forget()
        elif self._pictures is None and self.readyState == "live":
            self._share = self._effort.join()
            self._pictures = self._following.enter_context(self._hub.following(Wish.PICTURE))
            self._wanted.set()

    async def recv(self) -> VideoFrame:
        """The next picture.

        Raises:
            MediaStreamError: the stream has ended.
        """
        # The encoder asks again: it is done with the last one.
        if self._given_at is not None and self._share is not None:
            now = time.monotonic()
            self._share.spent(now - self._given_at, now)
        self._given_at = None
        result, scale = await self._next()
        begun_at = time.monotonic()
        frame = await asyncio.to_thread(_video_frame, result, scale)
        self._given_at = begun_at
        self.frames += 1
        return frame

    def stop(self) -> None:
        """The peer is gone."""
        super().stop()
        self._forget()
        self._wanted.set()  # whoever waits is told

    async def _next(self) -> tuple[Result, float]:
        while True:
            await self._wanted.wait()
            if self._pictures is None:
                raise MediaStreamError("the peer is gone")
            try:
                result = (await self._pictures.get()).result
            except ChannelClosed:
                if self._hub.closed:
                    raise MediaStreamError("the stream has ended") from None
                continue  # it pauses
            # A frame that was finished before somebody looked is not drawn.
            drawn, share = result.picture is not result.frame.image, self._share
            if drawn and share is not None and share.admits(time.monotonic()):
                return result, share.scale

    def _forget(self) -> None:
        if self._pictures is not None:
            self._pictures.close()
            self._pictures = None
        if self._share is not None:
            self._share.leave()
            self._share = None
        self._following.close()


def _video_frame(result: Result, scale: float) -> VideoFrame:
    assert result.picture is not None
    picture: np.ndarray[Any, Any] = result.picture
    height, width = picture.shape[:2]
    # Encoders want even sizes.
    size = (max(2, int(width * scale) // 2 * 2), max(2, int(height * scale) // 2 * 2))
    if size != (width, height):
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    frame = VideoFrame.from_numpy_buffer(np.ascontiguousarray(picture), format="bgr24")
    frame.pts, frame.time_base = result.frame.pts, Fraction(result.frame.time_base)
    return frame
