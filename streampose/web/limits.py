"""How much strangers may ask for."""

from __future__ import annotations

from dataclasses import dataclass

from streampose.errors import ConfigError
from streampose.gauges import rss_mb

__all__ = ["Full", "Limits", "check_memory"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one visitor, and all together, may use. What is beyond is refused or ends that visitor's session only."""

    peers: int = 8
    """WebRTC sessions at a time."""
    connections: int = 256
    """TCP connections at a time."""
    viewers: int = 32
    """Requests that go on (poses, MJPEG) at a time."""
    streams: int = 32
    """Streams added over HTTP."""
    sdp_bytes: int = 32_768
    """An offer of a browser with everything in it has 6 kB."""
    body_bytes: int = 65_536
    body_s: float = 5.0
    """Until a request's body must be there, …"""
    header_s: float = 15.0
    """… until its headers must, and how long an idle connection is kept."""
    candidates: int = 20
    """ICE candidates that a peer may name: each is an address that packets are sent to."""
    connect_s: float = 10.0
    """Until a new peer must be connected."""
    idle_s: float = 6.0
    """The longest time without a picture of a peer that publishes, or without a report of one that plays."""
    frame_px: int = 1920 * 1088
    frame_rate: float = 65.0
    """Pictures a second, over three seconds."""
    messages_per_s: float = 20.0
    message_bytes: int = 4096
    message_parts: int = 512
    """Packets of messages that are not whole, and packets behind a gap: the longest message that is taken has four."""
    send_bytes: int = 65_536
    """What may wait in a peer's data channel; beyond it poses are dropped."""
    write_s: float = 10.0
    """How long a client may leave what was written to it unread."""
    memory_mb: float = 4096.0
    """Of this process: beyond it nobody new is let in."""


class Full(ConfigError):
    """There is no room now; later there may be."""


def check_memory(limits: Limits) -> None:
    """See whether there is memory for somebody new; where nobody can tell, there is.

    Raises:
        Full: there is none.
    """
    if (used_mb := rss_mb()) is not None and used_mb > limits.memory_mb:
        raise Full(f"the server uses more than {limits.memory_mb:.0f} MB, and takes nobody new")
