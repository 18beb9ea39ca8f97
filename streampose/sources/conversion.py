"""Decoded pictures to BGR, as late as is wanted."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import ContextVar
from fractions import Fraction
from functools import partial

import numpy as np
from av.error import FFmpegError
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from streampose.errors import SourceUnsupported
from streampose.frame import Frame, Image, Latent
from streampose.sources.fields import uncombed
from streampose.sources.hwaccel import words
from streampose.sources.orientation import Orientation, orientation_of
from streampose.sources.source import shareable
from streampose.sources.tonemap import TRANSFERS, is_wide, tone_mapped

__all__ = ["Conversion", "is_untold_hd", "pixel_aspect", "read_latent"]

log = logging.getLogger("streampose")

# Of the thread that reads: sources are wrapped in others that need not know of it.
_later: ContextVar[bool] = ContextVar("later", default=False)
# Matrix, range, primaries and transfer of a video that says nothing of them.
_UNSAID = (2, 0, 2, 2)
_BT709 = 1
# Matrices that there are, and FFmpeg cannot convert: YCgCo, YDzDx, ICtCp, IPT-C2, YCgCo-Re and -Ro. Others that it
# cannot (10, 12, 13: constant luminance and derived from the primaries) are near enough to YCbCr to be read as such.
_OTHER_MATRICES = {8, 11, 14, 15, 16, 17}
_UNCONVERTED = (FFmpegError, OSError, ValueError)


def read_latent(read: Callable[[], Frame | None], wanted: Callable[[], bool]) -> Frame | None:
    """The next frame of a source; its picture may be latent if that is wanted now.

    Args:
        read: the source's.
        wanted: asked at each frame.

    Raises:
        SourceError: what `read` raises, or what it gives is no frame that others could work on.
    """
    before = _later.set(wanted())
    try:
        frame = read()
        return None if frame is None else shareable(frame)
    finally:
        _later.reset(before)


def pixel_aspect(video: VideoStream) -> Fraction:
    """Width of its pixels by height: 16/15 of DV, 4/3 of HDV.

    1 where nothing is said, or nothing that can be meant; 2 % are what is left of a crop.
    """
    said = video.sample_aspect_ratio
    return said if said and Fraction(1, 4) <= said <= 4 and abs(said - 1) > 0.02 else Fraction(1)


def is_untold_hd(picture: VideoFrame) -> bool:
    """Whether it is HD, as mpv and our own videos have it, in YUV of a matrix that is not named."""
    is_hd = picture.width >= 1280 or picture.height > 576
    is_yuv = len(picture.format.components) > 2 and not picture.format.is_rgb  # grey and palettes have no matrix
    return is_hd and picture.colorspace == _UNSAID[0] and is_yuv


class Conversion:
    """Converts decoded pictures: at once, or within `read_latent` when somebody looks.

    The first of a kind is converted at once in any case: that shows that it can be.
    """

    def __init__(self) -> None:
        self._kind: tuple[object, ...] | None = None
        self._colours: tuple[int, int, int, int] | None = None
        self._is_hdr = False
        self.forget()
        self.name = "video"
        """Of the source, for messages."""
        self.pixel_aspect = Fraction(1)
        """Width of a decoded pixel by height; what comes out has square ones."""
        self.hd_is_bt709 = True
        """Whether HD that names no matrix has BT.709's, as players take it; else, and of what is smaller, BT.601's."""
        self.are_woven = True
        """Whether pictures that are interlaced are two fields, line by line."""

    def __call__(self, picture: VideoFrame) -> Image | Latent:
        """As it is to be seen: with square pixels, turned and mirrored as its metadata says.

        Raises:
            Exception: what PyAV raises for a format that cannot be converted.
        """
        return self._seen(picture, self._turned(picture))

    def _seen(self, picture: VideoFrame, orientation: Orientation) -> Image | Latent:
        size = self._stretched(picture.width), picture.height
        width, height = size[::-1] if orientation.transposed else size
        if self.hd_is_bt709 and is_untold_hd(picture):
            picture.colorspace = _BT709
        colours = (picture.colorspace, picture.color_range, picture.color_primaries, picture.color_trc)
        kind = (picture.format.name, width, height, orientation, picture.interlaced_frame, colours)
        convert = partial(_bgr, picture, orientation, size, picture.interlaced_frame and self.are_woven)
        if _later.get() and kind == self._kind:
            return Latent(convert, (width, height))
        image = convert()
        self._kind, self._colours = kind, colours
        if picture.color_trc in TRANSFERS and not self._is_hdr:
            self._is_hdr = True  # told once, however often it is opened
            text = "%s is HDR (%s): its pictures are tone-mapped to SDR"
            log.info(text, self.name, TRANSFERS[picture.color_trc], extra={"event": "hdr"})
        return image

    def forget(self) -> None:
        """What comes next begins anew: how pictures were turned before says nothing of it."""
        self._orientation, self._plain_key = Orientation(), False
        # An encoder has said it; and, the first time aside, it did so last with a key frame.
        self._told = self._told_with_key = False

    def passed(self, picture: VideoFrame) -> None:
        """This one is not converted; how it is turned may hold for those behind it."""
        self._turned(picture)

    def attempt(self, picture: VideoFrame) -> Image | Latent | None:
        """The same of a picture that may be damaged; `None` = it cannot be converted, though others could.

        Raises:
            SourceUnsupported: it cannot be converted, and none could before.
            MemoryError: there is no memory for it.
        """
        orientation = self._turned(picture)  # once a picture: it holds for those behind it
        try:
            return self._seen(picture, orientation)
        except MemoryError:
            raise  # FFmpeg's is one of its errors, too, and says nothing of the picture
        except _UNCONVERTED as error:
            # Elsewhere: a frame of its traceback that kept it would keep the picture, until the next collection.
            return self._in_other_colours(picture, orientation, error)

    def _in_other_colours(
        self, picture: VideoFrame, orientation: Orientation, failure: Exception
    ) -> Image | Latent | None:
        first = self._kind is None
        refusal = f"{self.name} has pictures that cannot be converted: {words(failure)}"
        if first and picture.colorspace in _OTHER_MATRICES:
            raise SourceUnsupported(refusal) from failure
        # A damaged header may name colours that there are not, and names them for all that comes after it.
        colours = self._colours or _UNSAID
        picture.colorspace, picture.color_range, picture.color_primaries, picture.color_trc = colours
        try:
            image = self._seen(picture, orientation)
        except MemoryError:
            raise
        except _UNCONVERTED:
            if first:
                raise SourceUnsupported(refusal) from failure
            return None
        if first:
            text = "%s names colours that are not known here: its own may be seen otherwise"
            log.warning(text, self.name, extra={"event": "damaged"})
        return image

    def _turned(self, picture: VideoFrame) -> Orientation:
        """As its matrix says. A container's is with each picture.

        An encoder's own (H.264's SEI) is with a key frame or, as FFmpeg's `h264_metadata` has it from the second on,
        with what is sent behind one, which B-frames are shown before; and it holds up to the next key frame. Where it
        comes with them, a key frame without it is as stored; elsewhere the next picture must show that.
        """
        said = orientation_of(picture)
        if said is not None:
            self._told, self._told_with_key = True, self._told and picture.key_frame
        ends = said is None and picture.key_frame and self._told_with_key
        waits = self._plain_key and picture.pict_type == PictureType.B
        if said is not None or ends or (self._plain_key and not waits):
            self._orientation = said or Orientation()
        self._plain_key = said is None and (waits or picture.key_frame)
        return self._orientation

    def _stretched(self, width: int) -> int:
        # What was even, as videos must be, stays so.
        return width if self.pixel_aspect == 1 else max(1, round(width * self.pixel_aspect / 2) * 2 - width % 2)


def _bgr(picture: VideoFrame, orientation: Orientation, size: tuple[int, int], woven: bool) -> Image:
    wide = is_wide(picture.color_trc, picture.color_primaries)
    # More threads would be started and ended for each picture: of 1080p 1.3 ms instead of 1.0, by hand.
    pixels = picture.to_ndarray(format="bgr48le" if wide else "bgr24", width=size[0], height=size[1], threads=1)
    if wide:
        image = tone_mapped(pixels.astype(np.uint16, copy=False), picture.color_trc, picture.color_primaries)
    else:
        image = pixels.astype(np.uint8, copy=False)
    if woven:
        image = uncombed(image)
    image = np.ascontiguousarray(orientation(image))
    image.setflags(write=False)
    return image
