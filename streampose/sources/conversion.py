"""Decoded pictures to BGR, as late as is wanted."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from functools import partial

import numpy as np
from av.video.frame import VideoFrame

from streampose.frame import Frame, Image, Latent

__all__ = ["Conversion", "read_latent"]

# Of the thread that reads: sources are wrapped in others that need not know of it.
_later: ContextVar[bool] = ContextVar("later", default=False)


def read_latent(read: Callable[[], Frame | None], wanted: Callable[[], bool]) -> Frame | None:
    """The next frame of a source; its picture may be latent if that is wanted now.

    Args:
        read: the source's.
        wanted: asked at each frame.

    Raises:
        SourceError: what `read` raises.
    """
    before = _later.set(wanted())
    try:
        return read()
    finally:
        _later.reset(before)


class Conversion:
    """Converts decoded pictures: at once, or within `read_latent` when somebody looks.

    The first of a kind is converted at once in any case: that shows that it can be.
    """

    def __init__(self) -> None:
        self._kind: tuple[object, ...] | None = None

    def __call__(self, picture: VideoFrame) -> Image | Latent:
        """As it is to be seen, turned as its metadata says.

        Raises:
            Exception: what PyAV raises for a format that cannot be converted.
        """
        turns = (picture.rotation // 90) % 4
        width, height = (picture.width, picture.height) if turns % 2 == 0 else (picture.height, picture.width)
        colours = (picture.colorspace, picture.color_range, picture.color_primaries, picture.color_trc)
        kind = (picture.format.name, width, height, turns, picture.interlaced_frame, colours)
        if _later.get() and kind == self._kind:
            return Latent(partial(_bgr, picture, turns), (width, height))
        image = _bgr(picture, turns)
        self._kind = kind
        return image


def _bgr(picture: VideoFrame, turns: int) -> Image:
    # More threads would be started and ended for each picture: of 1080p 1.3 ms instead of 1.0, by hand.
    image = picture.to_ndarray(format="bgr24", threads=1).astype(np.uint8, copy=False)
    if turns:
        image = np.ascontiguousarray(np.rot90(image, turns))
    image.setflags(write=False)
    return image
