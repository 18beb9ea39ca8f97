"""Results to a web server: POST requests of JSON Lines."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
import urllib.request
from collections.abc import Sequence

import httpx

from streampose.errors import ConfigError, SinkAway, SinkLater, SinkRefused
from streampose.redaction import redact, server_of
from streampose.sinks.presence import find

__all__ = ["WebhookCarrier"]

# Answers that say "later" rather than "no", and, as no answer in time does, that it may have been too much at once.
_LATER = {httpx.codes.TOO_EARLY, httpx.codes.TOO_MANY_REQUESTS}
_SLOW = {httpx.codes.REQUEST_TIMEOUT, httpx.codes.GATEWAY_TIMEOUT}
# An answer's body says nothing to us; a short one is read to its end, so that its connection can be used again.
_BODY_BYTES = 65_536
_BODY_S = 0.5
_TOKEN = re.compile("[!-~]+")
_LAST_PORT = 65_535
_PORTS = {"http": 80, "https": 443}


class WebhookCarrier:
    """Each batch is the body of one POST, of the type ``application/x-ndjson``; any answer of 200 to 299 is a yes.

    An event loop is driven from here: httpx's own timeouts are for each read, so that a server which drips its answer
    would hold us for ever; a loop's timeout is for the whole.

    Args:
        url: ``http(s)://…``; a user and a password in it become basic authentication, and ``#token=TOKEN`` at its end
            the header ``Authorization: Bearer TOKEN``: what follows a # is not sent to servers otherwise.
        timeout_s: for connecting, for sending, and for the answer, together.

    Raises:
        ConfigError: it is no URL, its token is none, or the environment names a proxy that cannot be used.
    """

    def __init__(self, url: str, *, timeout_s: float = 5.0) -> None:
        self.url, self._timeout_s = url, timeout_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: httpx.AsyncClient | None = None
        try:
            parts = httpx.URL(url)
        except httpx.InvalidURL:
            # Not chained: what it says may be a piece of a password that was not escaped.
            raise ConfigError(f"this is no URL to send to: {server_of(url)}") from None
        if parts.port is not None and not 0 < parts.port <= _LAST_PORT:
            raise ConfigError(f"this is no URL to send to: port {parts.port} is none")
        if not parts.host:
            raise ConfigError("results are sent to http(s)://host/path: this URL names no host")
        key, _, token = parts.fragment.partition("=")
        # What a header cannot have would be told by the client with all the rest of the token.
        if key == "token" and not parts.userinfo and not _TOKEN.fullmatch(token):
            raise ConfigError(
                "the #token=… of a URL to send to is empty, or has signs that a header cannot have (a space, a letter "
                "with an accent)"
            )
        if "#" in url and (key != "token" or parts.userinfo):
            raise ConfigError(
                "a URL to send to has #token=… after its path, and then no user, or no #; in a password it is %23"
            )
        self._target = parts.copy_with(fragment=None)  # httpx logs it
        self._headers = {"Content-Type": "application/x-ndjson"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._address = parts.host, parts.port or _PORTS[parts.scheme]
        # The system's certificates, or those of SSL_CERT_FILE, as for all servers of ours. They take 20 ms to read.
        self._verify = ssl.create_default_context() if parts.scheme == "https" else False
        try:
            httpx.AsyncClient(timeout=None, verify=False)
        except (ImportError, ValueError, httpx.InvalidURL) as error:
            # What the latter says may be a piece of a password.
            words = "it is not a URL" if isinstance(error, httpx.InvalidURL) else redact(str(error))
            raise ConfigError(
                f"the proxy that this environment names cannot be used: {words}; unset it, or set NO_PROXY=*"
            ) from None

    def connect(self, stream: str) -> None:
        """See that there is such a host; each request connects if it must.

        Raises:
            SinkAway: there is none.
        """
        if not urllib.request.getproxies():  # one of them may know what we do not
            find(*self._address, within_s=self._timeout_s)
        self._client = httpx.AsyncClient(timeout=None, verify=self._verify)
        self._loop = asyncio.new_event_loop()

    def send(self, lines: Sequence[bytes]) -> None:
        """One request.

        Raises:
            SinkAway: no answer, or one that says that it took too long (408, 504).
            SinkLater: an answer that says "later" (425, 429, 5xx).
            SinkRefused: another answer.
        """
        assert self._loop is not None
        try:
            status = self._loop.run_until_complete(self._post(b"".join(line + b"\n" for line in lines)))
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:  # the latter two of where a redirect leads
            raise SinkAway(f"no answer ({error or type(error).__name__})") from error
        except TimeoutError as error:
            raise SinkAway(f"no answer within {self._timeout_s:g} s") from error
        words = f"it answered {status} {httpx.codes.get_reason_phrase(status)}"
        if status in _SLOW:
            raise SinkAway(words)
        if status >= httpx.codes.INTERNAL_SERVER_ERROR or status in _LATER:
            raise SinkLater(words)
        if not httpx.codes.is_success(status):
            raise SinkRefused(words)

    def close(self) -> None:
        """Close its connections."""
        if self._loop is not None:
            self._loop.run_until_complete(self._end())
            self._loop.close()
            self._loop = self._client = None

    async def _end(self) -> None:
        assert self._client is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_BODY_S):
                await self._client.aclose()
                # Those that end an answer which was not read.
                await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True)
                await asyncio.get_running_loop().shutdown_asyncgens()

    async def _post(self, body: bytes) -> int:
        """The status of the answer."""
        assert self._client is not None
        status = 0
        try:
            async with asyncio.timeout(self._timeout_s) as limit:
                async with self._client.stream("POST", self._target, content=body, headers=self._headers) as answer:
                    status, size = answer.status_code, 0
                    limit.reschedule(asyncio.get_running_loop().time() + _BODY_S)
                    async for piece in answer.aiter_raw():
                        if (size := size + len(piece)) > _BODY_BYTES:
                            break
        except (TimeoutError, httpx.HTTPError):
            if not status:
                raise
        return status
