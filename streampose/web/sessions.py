"""All WebRTC sessions of a server: who is let in, who has to go."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from streampose.errors import ConfigError
from streampose.web.limits import Full, Limits, check_memory
from streampose.web.peer import Peer

__all__ = ["Sessions"]

log = logging.getLogger("streampose")

# A session that is not connected so long after its answer has to go when somebody else comes and there is no room.
_PATIENCE_S = 1.0


class Sessions:
    """The sessions by their ids.

    Args:
        limits: how many.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._peers: dict[str, Peer] = {}
        self._stopping = False

    def __len__(self) -> int:
        return len(self._peers)

    def get(self, session: str) -> Peer | None:
        """The session of this id."""
        return self._peers.get(session)

    async def open(self, make: Callable[[Callable[[Peer], None]], Peer], offer: str) -> tuple[Peer, str]:
        """Let somebody in, and answer the offer.

        Args:
            make: makes the session; it is given what to call at its end.
            offer: SDP.

        Raises:
            Full: there is no room.
            ConfigError: the offer cannot be answered.
        """
        if self._stopping:
            raise Full("the server is stopping")
        check_memory(self._limits)
        if len(self._peers) >= self._limits.peers:
            await self._make_room()
        peer = make(self._forget)
        self._peers[peer.id] = peer
        try:
            async with asyncio.timeout(self._limits.connect_s):
                return peer, await peer.answer(offer)
        except TimeoutError:
            await peer.ended("no answer was made in time")
            raise ConfigError("the offer took too long to answer") from None
        except BaseException:
            await peer.ended("the offer was refused")
            raise

    async def aclose(self) -> None:
        """End all of them."""
        self._stopping = True
        await asyncio.gather(*(peer.ended("the server is stopping") for peer in tuple(self._peers.values())))

    async def _make_room(self) -> None:
        """As in a SYN queue, the oldest of those that never finish goes first; those that work never do."""
        now = time.monotonic()
        half_open = [p for p in self._peers.values() if not p.connected and now - (p.answered_at or now) > _PATIENCE_S]
        if not half_open:
            raise Full(f"the server is full: it takes {self._limits.peers} sessions at a time")
        await min(half_open, key=lambda peer: peer.created_at).ended("somebody else waited for its place")
        if len(self._peers) >= self._limits.peers:
            raise Full("the server is full")

    def _forget(self, peer: Peer) -> None:
        self._peers.pop(peer.id, None)
