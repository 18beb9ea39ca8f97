"""What all videos of rendered pictures have in common: times that go on, one size, and pictures as PyAV wants them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.container import OutputContainer
from av.video.stream import VideoStream

from streampose.errors import SinkFailed
from streampose.frame import Frame, Image, StreamInfo
from streampose.sinks.colours import Colours

__all__ = ["Film", "finish", "lasting"]

# MP4 counts time in whole units of one nth of a second, and a gap between frames in 31 bits: nanoseconds would overflow
# after two seconds, microseconds do after half an hour. What is finer than a microsecond is rounded to one.
_FINEST = 1_000_000


class Film:
    """The pictures of one stream, one after the other, as one video.

    Odd sizes lose their last row or column (4:2:0 colour needs even ones); a picture of another size than the first is
    scaled to fit, with black bars. When a source reconnects, its times go on from the last one. Key frames come by
    time, not by number, as the rate may vary.

    Args:
        info: of the stream.
        key_s: the time from one key frame to the next.
    """

    def __init__(self, info: StreamInfo, *, key_s: float) -> None:
        self.time_base = Fraction(1, min(info.time_base.denominator, _FINEST))
        self.rate = info.rate or Fraction(30)
        """A hint for an encoder's rate control, and for how long the last picture is shown: the times of the frames are
        what counts."""
        self.size_px: tuple[int, int] | None = None
        """Width and height, once there was a picture."""
        self.colours = Colours(0, 0)
        """The same."""
        self._key_every = round(key_s / self.time_base)
        self._key_at: int | None = None
        self._last_pts: int | None = None
        self._epoch = 0
        self._shift = 0

    def begin(self, picture: Image) -> tuple[int, int]:
        """The size of the video, width and height, whose first picture this is."""
        if self.size_px is None:
            height, width = picture.shape[:2]
            self.size_px = max(2, width // 2 * 2), max(2, height // 2 * 2)
            self.colours = Colours(*self.size_px)
        return self.size_px

    def cut(self) -> None:
        """The next picture is a key frame."""
        self._key_at = None

    def add(self, frame: Frame, picture: Image) -> av.VideoFrame:
        """The next picture, (H, W, 3) BGR, at its frame's time and as encoders take it."""
        fitted = np.ascontiguousarray(_fitted(picture, *self.begin(picture)))
        made = self.colours.convert(av.VideoFrame.from_numpy_buffer(fitted, format="bgr24"), "yuv420p")
        before = self._last_pts
        made.pts, made.time_base = self._place(frame), self.time_base
        made.duration = lasting(made.pts, before, self.rate, self.time_base)
        if self._key_at is None or made.pts - self._key_at >= self._key_every:
            made.pict_type, self._key_at = av.video.frame.PictureType.I, made.pts
        return made

    def _place(self, frame: Frame) -> int:
        """The frame's time in the video: its own, or moved on so that it increases after a reconnect."""
        pts = round(frame.pts * frame.time_base / self.time_base)
        if self._last_pts is not None:
            if frame.epoch != self._epoch:
                step = round(1 / self.rate / self.time_base)
                self._shift = self._last_pts + max(step, 1) - pts
            pts = max(pts + self._shift, self._last_pts + 1)
        self._epoch, self._last_pts = frame.epoch, pts
        return pts


def lasting(pts: int, before: int | None, rate: Fraction, time_base: Fraction) -> int:
    """How long a picture is shown if it is the last: as the one before it was, or what the rate says if that is less.

    A rate is an average: with one pause of ten minutes, the last of 20 pictures would be shown for 30 s. Encoders ask
    for it if they have the flag `frame_duration`.

    Args:
        pts: of the picture, in `time_base`.
        before: of the one before it.
        rate: pictures a second.
        time_base: of all of these.
    """
    usual = max(1, round(1 / rate / time_base))
    return usual if before is None else min(usual, pts - before)


def _fitted(picture: Image, width: int, height: int) -> Image:
    """The picture at the video's size: its own but for an odd row or column, else scaled with black bars."""
    h, w = picture.shape[:2]
    if (w // 2 * 2, h // 2 * 2) == (width, height):
        return picture if (w, h) == (width, height) else np.ascontiguousarray(picture[:height, :width])
    ratio = min(width / w, height / h)
    new_w, new_h = max(1, round(w * ratio)), max(1, round(h * ratio))
    x, y = (width - new_w) // 2, (height - new_h) // 2
    canvas = np.zeros((height, width, 3), np.uint8)
    cv2.resize(picture, (new_w, new_h), dst=canvas[y : y + new_h, x : x + new_w], interpolation=cv2.INTER_AREA)
    return canvas


def finish(container: OutputContainer | None, stream: VideoStream | None, path: Path) -> None:
    """Write what the encoder still holds, and the trailer.

    Raises:
        SinkFailed: it could not be written.
    """
    if container is None:
        return
    try:
        for packet in stream.encode(None) if stream is not None else ():
            container.mux(packet)
        container.close()
    except (av.error.FFmpegError, OSError) as error:
        raise SinkFailed(f"{path} could not be finished: {error.strerror or error}") from error
