"""What a request asks for: its body, and the stream that its path names."""

from __future__ import annotations

import asyncio

from aiohttp import web

from streampose.web.catalogue import Catalogue, Entry
from streampose.web.limits import Limits

__all__ = ["body_of", "running_stream", "stream_of"]


def stream_of(request: web.Request, catalogue: Catalogue) -> Entry:
    """The stream whose name is in the path.

    Raises:
        web.HTTPNotFound: there is none.
    """
    try:
        return catalogue[request.match_info["id"]]
    except KeyError:
        raise web.HTTPNotFound(text="there is no such stream") from None


def running_stream(request: web.Request, catalogue: Catalogue) -> Entry:
    """The same, if it has not ended.

    Raises:
        web.HTTPException: there is none, or it has.
    """
    if catalogue.is_over(entry := stream_of(request, catalogue)):
        raise web.HTTPGone(text="the stream has ended")
    return entry


async def body_of(request: web.Request, kind: str, limits: Limits) -> str:
    """A request's body as text.

    Raises:
        web.HTTPException: it is of another kind, compressed, too large, too slow, broken, or no text.
    """
    if request.content_type != kind:
        raise web.HTTPUnsupportedMediaType(text=f"send {kind}")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise web.HTTPUnsupportedMediaType(text="send it as it is, without a Content-Encoding")
    try:
        async with asyncio.timeout(limits.body_s):
            return (await request.read()).decode()
    except TimeoutError:
        raise web.HTTPRequestTimeout(text="the body took too long") from None
    except UnicodeDecodeError:
        raise web.HTTPBadRequest(text="the body is not UTF-8") from None
    except web.RequestPayloadError:
        raise web.HTTPBadRequest(text="the body breaks off, or its parts are not as they say") from None
