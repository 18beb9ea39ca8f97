"""Pieces of a video to one, without encoding anything again."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
from av.video.stream import VideoStream

from streampose.errors import SinkFailed
from streampose.sinks.video import FRAGMENTED, VIDEO_SUFFIXES

__all__ = ["join_videos"]


def join_videos(pieces: Sequence[Path], out: Path, suffix: str) -> None:
    """Write the pieces one after the other; each packet keeps its time.

    Args:
        pieces: of one codec and size, in order of time; at least one.
        out: overwritten.
        suffix: of the container, as in `VIDEO_SUFFIXES`; `out` may have another.

    Raises:
        SinkFailed: a piece is damaged, or the disk is full.
    """
    try:
        # "file:", since before a colon in a relative path FFmpeg sees a protocol.
        with av.open(f"file:{pieces[0]}") as first:
            template = first.streams.video[0]
            time_base = template.time_base or Fraction(1, 90_000)
            options = {} if suffix == ".mkv" else {**FRAGMENTED, "movie_timescale": str(time_base.denominator)}
            with av.open(f"file:{out}", "w", format=VIDEO_SUFFIXES[suffix], container_options=options) as target:
                stream = target.add_stream_from_template(template)
                assert isinstance(stream, VideoStream)
                stream.time_base = time_base
                for piece in pieces:
                    with av.open(f"file:{piece}") as source:
                        for packet in source.demux(video=0):
                            if packet.size:
                                packet.dts = packet.pts  # of short MKVs FFmpeg knows none; sinks reorder nothing
                                packet.stream = stream
                                target.mux(packet)
    except (av.error.FFmpegError, OSError) as error:
        raise SinkFailed(f"{out} could not be joined from its pieces: {error.strerror or error}") from error
