"""RTSP cameras, HTTP streams, RTMP: live video from a URL."""

from __future__ import annotations

import socket
import time
from urllib.parse import urlsplit

import av

from streampose.errors import (
    Disconnected,
    SourceCorrupt,
    SourceError,
    SourceNotFound,
    SourceTimeout,
    SourceUnauthorized,
    SourceUnsupported,
)
from streampose.frame import StreamInfo
from streampose.sources.hwaccel import SOFTWARE, words
from streampose.sources.media import MediaSource

__all__ = ["NetworkSource"]

# Little is buffered, and probing ends early: a live picture is worth more than a perfect guess of the stream's rate.
_LOW_DELAY = {"fflags": "nobuffer", "flags": "low_delay", "probesize": "500000", "analyzeduration": "1000000"}


class NetworkSource(MediaSource):
    """Live video from a URL: RTSP(S), HTTP(S) including HLS and MJPEG, RTMP(S), SRT, UDP, RTP.

    It does not reconnect by itself.

    Args:
        url: may carry a user and a password; they appear in no message.
        transport: of RTSP: ``tcp`` (goes through firewalls and loses nothing) or ``udp`` (a little fresher).
        open_timeout_s: until the stream must be open.
        read_timeout_s: the longest silence.
        hwaccel: what decodes: ``none`` (software), ``auto``, or a device (``cuda``, ``videotoolbox``, …).

    Raises:
        ConfigError: no such device.
    """

    live = True

    def __init__(
        self,
        url: str,
        *,
        transport: str = "tcp",
        open_timeout_s: float = 10.0,
        read_timeout_s: float = 10.0,
        hwaccel: str = SOFTWARE,
    ) -> None:
        options = dict(_LOW_DELAY)
        if url.lower().startswith(("rtsp:", "rtsps:")):
            options["rtsp_transport"] = transport
        super().__init__(url, options=options, timeouts_s=(open_timeout_s, read_timeout_s), hwaccel=hwaccel)
        self._open_timeout_s = open_timeout_s
        self._opening_since = 0.0

    def open(self, stream: str) -> StreamInfo:
        """Connect.

        Raises:
            SourceUnauthorized: wrong user or password.
            SourceNotFound: no such stream there.
            SourceUnsupported: it is not video.
            SourceTimeout: no answer in time.
            Disconnected: no such host, nobody there, or an error of the server's.
        """
        self._opening_since = time.monotonic()
        parts = urlsplit(self._url)
        try:
            # FFmpeg calls an unknown host an "Input/output error", like much else.
            socket.getaddrinfo(parts.hostname, parts.port)
        except (OSError, ValueError) as error:
            raise Disconnected(f"{self._name}: no host {parts.hostname} can be found ({words(error)})") from error
        return super().open(stream)

    def _opening_error(self, error: Exception) -> SourceError:
        if isinstance(error, av.error.HTTPUnauthorizedError | av.error.HTTPForbiddenError):
            return SourceUnauthorized(f"{self._name} refuses us ({words(error)}): check user and password")
        if isinstance(error, av.error.HTTPNotFoundError):
            return SourceNotFound(f"{self._name} does not exist there (404): check the path of the stream")
        if isinstance(error, av.error.HTTPError):
            return Disconnected(f"{self._name} answered with an error: {words(error)}")
        if isinstance(error, av.error.ConnectionRefusedError):
            return Disconnected(f"{self._name} refused the connection: is the server running, and the port right?")
        # An open that is interrupted by its timeout fails with whatever FFmpeg was at.
        late = time.monotonic() - self._opening_since >= 0.95 * self._open_timeout_s
        if late or isinstance(error, av.error.TimeoutError | av.error.ExitError):
            return SourceTimeout(f"{self._name} did not answer within {self._open_timeout_s:g} s")
        if isinstance(error, av.error.ProtocolNotFoundError):
            return SourceUnsupported(f"{self._name} is of a protocol that this build does not speak")
        if isinstance(error, av.error.InvalidDataError):
            return SourceUnsupported(f"{self._name} answers, but what it sends is not video: {words(error)}")
        return Disconnected(f"{self._name} broke off while it was opened: {words(error)}")

    def _reading_error(self, error: Exception) -> SourceError:
        if isinstance(error, av.error.TimeoutError | av.error.ExitError):
            return SourceTimeout(f"{self._name} went silent")
        if isinstance(error, av.error.InvalidDataError):
            return SourceCorrupt(f"{self._name} sends what cannot be read: {words(error)}")
        return Disconnected(f"{self._name} was lost: {words(error)}")
