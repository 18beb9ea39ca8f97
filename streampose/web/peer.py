"""One WebRTC session, from its offer to its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCRtpTransceiver, RTCSessionDescription
from aiortc.sdp import candidate_from_sdp

from streampose.errors import ConfigError, StreamposeError
from streampose.typed import Typed
from streampose.web.certificate import certify
from streampose.web.effort import Effort
from streampose.web.ice import IceServer, Offered, bound_addresses, offer_only, usable
from streampose.web.limits import Limits
from streampose.web.messages import bound
from streampose.web.offer import checked, refusing
from streampose.web.resending import bound_resending
from streampose.web.tasks import Tasks

__all__ = ["Peer", "Surroundings"]

log = logging.getLogger("streampose")

# Gathering takes two seconds at most (`ice.py`).
_ANSWER_S = 4.0
# The cheapest first: of a picture of 640×480 VP8 takes a fifth to a half of the time that H.264 takes (docs/web.md).
_CODECS = ("video/vp8", "video/h264")


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What all sessions of a server share."""

    limits: Limits
    offered: Sequence[Offered]
    ice_servers: Sequence[IceServer]
    effort: Effort
    closing: Tasks
    """Ends sessions."""

    @property
    def loopback_only(self) -> bool:
        """Whether packets go to this machine only."""
        return all(place.public in {"127.0.0.1", "::1"} for place in self.offered) and not self.ice_servers


class Peer(ABC):
    """A session; its kinds say what is done with the media.

    Args:
        around: what all sessions share.
        on_closed: called once, when everything is let go of.
    """

    def __init__(self, around: Surroundings, on_closed: Callable[[Peer], None]) -> None:
        self.id = secrets.token_urlsafe(24)
        """Who knows it may end the session: it is nobody else's."""
        self.etag = f'"{secrets.token_urlsafe(8)}"'
        self.created_at = time.monotonic()
        self.answered_at: float | None = None
        """Since when it is the peer's turn."""
        self.origin = ""
        """Whose it is: an address, or what one party has of them."""
        self.connected = False
        self.reason: str | None = None
        """Why it ended."""
        self._around, self._on_closed = around, on_closed
        self._tasks = Tasks()
        servers = [server.ours() for server in around.ice_servers]
        # Not `None`: that would be a public server of somebody else's.
        self._pc = RTCPeerConnection(RTCConfiguration(iceServers=servers))
        certify(self._pc)
        self._pc.on("connectionstatechange", self._state_changed)
        self._answering: asyncio.Task[Any] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._candidates = 0

    async def answer(self, offer: str) -> str:
        """Take an offer, and return the answer to it.

        Raises:
            ConfigError: it is none, or not one that can be answered; or the session was ended.
            Full: this machine has no sockets for it.
        """
        # A task of its own, which the session's end waits for: aioice leaves requests behind where it is cancelled.
        self._answering = self._tasks.start(self._answer(offer), f"answer-{self.id[:6]}", awaited=True)
        return str(await asyncio.shield(self._answering))

    async def _answer(self, offer: str) -> str:
        pc, around = self._pc, self._around
        description = checked(offer, around.limits, loopback_only=around.loopback_only)
        video = self._prepare()
        bound_resending(video.sender)
        with refusing("the offer is malformed, or has no VP8 or H.264 of a kind that is known here"):
            # What is preferred counts when codecs are negotiated, which is in the next call.
            known = RTCRtpSender.getCapabilities("video").codecs
            video.setCodecPreferences(sorted(known, key=_preference))
            await pc.setRemoteDescription(RTCSessionDescription(sdp=description, type="offer"))
            # All sections of an offer are one transport: what is done to its gatherer is done once.
            transports = {transceiver.receiver.transport for transceiver in pc.getTransceivers()}
            for transceiver in pc.getTransceivers():
                if transceiver is not video:
                    transceiver.direction = "inactive"  # nobody would take what it brings
            if pc.sctp is not None:
                transports.add(pc.sctp.transport)
                bound(pc.sctp, around.limits, self.end)
            for gatherer in {transport.transport.iceGatherer for transport in transports}:
                offer_only(gatherer, around.offered)
                bound_addresses(gatherer)
            await pc.setLocalDescription(await pc.createAnswer())
            self._check(video)
        if self.ending:
            raise ConfigError(f"the session ended before its answer was made: {self.reason}")
        self.answered_at = time.monotonic()
        self._tasks.start(self._watch(), f"watch-{self.id[:6]}")
        return str(pc.localDescription.sdp)

    async def add_candidates(self, lines: Sequence[tuple[str | None, str]]) -> None:
        """Take more of the peer's ICE candidates: (mid, ``candidate:…``) each.

        Raises:
            ConfigError: one makes no sense, or there are too many.
        """
        self._candidates += len(lines)
        if self._candidates > self._around.limits.candidates:
            raise ConfigError(f"more than {self._around.limits.candidates} candidates")
        for mid, line in lines:
            if not usable(line, loopback_only=self._around.loopback_only):
                continue
            with refusing("a candidate is malformed"):
                candidate = candidate_from_sdp(line.removeprefix("a=").removeprefix("candidate:"))
                candidate.sdpMid = mid or "0"
                await self._pc.addIceCandidate(candidate)

    @property
    def ending(self) -> bool:
        """Whether its end has begun."""
        return self._closing is not None

    def end(self, reason: str) -> asyncio.Task[None]:
        """Begin to end it; `ended` is for who wants to see it done. May be called again."""
        if self._closing is None:
            self.reason = reason
            log.info("peer %s: %s", self.id[:6], reason, extra={"event": "peer-ended", "cause": reason})
            # Not one of its own tasks: it ends them.
            self._closing = self._around.closing.start(self._close(), f"close-{self.id[:6]}")
        return self._closing

    async def ended(self, reason: str) -> None:
        """End it, and return when that is done. Who waits may be cancelled; the end goes on all the same."""
        await asyncio.shield(self.end(reason))

    @abstractmethod
    def _prepare(self) -> RTCRtpTransceiver:
        """Make the transceiver of the video, before there is an offer."""

    @abstractmethod
    def _check(self, video: RTCRtpTransceiver) -> None:
        """See whether what was agreed on is what is needed.

        Raises:
            ConfigError: it is not.
        """

    @abstractmethod
    async def _began(self) -> None:
        """It is connected."""

    @abstractmethod
    async def _idle(self, now: float) -> str | None:
        """Why it is not worth being kept, if it is not; asked every second."""

    @abstractmethod
    async def _let_go(self) -> None:
        """End what it has begun, before the connection is closed."""

    def _state_changed(self) -> None:
        state = self._pc.connectionState
        if self.ending:
            return  # what begins now would never end
        if state == "connected" and not self.connected:
            self.connected = True
            self._tasks.start(self._began(), f"begin-{self.id[:6]}")
        elif state in {"failed", "closed"}:
            self.end("the connection was lost" if self.connected else "ICE failed")

    async def _watch(self) -> None:
        limits = self._around.limits
        while True:
            await asyncio.sleep(1.0)
            now = time.monotonic()
            if not self.connected:
                if now - self.created_at > limits.connect_s:
                    self.end(f"not connected within {limits.connect_s:g} s")
            elif (reason := await self._idle(now)) is not None:
                self.end(reason)

    async def _close(self) -> None:
        try:
            if self._answering is not None:
                await asyncio.wait([self._answering], timeout=_ANSWER_S)
            await self._tasks.aclose()
            await self._let_go()
        except StreamposeError as error:
            log.warning("%s", error, extra={"event": "peer-ended"})
        finally:
            try:
                await self._disconnect()
            finally:
                self._on_closed(self)

    async def _disconnect(self) -> None:
        try:
            # A peer that has vanished cannot answer.
            with contextlib.suppress(TimeoutError), Typed(StreamposeError, "closing a peer: ", passing=(TimeoutError,)):
                async with asyncio.timeout(5.0):
                    await self._pc.close()
                    # aiortc's own task looks every 20 ms whether it still has to connect.
                    await asyncio.sleep(0.05)
        except StreamposeError as error:
            log.warning("%s", error, extra={"event": "peer-ended"})


def _preference(codec: Any) -> int:
    name = codec.mimeType.lower()
    return _CODECS.index(name) if name in _CODECS else len(_CODECS)
