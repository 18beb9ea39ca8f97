"""Packets of a video that its viewer says are lost: sent again, but not as often as anybody likes."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from itertools import islice

from aiortc import RTCRtpSender
from aiortc.rtp import RTP_HISTORY_SIZE, AnyRtcpPacket, RtcpRtpfbPacket

from streampose.web.bucket import Bucket

__all__ = ["bound_resending"]

# A second. aiortc's videos have some 290 packets a second at most, of H.264 at 3 Mbit/s, and not all are lost.
_RATE = 2 * RTP_HISTORY_SIZE


def bound_resending(sender: RTCRtpSender, clock: Callable[[], float] = time.monotonic) -> None:
    """Let what is sent again be bounded, before the connection is made.

    aiortc sends a packet as often as it is named: one report of 1.2 kB names 4,930, which made 4.2 MB and took 35 ms
    of everybody's event loop. A picture that is not whole in the end is followed by a key frame, which viewers ask for.
    """
    handle: Callable[[AnyRtcpPacket], Awaitable[None]] = sender._handle_rtcp_packet
    bucket = Bucket(_RATE, _RATE, clock)

    async def few(packet: AnyRtcpPacket) -> None:
        if isinstance(packet, RtcpRtpfbPacket):
            named = islice(dict.fromkeys(packet.lost), RTP_HISTORY_SIZE)
            packet.lost = [number for number in named if bucket.take()]
        await handle(packet)

    sender._handle_rtcp_packet = few  # type: ignore[method-assign]
