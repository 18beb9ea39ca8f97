"""The rendered pictures to a media server, as H.264 by RTSP or RTMP."""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import av
from av.video.codeccontext import VideoCodecContext

from streampose.backoff import Backoff
from streampose.errors import ConfigError, SinkAway, SinkFailed
from streampose.frame import StreamInfo
from streampose.redaction import server_of
from streampose.result import Result
from streampose.sinks.encoder import check_encoder, live_encoder
from streampose.sinks.film import Film
from streampose.sinks.presence import Presence, find
from streampose.sinks.relay import FORMATS, Relay

__all__ = ["PushSink", "is_push"]

log = logging.getLogger("streampose")

# A viewer who comes sees a picture after half of it, on average.
_KEY_S = 2.0
_PROBE_S = 1.0
_PORTS = {"rtsp": 554, "rtsps": 322, "rtmp": 1935, "rtmps": 443}


def is_push(text: str) -> bool:
    """Whether this is the URL of a media server."""
    return text.partition("://")[0].lower() in FORMATS and "://" in text


class PushSink:
    """Pushes the pictures as they come, with the times between them, for live streams.

    While the server is away pictures are dropped and counted, and it is tried again with waits by `Backoff`; each
    connection is a video of its own, which begins with a key frame at time 0. While it is slow, `write` waits, and a
    live stream drops what is older before it is encoded, so that what is sent can always be decoded.

    Args:
        url: ``rtsp(s)://…`` or ``rtmp(s)://…``; scheme and host are all of it that a message shows.
        encoder: FFmpeg's name of one in `ENCODERS`, or ``auto``: a device's where there is one.
        timeout_s: until the server must answer, and take each picture.
        backoff: the waits between tries.

    Raises:
        ConfigError: it is another kind of URL, or there is no such encoder.
    """

    wants_picture = True

    def __init__(
        self, url: str, *, encoder: str = "auto", timeout_s: float = 5.0, backoff: Backoff | None = None
    ) -> None:
        self._address = _address(url)
        check_encoder(encoder)
        self.unsent = 0
        """Pictures since `open` that came while the server was away."""
        self._url, self._choice, self._timeout_s = url, encoder, timeout_s
        self._backoff = backoff or Backoff()
        self._relay: Relay | None = None
        self._encoder: VideoCodecContext | None = None
        self._up = self._told = False

    @property
    def away(self) -> bool:
        """Whether its server was away, or took nothing, the last time that it was tried. From any thread."""
        presence: Presence | None = getattr(self, "_presence", None)  # there is none before `open`
        return presence is not None and presence.away

    def open(self, stream: str, info: StreamInfo) -> None:
        """Get ready; a server that is not there yet is tried again."""
        self._stream, self._film = stream, Film(info, key_s=_KEY_S)
        self._presence = Presence(stream, self._url, self._backoff)
        self._again_at = self._begun_at = 0.0
        self._first_pts: int | None = None
        self._told = False
        self.unsent = 0

    def write(self, result: Result) -> None:
        """Push one picture, or drop it if nobody is there to take it.

        Raises:
            SinkUnavailable: the encoder that was asked for does not work here.
            SinkFailed: it failed.
        """
        with self._tried_again():
            if self._relay is not None and not self._up:
                self._see_whether_it_is_up(self._relay)
        if self._up or (self._relay is None and time.monotonic() >= self._again_at):
            with self._tried_again():
                if self._presence.away:
                    self._probe()
                self._push(result)
        else:
            self.unsent += 1

    def close(self) -> None:
        """End the connection within two seconds."""
        self._hang_up(2.0 if self._up else 0.0)

    @contextlib.contextmanager
    def _tried_again(self) -> Iterator[None]:
        try:
            yield
        except SinkAway as error:
            if self._relay is None:  # it did not come to that
                self.unsent += 1
            self._hang_up(0.0)
            self._again_at = time.monotonic() + self._presence.lost(error)

    def _probe(self) -> None:
        """See whether anybody listens there again: a process for each try costs 0.1 s of a core."""
        find(*self._address, within_s=_PROBE_S)
        try:
            socket.create_connection(self._address, timeout=_PROBE_S).close()
        except OSError as error:
            raise SinkAway(f"no connection ({error.strerror or error})") from error

    def _see_whether_it_is_up(self, relay: Relay) -> None:
        if relay.all_sent(0.0):
            self._up = True
            self._presence.there()
            self._tell()
        elif time.monotonic() - self._begun_at > self._timeout_s:
            raise SinkAway(f"no answer within {self._timeout_s:g} s")

    def _tell(self) -> None:
        if not self._told and self._encoder is not None:
            words = f"{self._encoder.width}×{self._encoder.height} by {self._encoder.name}"
            tags = {"stream": self._stream, "event": "output there"}
            log.warning("%s: output to %s: %s", self._stream, server_of(self._url), words, extra=tags)
            self._told = True

    def _push(self, result: Result) -> None:
        """Encode it, and hand it to the connection, which begins with the first packet."""
        assert result.picture is not None
        if self._encoder is None:
            self._film.begin(result.picture)
            self._film.cut()
            self._encoder = live_encoder(self._choice, self._film)
        try:
            packets = self._encoder.encode(self._film.add(result.frame, result.picture))
        except av.error.FFmpegError as error:
            raise SinkFailed(f"{self._encoder.name} failed: {error.strerror or error}") from error
        for packet in packets:
            assert packet.pts is not None
            if self._relay is None:
                self._begun_at, self._first_pts = time.monotonic(), packet.pts
                self._relay = Relay(self._url, self._film, timeout_s=self._timeout_s)
            assert self._first_pts is not None
            self._relay.send(bytes(packet), packet.pts - self._first_pts, is_key=packet.is_keyframe)
        if self._up and self._relay is not None and not self._relay.all_sent(self._timeout_s):
            raise SinkAway(f"it took nothing for {self._timeout_s:g} s")

    def _hang_up(self, within_s: float) -> None:
        relay, self._relay = self._relay, None
        self._encoder, self._up = None, False
        if relay is not None:
            relay.close(within_s)
            self.unsent += relay.outstanding


def _address(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        if is_push(url) and parts.hostname:
            return parts.hostname, parts.port or _PORTS[parts.scheme]
    except ValueError:  # what it says may be a piece of a password that was not escaped
        pass
    raise ConfigError(f"video cannot be pushed to {server_of(url)}: only to {', '.join(FORMATS)} URLs")
