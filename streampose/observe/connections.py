"""How many TCP connections there are: strangers who only hold them must not use up the files of this process."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys

from aiohttp import web
from aiohttp.typedefs import Handler

__all__ = ["Connections"]

# A client whose network is cut says nothing: what was sent to it waits for an answer for so long (Linux's own option:
# elsewhere as long as the system has it), …
_UNANSWERED_MS = 15_000
# … and one that nothing is sent to is asked after so many seconds, every so many, so many times. By itself Linux
# gives up after 15 minutes, or two hours.
_ASKED = (("TCP_KEEPIDLE", 10), ("TCP_KEEPALIVE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 2))


class Connections:
    """Where there are too many, the oldest one that asks for nothing goes; if there is none, the newest.

    A request is one when all of its body is there: until then nothing is done for it.

    Args:
        most: at a time; never more than a third of the files that this process may open.
    """

    def __init__(self, most: int) -> None:
        self.most = min(most, _files() // 3)
        self._open: dict[object, asyncio.Transport] = {}
        self._asked: dict[object, list[web.Request]] = {}

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """For `aiohttp.web.Application`: it says who asks for something."""
        # Requests of one connection may follow each other closely.
        asked = self._asked.setdefault(request.protocol, [])
        asked.append(request)
        try:
            return await handler(request)
        finally:
            asked.remove(request)
            if not asked:
                del self._asked[request.protocol]

    def watch(self, server: web.Server) -> None:
        """Be told of each connection of a server."""
        made, lost = server.connection_made, server.connection_lost

        def opened(handler: web.RequestHandler, transport: asyncio.Transport) -> None:
            made(handler, transport)
            _notice_silence(transport)
            self._open[handler] = transport
            if len(self._open) > self.most:
                idle = (one for one in self._open if not self._busy(one))
                self._open.pop(next(idle)).abort()

        def closed(handler: web.RequestHandler, exc: BaseException | None = None) -> None:
            self._open.pop(handler, None)
            lost(handler, exc)

        server.connection_made, server.connection_lost = opened, closed  # type: ignore[method-assign]

    def _busy(self, connection: object) -> bool:
        return any(request.content.is_eof() for request in self._asked.get(connection, ()))


def _notice_silence(transport: asyncio.Transport) -> None:
    one = transport.get_extra_info("socket")
    if one is None or one.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    with contextlib.suppress(OSError):  # gone again: some systems say so here
        one.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (*_ASKED, ("TCP_USER_TIMEOUT", _UNANSWERED_MS)):
            if hasattr(socket, name):  # each system has its own of them
                one.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _files() -> int:
    """How many this process may open."""
    try:
        import resource  # noqa: PLC0415 - Windows has none, and no such limit
    except ImportError:
        return sys.maxsize
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft
