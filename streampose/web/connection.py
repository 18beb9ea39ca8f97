"""One TCP connection: what is answered where there is no request yet, as it cannot be read."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aiohttp import web

from streampose.web.guard import unread

__all__ = ["connections_of"]


class _Connection(web.RequestHandler):
    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """By itself aiohttp quotes what was sent, as text, and says which version of what is here."""
        response = super().handle_error(request, status, exc, message)  # which logs it
        if status != 400:
            return response
        mine = unread()
        mine.force_close()
        return mine


def connections_of(server: web.Server, **options: Any) -> Callable[[], asyncio.Protocol]:
    """What `create_server` takes, in place of the server itself.

    Args:
        server: of the runner.
        options: of each connection; the same that the runner has.
    """
    return lambda: _Connection(server, loop=asyncio.get_running_loop(), **options)
