"""Video files."""

from __future__ import annotations

from io import FileIO
from pathlib import Path

import av
from av.codec.context import Flags
from av.container import OutputContainer
from av.video.stream import VideoStream

from streampose.errors import SinkFailed, SinkUnavailable
from streampose.frame import Image, StreamInfo
from streampose.result import Result
from streampose.sinks.film import Film, finish
from streampose.whole import check_folder, check_link

__all__ = ["FRAGMENTED", "VIDEO_SUFFIXES", "VideoSink"]

VIDEO_SUFFIXES = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}

# A kill loses at most the last fragment; a fragment begins with a key frame.
_FRAGMENT_S = 1.0
# Each fragment goes to the file at once, not when 32 KiB have gathered. The index waits for the first fragment
# (`delay_moov`), because one written before it (`empty_moov`) makes every file begin at time 0.
FRAGMENTED = {"movflags": "+frag_keyframe+delay_moov+default_base_moof", "flush_packets": "1"}


class VideoSink:
    """H.264 video of the rendered pictures, with the times of the frames: a variable rate stays variable.

    MP4 and MOV are fragmented, so that a killed process leaves a playable file that lacks one second or so. What
    becomes of odd and changing sizes, and of time when a source reconnects, is `Film`'s.

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
        self.path = Path(path)
        self._codec, self._threads = codec, threads
        self._options = {"crf": str(crf), "preset": preset} if codec == "libx264" else {}
        self._file: FileIO | None = None
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._film: Film | None = None

    def open(self, stream: str, info: StreamInfo) -> None:
        """Create the file.

        Raises:
            SinkUnavailable: it cannot be created.
        """
        if (container_format := VIDEO_SUFFIXES.get(self.path.suffix.lower())) is None:
            known = ", ".join(VIDEO_SUFFIXES)
            raise SinkUnavailable(
                f"{self.path}: video is written as {known}, not {self.path.suffix or 'without a suffix'}"
            )
        check_folder(self.path)
        self._film, self._stream = Film(info, key_s=_FRAGMENT_S), None
        options: dict[str, str] = {}
        if container_format != "matroska":
            # The first time is counted in the film's unit, not the track's: by default milliseconds.
            options = {**FRAGMENTED, "movie_timescale": str(self._film.time_base.denominator)}
        try:
            # Our own file, not FFmpeg's: its errors are the system's, and it is let go of whatever happens.
            check_link(self.path)
            self._file = self.path.open("wb", buffering=0)
            self._container = av.open(self._file, "w", format=container_format, container_options=options)
        except (av.error.FFmpegError, OSError) as error:
            self._let_go()
            raise SinkUnavailable(f"{self.path} cannot be written: {error.strerror or error}") from error

    def write(self, result: Result) -> None:
        """Encode one picture.

        Raises:
            SinkFailed: the disk is full, or the encoder failed.
        """
        assert result.picture is not None
        assert self._film is not None
        try:
            stream = self._stream or self._start(self._film, result.picture)
            self._mux(stream, self._film.add(result.frame, result.picture))
        except SinkFailed:  # an OSError, too
            raise
        except (av.error.FFmpegError, OSError) as error:
            raise SinkFailed(
                f"{self.path} broke off: {error.strerror or error}; what is there can be played"
            ) from error

    def close(self) -> None:
        """Write what the encoder still holds, and the trailer.

        Raises:
            SinkFailed: it could not be written.
        """
        container, self._container = self._container, None
        try:
            finish(container, self._stream, self.path)
        finally:
            self._let_go()

    def _let_go(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _start(self, film: Film, picture: Image) -> VideoStream:
        assert self._container is not None
        try:
            stream = self._container.add_stream(self._codec, rate=film.rate, options=self._options)
        except (av.error.FFmpegError, ValueError) as error:
            raise SinkFailed(f"{self.path}: no encoder {self._codec} here: {error}") from error
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = film.begin(picture)
        stream.pix_fmt = "yuv420p"
        film.colours.tell(stream.codec_context)
        stream.time_base = stream.codec_context.time_base = film.time_base
        stream.codec_context.thread_count = self._threads
        stream.codec_context.flags |= Flags.frame_duration
        # B-frames would hold back the pictures that a fragment ends with, and shift the first time off 0.
        stream.codec_context.max_b_frames = 0
        stream.codec_context.gop_size = 10_000  # key frames come by time, see `Film`
        self._stream = stream
        return stream

    def _mux(self, stream: VideoStream, frame: av.VideoFrame) -> None:
        assert self._container is not None
        for packet in stream.encode(frame):
            self._container.mux(packet)
