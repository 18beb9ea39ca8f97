"""The video of a container: which it is, and its packets."""

from __future__ import annotations

from collections.abc import Iterator

from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

__all__ = ["packets_of"]


def packets_of(container: InputContainer, video: VideoStream) -> Iterator[Packet[VideoStream]]:
    """Its packets, up to the empty one that is its end.

    PyAV goes on to the ends of other streams, and fails at one that appeared late, as of a sound that begins within.
    """
    for packet in container.demux(video):
        yield packet
        if not packet.size and packet.dts is None:
            return
