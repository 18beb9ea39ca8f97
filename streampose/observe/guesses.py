"""Tokens that somebody guesses: told, and slowed down."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import time
from collections.abc import Callable
from weakref import WeakSet

from aiohttp import web

from streampose.observe.access import Address

__all__ = ["Guesses", "party"]

log = logging.getLogger("streampose")

# So many wrong tokens of an address are compared at once, and one more every so many seconds, …
_FREE, _FORGOTTEN_S = 10.0, 6.0
# … and what comes beyond that so many seconds later. Pages wait for 5 s, Prometheus for 10.
_LATER_S = 2.0
# So many addresses are told apart; all others are as one.
_MOST = 1024
# At most so many addresses are told in so many seconds, each once.
_TOLD, _TOLD_S = 32, 60.0


class Guesses:
    """How many wrong tokens each address has sent lately.

    After some of them every token of that address is compared later, the right one, too: were that one answered
    sooner, nobody who guesses would wait any longer than that. A connection that has shown it does not wait.

    Args:
        most: of all addresses so many wait at a time; the next one is refused, whatever its token is.
        clock: monotonic seconds.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock = most, clock
        self._waiting = 0
        self._wrong: dict[str, tuple[float, float]] = {}
        """Of each address how many there were, and when."""
        self._pruned_at = -1.0
        self._trusted: WeakSet[object] = WeakSet()
        """Connections that have shown the token."""
        self._told_at: dict[str, float] = {}

    async def knows(self, request: web.Request, address: Address, *, now: bool = False) -> bool:
        """Whether a request has the token, if one is needed.

        Args:
            request: the request.
            address: that has the token.
            now: one that would have to wait has none.

        Raises:
            web.HTTPTooManyRequests: too many wait.
        """
        if address.token is None:
            return True
        sent, remote = request.headers.get("Authorization", ""), request.remote or "somebody"
        if sent and not self.trusts(request) and self.guessing(remote):
            if now:
                return False
            await self._later()
        known = address.knows(sent)
        if request.transport is not None:  # it has not hung up
            # A proxy's connection may be of many people.
            (self._trusted.add if known else self._trusted.discard)(request.transport)
        if sent and not known:
            self.add(remote)
        return known

    async def _later(self) -> None:
        if self._waiting >= self._most:
            headers = {"Retry-After": f"{_LATER_S:.0f}"}
            raise web.HTTPTooManyRequests(headers=headers, text="somebody guesses the token, and too many wait")
        self._waiting += 1
        try:
            await asyncio.sleep(_LATER_S)
        finally:
            self._waiting -= 1

    def trusts(self, request: web.Request) -> bool:
        """Whether the last request of this connection that `knows` was asked about had the token."""
        return request.transport in self._trusted

    def guessing(self, remote: str) -> bool:
        """Whether so many wrong ones came from there that the next one waits."""
        return self._lately(self._key(remote)) > _FREE - 1

    def add(self, remote: str) -> None:
        """Count a wrong one, and say so in the log, without filling it."""
        now = self._clock()
        if len(self._wrong) >= _MOST and now - self._pruned_at >= 1:
            self._pruned_at = now
            self._wrong = {key: counted for key, counted in self._wrong.items() if self._lately(key) > 0}
        key = self._key(remote)
        self._wrong[key] = min(_FREE, self._lately(key) + 1), now
        self._told_at = {told: at for told, at in self._told_at.items() if now - at < _TOLD_S}
        if key not in self._told_at and len(self._told_at) < _TOLD:
            self._told_at[key] = now
            log.warning("%s sent a wrong token (said once a minute)", remote)

    def _key(self, remote: str) -> str:
        key = party(remote)
        return key if key in self._wrong or len(self._wrong) < _MOST else ""

    def _lately(self, key: str) -> float:
        count, at = self._wrong.get(key, (0.0, 0.0))
        return max(0.0, count - (self._clock() - at) / _FORGOTTEN_S)


def party(address: str) -> str:
    """What one party has: an IPv4 address, or the /64 of an IPv6 one."""
    try:
        known = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return str(ipaddress.ip_network((known, 64), strict=False)) if known.version == 6 else address
