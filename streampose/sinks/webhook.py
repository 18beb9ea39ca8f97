"""Results to a web server: POST requests of JSON Lines."""

from __future__ import annotations

import ssl
from collections.abc import Sequence

import httpx

from streampose.errors import ConfigError, SinkAway, SinkRefused, server_of

__all__ = ["WebhookCarrier"]

# Answers that say "later" rather than "no".
_LATER = {httpx.codes.REQUEST_TIMEOUT, httpx.codes.TOO_EARLY, httpx.codes.TOO_MANY_REQUESTS}


class WebhookCarrier:
    """Each batch is the body of one POST, of the type ``application/x-ndjson``; any answer of 200 to 299 is a yes.

    Args:
        url: ``http(s)://…``; a user and a password in it become basic authentication.
        timeout_s: for connecting, for sending, and for the answer, each.

    Raises:
        ConfigError: it is no URL.
    """

    def __init__(self, url: str, *, timeout_s: float = 5.0) -> None:
        self.url, self._timeout_s = url, timeout_s
        self._client: httpx.Client | None = None
        try:
            encrypted = httpx.URL(url).scheme == "https"
        except httpx.InvalidURL:
            # Not chained: what it says may be a piece of a password that was not escaped.
            raise ConfigError(f"this is no URL to send to: {server_of(url)}") from None
        # The system's certificates, or those of SSL_CERT_FILE, as for all servers of ours. They take 20 ms to read.
        self._verify = ssl.create_default_context() if encrypted else False

    def connect(self, stream: str) -> None:
        """Nothing yet: each request connects if it must."""
        self._client = httpx.Client(timeout=self._timeout_s, verify=self._verify)

    def send(self, lines: Sequence[bytes]) -> None:
        """One request.

        Raises:
            SinkAway: no answer, or one that says "later" (408, 425, 429, 5xx).
            SinkRefused: another answer.
        """
        assert self._client is not None
        try:
            answer = self._client.post(
                self.url,
                content=b"".join(line + b"\n" for line in lines),
                headers={"Content-Type": "application/x-ndjson"},
            )
        except httpx.HTTPError as error:
            raise SinkAway(f"no answer ({error or type(error).__name__})") from error
        words = f"it answered {answer.status_code} {answer.reason_phrase}"
        if answer.is_server_error or answer.status_code in _LATER:
            raise SinkAway(words)
        if not answer.is_success:
            raise SinkRefused(words)

    def close(self) -> None:
        """Close its connections."""
        if self._client is not None:
            self._client.close()
            self._client = None
