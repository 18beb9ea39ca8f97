"""A visitor who watches a stream's drawn video (WHEP)."""

from __future__ import annotations

import time
from collections.abc import Callable

from aiortc import RTCRtpTransceiver

from streampose.errors import ConfigError
from streampose.web.hub import Hub
from streampose.web.peer import Peer, Surroundings
from streampose.web.video import DrawnVideo

__all__ = ["Player"]


class Player(Peer):
    """A session that plays one stream.

    Args:
        hub: of the stream.
    """

    def __init__(self, around: Surroundings, on_closed: Callable[[Peer], None], *, hub: Hub) -> None:
        super().__init__(around, on_closed)
        self._hub = hub
        self._video = DrawnVideo(hub, around.effort)
        self._reported = (0, 0)  # packets that came, pictures that went until then
        self._heard_at = time.monotonic()

    def _prepare(self) -> RTCRtpTransceiver:
        return self._pc.addTransceiver(self._video, direction="sendonly")

    def _check(self, video: RTCRtpTransceiver) -> None:
        if video.currentDirection != "sendonly":
            raise ConfigError("the offer does not want to receive video")

    async def _began(self) -> None:
        self._video.show(True)
        self._heard_at = time.monotonic()

    async def _idle(self, now: float) -> str | None:
        """Receivers report every second or so on what they get; one that is silent meanwhile is gone."""
        if self._hub.closed:
            return "the stream ended"
        packets, pictures = await self._packets_in(), self._video.frames
        if packets != self._reported[0] or pictures == self._reported[1]:
            self._heard_at = now
        self._reported = (packets, pictures)
        idle_s = self._around.limits.idle_s
        return None if now - self._heard_at < idle_s else f"no report for {idle_s:g} s"

    async def _let_go(self) -> None:
        self._video.stop()

    async def _packets_in(self) -> int:
        stats = await self._pc.getStats()
        return sum(one.packetsReceived for one in stats.values() if one.type == "transport")
