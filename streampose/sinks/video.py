"""Video files."""

from __future__ import annotations

import math
from fractions import Fraction
from io import FileIO
from pathlib import Path

import av
import cv2
import numpy as np
from av.container import OutputContainer
from av.video.stream import VideoStream

from streampose.errors import SinkFailed, SinkUnavailable
from streampose.frame import Image, StreamInfo
from streampose.result import Result

__all__ = ["FRAGMENTED", "VIDEO_SUFFIXES", "VideoSink"]

VIDEO_SUFFIXES = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}

# A kill loses at most the last fragment; a fragment begins with a key frame.
_FRAGMENT_S = 1.0
# Each fragment goes to the file at once, not when 32 KiB have gathered. The index waits for the first fragment
# (`delay_moov`), because one written before it (`empty_moov`) makes every file begin at time 0.
FRAGMENTED = {"movflags": "+frag_keyframe+delay_moov+default_base_moof", "flush_packets": "1"}
# MP4 counts time in whole units of one nth of a second, and a gap between frames in 31 bits: nanoseconds would overflow
# after two seconds, microseconds do after half an hour. What is finer than a microsecond is rounded to one.
_FINEST = 1_000_000


class VideoSink:
    """H.264 video of the rendered pictures, with the times of the frames: a variable rate stays variable.

    MP4 and MOV are fragmented, so that a killed process leaves a playable file that lacks one second or so.
    Odd sizes lose their last row or column (4:2:0 colour needs even ones); a picture of another size than the first is
    scaled to fit, with black bars. When a source reconnects, its times go on from the last one.

    Args:
        path: of the file, overwritten; .mp4, .mov or .mkv.
        codec: FFmpeg's name of the encoder.
        crf: quality of x264, 0 (lossless) to 51.
        preset: speed of x264. On the corridor clip, one thread: ultrafast 1.6, superfast 2.8, veryfast 3.8 ms a frame.
        threads: of the encoder.
    """

    wants_picture = True

    def __init__(
        self, path: str | Path, *, codec: str = "libx264", crf: int = 23, preset: str = "superfast", threads: int = 1
    ) -> None:
        self._path = Path(path)
        self._codec, self._threads = codec, threads
        self._options = {"crf": str(crf), "preset": preset} if codec == "libx264" else {}
        self._file: FileIO | None = None
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._time_base = Fraction(1, _FINEST)
        self._rate = Fraction(30)
        self._last_pts: int | None = None
        self._epoch = 0
        self._shift = 0
        self._key_at = -math.inf

    def open(self, stream: str, info: StreamInfo) -> None:
        """Create the file.

        Raises:
            SinkUnavailable: it cannot be created.
        """
        if (container_format := VIDEO_SUFFIXES.get(self._path.suffix.lower())) is None:
            known = ", ".join(VIDEO_SUFFIXES)
            raise SinkUnavailable(
                f"{self._path}: video is written as {known}, not {self._path.suffix or 'without a suffix'}"
            )
        if not self._path.parent.is_dir():
            raise SinkUnavailable(f"no folder {self._path.parent} for {self._path}: create it first")
        self._time_base = Fraction(1, min(info.time_base.denominator, _FINEST))
        # Only a hint for the encoder's rate control: the times of the frames are what counts.
        self._rate = info.rate or Fraction(30)
        options: dict[str, str] = {}
        if container_format != "matroska":
            # The first time is counted in the film's unit, not the track's: by default milliseconds.
            options = {**FRAGMENTED, "movie_timescale": str(self._time_base.denominator)}
        try:
            # Our own file, not FFmpeg's: its errors are the system's, and it is let go of whatever happens.
            self._file = self._path.open("wb", buffering=0)
            self._container = av.open(self._file, "w", format=container_format, container_options=options)
        except (av.error.FFmpegError, OSError) as error:
            self._let_go()
            raise SinkUnavailable(f"{self._path} cannot be written: {error.strerror or error}") from error

    def write(self, result: Result) -> None:
        """Encode one picture.

        Raises:
            SinkFailed: the disk is full, or the encoder failed.
        """
        assert result.picture is not None
        assert self._container is not None
        try:
            stream = self._stream or self._start(result.picture)
            frame = av.VideoFrame.from_ndarray(_fitted(result.picture, stream.width, stream.height), format="bgr24")
            frame.pts, frame.time_base = self._pts(result), self._time_base
            if result.frame.time_s - self._key_at >= _FRAGMENT_S or result.frame.time_s < self._key_at:
                frame.pict_type, self._key_at = av.video.frame.PictureType.I, result.frame.time_s
            self._mux(stream, frame)
        except (av.error.FFmpegError, OSError) as error:
            raise SinkFailed(
                f"{self._path} broke off: {error.strerror or error}; what is there can be played"
            ) from error

    def close(self) -> None:
        """Write what the encoder still holds, and the trailer.

        Raises:
            SinkFailed: it could not be written.
        """
        container, self._container = self._container, None
        try:
            if container is not None:
                for packet in self._stream.encode(None) if self._stream is not None else ():
                    container.mux(packet)
                container.close()
        except (av.error.FFmpegError, OSError) as error:
            raise SinkFailed(f"{self._path} could not be finished: {error.strerror or error}") from error
        finally:
            self._let_go()

    def _let_go(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _start(self, picture: Image) -> VideoStream:
        assert self._container is not None
        height, width = picture.shape[:2]
        try:
            stream = self._container.add_stream(self._codec, rate=self._rate, options=self._options)
        except (av.error.FFmpegError, ValueError) as error:
            raise SinkFailed(f"{self._path}: no encoder {self._codec} here: {error}") from error
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = max(2, width // 2 * 2), max(2, height // 2 * 2)
        stream.pix_fmt = "yuv420p"
        stream.time_base = stream.codec_context.time_base = self._time_base
        stream.codec_context.thread_count = self._threads
        # B-frames would hold back the pictures that a fragment ends with, and shift the first time off 0.
        stream.codec_context.max_b_frames = 0
        stream.codec_context.gop_size = 10_000  # key frames come by time, see write
        self._stream = stream
        return stream

    def _pts(self, result: Result) -> int:
        """The frame's time in the file: its own, or moved on so that it increases after a reconnect."""
        frame = result.frame
        pts = round(frame.pts * frame.time_base / self._time_base)
        if self._last_pts is not None:
            if frame.epoch != self._epoch:
                step = round(1 / self._rate / self._time_base)
                self._shift = self._last_pts + max(step, 1) - pts
            pts = max(pts + self._shift, self._last_pts + 1)
        self._epoch, self._last_pts = frame.epoch, pts
        return pts

    def _mux(self, stream: VideoStream, frame: av.VideoFrame) -> None:
        assert self._container is not None
        for packet in stream.encode(frame):
            self._container.mux(packet)


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
