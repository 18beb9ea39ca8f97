"""All WebRTC sessions of a server: who is let in, who has to go."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager

from streampose.errors import ConfigError
from streampose.observe.guesses import party
from streampose.web.limits import Full, Limits, check_memory
from streampose.web.peer import Peer

__all__ = ["Sessions"]

log = logging.getLogger("streampose")

# A session that is not connected so long after its answer has to go when somebody else comes and there is no room.
_PATIENCE_S = 1.0
# While unfinished sessions of one address hold half of all places, so many more of its offers wait, for so long.
_MOST_WAITING, _WAIT_S = 16, 2.0


class Sessions:
    """The sessions by their ids.

    Args:
        limits: how many.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._peers: dict[str, Peer] = {}
        self._waiting, self._opening = Counter[str](), Counter[str]()
        self._stopping = False

    def __len__(self) -> int:
        return len(self._peers)

    def __iter__(self) -> Iterator[Peer]:
        return iter(tuple(self._peers.values()))

    def get(self, session: str) -> Peer | None:
        """The session of this id."""
        return self._peers.get(session)

    async def open(
        self, make: Callable[[Callable[[Peer], None]], Peer], offer: str, address: str = ""
    ) -> tuple[Peer, str]:
        """Let somebody in, and answer the offer.

        Args:
            make: makes the session; it is given what to call at its end.
            offer: SDP.
            address: where it comes from. Sessions of one address that are not connected hold half of the places at
                most: whoever floods the server with offers leaves room for others, and costs little.

        Raises:
            Full: there is no room.
            ConfigError: the offer cannot be answered.
        """
        if self._stopping:
            raise Full("the server is stopping")
        check_memory(self._limits)
        origin = party(address)
        async with self._turn(origin):
            while len(self._peers) >= self._limits.peers:
                # As in a SYN queue, the oldest of those that never finish goes first; those that work never do.
                if not await self._end_oldest(self._peers.values()):
                    raise Full(f"the server is full: it takes {self._limits.peers} sessions at a time")
            if self._stopping:
                raise Full("the server is stopping")
            peer = make(self._forget)
            peer.origin = origin
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

    @asynccontextmanager
    async def _turn(self, origin: str) -> AsyncIterator[None]:
        """Wait for a place among the unfinished sessions of an address, and hold it until the answer is made.

        Raises:
            Full: there is none.
        """
        if self._waiting[origin] >= _MOST_WAITING:
            raise Full("too many offers of your address wait to be answered")
        self._waiting[origin] += 1
        try:
            async with asyncio.timeout(_WAIT_S):
                while self._unfinished(origin) >= max(1, self._limits.peers // 2):
                    if not await self._end_oldest(self._of(origin)):
                        await asyncio.sleep(0.05)
        except TimeoutError:
            raise Full("too many sessions of your address are not connected yet") from None
        finally:
            self._waiting -= Counter([origin])
        self._opening[origin] += 1
        try:
            yield
        finally:
            self._opening -= Counter([origin])

    def _of(self, origin: str) -> list[Peer]:
        return [peer for peer in self._peers.values() if peer.origin == origin]

    def _unfinished(self, origin: str) -> int:
        """Sessions of an address that are being answered, or are and have not connected yet."""
        answered = [peer for peer in self._of(origin) if peer.answered_at is not None]
        return self._opening[origin] + sum(not peer.connected for peer in answered)

    async def _end_oldest(self, peers: Iterable[Peer]) -> bool:
        """End the oldest of these sessions that should have been connected by now; whether there was one.

        One that somebody has ended already is waited for only if there is no other.
        """
        now = time.monotonic()
        late = [p for p in peers if not p.connected and now - (p.answered_at or now) > _PATIENCE_S]
        if late:
            await min(late, key=lambda peer: (peer.ending, peer.created_at)).ended("somebody else waited for its place")
        return bool(late)

    def _forget(self, peer: Peer) -> None:
        self._peers.pop(peer.id, None)
