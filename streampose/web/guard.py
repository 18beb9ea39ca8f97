"""Before any handler: whose request this is, from which page, and what every answer says."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Middleware

from streampose.errors import ConfigError, StreamposeError
from streampose.observe.access import Address
from streampose.observe.guesses import Guesses
from streampose.redaction import redact
from streampose.typed import Typed
from streampose.web.limits import Full
from streampose.web.origins import Origins

__all__ = ["Guard", "unread"]

log = logging.getLogger("streampose")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' blob:; media-src 'self' blob:; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=(), display-capture=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Server": "streampose",
}
_PICTURES = ("/picture.jpg", "/video.mjpeg")
_OTHERS = "requests of other sites' pages are refused"


class Guard:
    """A middleware.

    Args:
        address: where the server listens, and its token.
        origins: of the pages that may ask beside its own.
        waiting: so many requests may wait at a time while somebody guesses the token.
    """

    def __init__(self, address: Address, origins: Origins, *, waiting: int) -> None:
        self._address, self._origins = address, origins
        self._guesses = Guesses(waiting)

    def middleware(self) -> Middleware:
        """For `aiohttp.web.Application`."""

        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            try:
                with Typed(_Unforeseen, passing=(web.HTTPException, ConnectionError)):
                    await self._check(request)
                    preflight = self._origins.preflight(request)
                    response = await handler(request) if preflight is None else preflight
            except web.HTTPException as error:
                response = _problem(error.status, error.text or error.reason, error.headers)
            except Full as error:
                response = _problem(503, str(error), {"Retry-After": "5"})
            except ConfigError as error:
                response = _problem(400, str(error))
            except _Unforeseen:
                log.exception("a bug, met by %s", request.method)
                response = _problem(500, "the server has a problem, which is in its log")
            except StreamposeError as error:
                response = _problem(500, str(error))
            if not response.prepared:
                self.dress(request, response)
            return response

        return guard

    def knows(self, request: web.Request) -> bool:
        """Whether it comes with the token, if one is needed."""
        return self._address.token is None or self._guesses.trusts(request)

    def dress(self, request: web.Request, response: web.StreamResponse) -> None:
        """Set the headers that every answer has."""
        response.headers.update(_HEADERS)
        response.headers.setdefault("Cache-Control", "no-store")
        self._origins.dress(request, response)

    async def _check(self, request: web.Request) -> None:
        host = request.headers.get("Host", "")
        if not self._address.is_called(host):
            raise web.HTTPMisdirectedRequest(text=f"this server is not {redact(host)[:80]!r}")
        # The page itself is for everybody, and knows nothing. Browsers send an Origin with its scripts, too: where a
        # proxy changes the Host, they have to come to say so.
        of_page = request.path.startswith("/page/")
        origin = request.headers.get("Origin")
        foreign = origin is not None and _netloc(origin) != host
        if foreign and not of_page and not self._origins.allow(request):
            raise web.HTTPForbidden(text=f"{_OTHERS} (see --allow-origin), or a proxy changes the Host header")
        cross = origin is None and request.headers.get("Sec-Fetch-Site") == "cross-site"
        if cross and request.path != "/" and not of_page:
            raise web.HTTPForbidden(text=_OTHERS)
        if request.path == "/" or of_page:
            return
        sent = request.headers.get("Authorization", "")
        if foreign and self._address.token is not None and sent.lower().startswith("basic"):
            raise web.HTTPUnauthorized(headers=_challenge("Bearer"), text="pages of other origins send a Bearer token")
        known = await self._guesses.knows(request, self._address)
        if request.method != "OPTIONS" and not known:
            # Of pictures an address bar and a plain `<img>` can ask for the token themselves, as a password; a page
            # that sends one, if a wrong one, asks by itself.
            by_page = foreign or sent.lower().startswith("bearer")
            scheme = "Basic" if request.path.endswith(_PICTURES) and not by_page else "Bearer"
            words = "that is not the token" if sent else "a token is needed"
            raise web.HTTPUnauthorized(headers=_challenge(scheme), text=words)


def _challenge(scheme: str) -> dict[str, str]:
    return {"WWW-Authenticate": f'{scheme} realm="streampose"'}


def unread() -> web.Response:
    """The answer to what is no request: nobody knows whose it is, or of which page."""
    response = _problem(400, "this is no HTTP (nor is https:// without --tls-cert), or a line is broken or too long")
    response.headers.update(_HEADERS)
    return response


def _problem(status: int, text: str, headers: object = None) -> web.Response:
    response = web.json_response({"error": redact(text)}, status=status)
    for key, value in dict(headers or {}).items():  # type: ignore[call-overload]
        if key.lower() in {"allow", "www-authenticate", "retry-after", "location", "accept-post", "accept-patch"}:
            response.headers[key] = value
    return response


class _Unforeseen(StreamposeError):
    """A bug of ours: for the log, not for strangers."""


def _netloc(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None
