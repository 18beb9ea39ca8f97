"""Pages of other origins: which ones may ask, and what their browsers have to hear (CORS)."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from aiohttp import web

from streampose.errors import ConfigError
from streampose.redaction import redact

__all__ = ["Origins"]

_ANY = "*"
_USUAL = {"http": 80, "https": 443}
_PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST, PUT, PATCH, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "Authorization, *",  # which a star alone is not
    "Access-Control-Max-Age": "600",
}
_EXPOSED = "Accept-Patch, Accept-Post, Allow, ETag, Link, Location, Retry-After, WWW-Authenticate, X-Frame, X-Time"


class Origins:
    """Of pages that may ask beside the server's own.

    What a browser adds by itself, as a password that it remembers, is not asked for
    (`Access-Control-Allow-Credentials`): the page has to have the token.

    Args:
        allowed: each as browsers write it; ``*`` = any, which needs a token.
        token: whether one is needed.

    Raises:
        ConfigError: one is no origin, or ``*`` would let every page in that a browser here shows.
    """

    def __init__(self, allowed: Iterable[str] = (), *, token: bool = False) -> None:
        self._allowed = frozenset(map(_checked, allowed))
        if _ANY in self._allowed and not token:
            raise ConfigError("--allow-origin '*' lets every page in that a browser here shows: give a --token, too")

    def allow(self, request: web.Request) -> bool:
        """Whether the request of a page is of one of them."""
        return _ANY in self._allowed or request.headers.get("Origin") in self._allowed

    def preflight(self, request: web.Request) -> web.Response | None:
        """The answer to a browser that asks whether a request of an allowed origin may come; `None`: it does not."""
        asks = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
        if not (asks and self.allow(request)):
            return None
        return web.Response(status=204, headers=_PREFLIGHT)

    def dress(self, request: web.Request, response: web.StreamResponse) -> None:
        """Let the page have the answer."""
        if not self._allowed:
            return
        response.headers["Vary"] = "Origin"
        origin = request.headers.get("Origin")
        if origin is not None and self.allow(request):
            response.headers["Access-Control-Allow-Origin"] = _ANY if _ANY in self._allowed else origin
            response.headers["Access-Control-Expose-Headers"] = _EXPOSED


def _checked(origin: str) -> str:
    """The same, if a browser would write it so.

    Raises:
        ConfigError: it would not.
    """
    if origin == _ANY:
        return origin
    try:
        parts = urlsplit(origin)
        host, port = (parts.hostname or "").encode("idna").decode(), parts.port
    except ValueError:  # no port, no address of IPv6, no name
        host = ""
    if not (host and parts.scheme):
        raise ConfigError(f"--allow-origin {redact(origin)}: an origin is scheme://host or scheme://host:port")
    where = f"[{host}]" if ":" in host else host
    written = f"{parts.scheme}://{where}" + ("" if port in {None, _USUAL.get(parts.scheme)} else f":{port}")
    if origin != written:
        raise ConfigError(f"--allow-origin {redact(origin)}: a browser would write {written}")
    return origin
