"""The video and the sound of a container: which they are, and the packets of a stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.stream import VideoStream

__all__ = ["main_video", "moving", "packets_of", "played"]

T = TypeVar("T", VideoStream, AudioStream)


def moving(videos: Sequence[VideoStream]) -> list[VideoStream]:
    """Those that are videos: the cover of an album is none."""
    return [video for video in videos if not video.disposition & Disposition.attached_pic]


def main_video(videos: Sequence[VideoStream]) -> VideoStream | None:
    """What players show; see `played`."""
    return played(moving(videos))


def played(streams: Sequence[T]) -> T | None:
    """The first that is marked as the default, or else the first."""
    return next((one for one in streams if one.disposition & Disposition.default), streams[0] if streams else None)


def packets_of(container: InputContainer, stream: T) -> Iterator[Packet[T]]:
    """Its packets, up to the empty one that is its end.

    PyAV goes on to the ends of other streams, and fails at one that appeared late, as of a sound that begins within.
    """
    for packet in container.demux(stream):
        is_end = not packet.size and packet.pts is None and packet.dts is None
        yield packet  # a filter leaves it empty
        if is_end:
            return
