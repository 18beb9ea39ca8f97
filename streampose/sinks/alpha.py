"""Pictures that can be laid over others: ProRes 4444 video, and PNG images."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.codec.context import Flags
from av.container import OutputContainer
from av.video.stream import VideoStream

from streampose.errors import SinkFailed, SinkUnavailable
from streampose.frame import StreamInfo
from streampose.result import Result
from streampose.sinks.colours import Colours
from streampose.sinks.film import finish, lasting

__all__ = ["PNG_NAMES", "AlphaVideoSink", "PngSink"]


class AlphaVideoSink:
    """ProRes 4444 with 10 bits of colour and 16 of opacity, in .mov, with the times of the frames.

    All pictures have one size; (H, W, 4) BGRA, or (H, W, 3) BGR that is opaque.

    Args:
        path: of the file, overwritten.
    """

    wants_picture = True

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None

    def open(self, stream: str, info: StreamInfo) -> None:
        """Create the file.

        Raises:
            SinkUnavailable: it cannot be created.
        """
        if self._path.suffix.lower() != ".mov":
            raise SinkUnavailable(f"{self._path}: video with opacity is written as .mov (ProRes 4444)")
        self._time_base, self._rate, self._stream = info.time_base, info.rate or Fraction(30), None
        self._last_pts: int | None = None
        options = {"movie_timescale": str(info.time_base.denominator)}
        try:
            # "file:", since before a colon in a relative path FFmpeg sees a protocol.
            self._container = av.open(f"file:{self._path}", "w", format="mov", container_options=options)
        except (av.error.FFmpegError, OSError) as error:
            raise SinkUnavailable(f"{self._path} cannot be written: {error.strerror or error}") from error

    def write(self, result: Result) -> None:
        """Encode one picture.

        Raises:
            SinkFailed: the disk is full, or the encoder failed.
        """
        assert result.picture is not None
        assert self._container is not None
        picture = result.picture
        try:
            if self._stream is None:
                self._stream = self._container.add_stream("prores_ks", rate=self._rate, options={"profile": "4444"})
                self._stream.height, self._stream.width = picture.shape[:2]
                self._stream.pix_fmt = "yuva444p10le"
                self._colours = Colours(self._stream.width, self._stream.height)
                self._colours.tell(self._stream.codec_context)
                self._stream.time_base = self._stream.codec_context.time_base = self._time_base
                self._stream.codec_context.flags |= Flags.frame_duration
            rgba = cv2.cvtColor(picture, cv2.COLOR_BGRA2RGBA if picture.shape[2] == 4 else cv2.COLOR_BGR2RGBA)
            frame = av.VideoFrame.from_ndarray(np.asarray(rgba, np.uint8), format="rgba")
            frame = self._colours.convert(frame, "yuva444p10le")
            frame.pts, frame.time_base = result.frame.pts, self._time_base
            frame.duration = lasting(frame.pts, self._last_pts, self._rate, self._time_base)
            self._last_pts = frame.pts
            for packet in self._stream.encode(frame):
                self._container.mux(packet)
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise SinkFailed(f"{self._path} broke off: {getattr(error, 'strerror', None) or error}") from error

    def close(self) -> None:
        """Write what the encoder still holds, and the trailer.

        Raises:
            SinkFailed: it could not be written.
        """
        container, self._container = self._container, None
        finish(container, self._stream, self._path)


PNG_NAMES = re.compile(r"\d{12}\.png")
"""Of the files in a folder of images."""


class PngSink:
    """A folder of ``000000000012.png``, by the frames' numbers; BGR, or BGRA with opacity.

    Args:
        folder: made if it is not there.
    """

    wants_picture = True

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)

    def open(self, stream: str, info: StreamInfo) -> None:
        """Make the folder.

        Raises:
            SinkUnavailable: it cannot be made.
        """
        try:
            self._folder.mkdir(exist_ok=True)
        except OSError as error:
            raise SinkUnavailable(f"{self._folder} cannot be made: {error.strerror}") from error

    def write(self, result: Result) -> None:
        """Write one image.

        Raises:
            SinkFailed: the disk is full.
        """
        assert result.picture is not None
        path = self._folder / f"{result.frame.index:012d}.png"
        try:
            # Through memory: cv2.imwrite says nothing of why it failed.
            path.write_bytes(cv2.imencode(".png", result.picture)[1].tobytes())
        except OSError as error:
            raise SinkFailed(f"{path} cannot be written: {error.strerror}") from error

    def close(self) -> None:
        """Nothing to close."""
