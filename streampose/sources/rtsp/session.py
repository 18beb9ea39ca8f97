"""The conversation with an RTSP server (RFC 2326), and what comes of it over the same connection."""

from __future__ import annotations

import contextlib
import re
import time
from collections import deque
from collections.abc import Iterator
from urllib.parse import urlsplit

from streampose.errors import Disconnected, SourceUnauthorized
from streampose.redaction import redact
from streampose.sources.rtsp.connection import Answer, Connection, NotSpoken
from streampose.sources.rtsp.credentials import Credentials
from streampose.sources.rtsp.description import Track, first_video

__all__ = ["RtspSession"]

_PORTS = {"rtsp": 554, "rtsps": 322}
# Packets that come before the answer to what started them.
_MOST_EARLY_BYTES = 8 << 20
# Of the life that a server gives a session without a word from us.
_USUAL_LIFE_S = 60.0
_NOT_OVER_TCP, _NOT_UNDERSTOOD = 461, 400
_BUSY = {453, 503}
_CHANNELS = re.compile(r"interleaved\s*=\s*(\d{1,3})(?:\s*-\s*(\d{1,3}))?")
_LIFE = re.compile(r"timeout\s*=\s*0*([1-9]\d{0,4})")


class RtspSession:
    """Asks for the first video of a URL, over TCP.

    Args:
        url: may carry a user and a password.
        alone: ask for nothing beside the video.
    """

    def __init__(self, url: str, *, alone: bool = False) -> None:
        parts = urlsplit(url)
        self.name, scheme, self._alone = redact(url), parts.scheme.lower(), alone
        self._connection = Connection(parts.hostname or "", parts.port or _PORTS[scheme], tls=scheme == "rtsps")
        self._url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        self._credentials = Credentials.of(url)
        self._challenges: list[str] = []
        self._early: deque[tuple[int, bytes]] = deque()
        self._early_bytes = 0
        self._sent, self._session = 0, ""
        self._aggregate = self._url
        self._channels = 0, 1
        self._word, self._repeats = "OPTIONS", False
        self._word_after_s, self._word_at = _USUAL_LIFE_S / 2, 0.0

    def open(self, within_s: float) -> Track:
        """Connect, and have the first video played.

        Raises:
            NotSpoken: there is something else, or it is spoken in another way.
            SourceUnauthorized: wrong user or password, or none.
            OSError: the connection fails (also `TimeoutError`).
        """
        self.wait(within_s)
        self._connection.open()
        self._send("OPTIONS", self._url)  # some servers want it first; a password is for what comes then
        if "GET_PARAMETER" in self._answer().one("public").upper():
            self._word = "GET_PARAMETER"
        described = self._ask("DESCRIBE", self._url, Accept="application/sdp")
        base = described.one("content-base") or described.one("content-location") or self._url
        address, track = first_video(described.body.decode(errors="replace"))
        if track is None:
            raise NotSpoken("no H.264 or H.265 over plain RTP", lasting=True)
        self._aggregate = _below(base, address)
        base = address if "://" in address else base
        granted = self._ask("SETUP", _below(base, track.control), Transport=_wish(0))
        transport = granted.one("transport")
        channels = _CHANNELS.search(transport)
        if "TCP" not in transport.upper() and channels is None:
            raise NotSpoken("not over this connection", lasting=True, over_udp=True)
        if channels is not None:
            first = int(channels[1])
            self._channels = first, int(channels[2] or first + 1)
        session, _, rest = granted.one("session").partition(";")
        self._session = session.strip()
        if life := _LIFE.search(rest):
            self._word_after_s = max(1.0, int(life[1]) / 2)
        # All of it, as FFmpeg does, though it is passed over: where a track is left out, GStreamer's server (1.22) has
        # an error, and sends all others away, or falls silent. What is refused is not missed.
        beside = () if self._alone else track.beside
        try:
            for i, control in enumerate(beside, 1):
                self._try("SETUP", _below(base, control), Transport=_wish(self._channels[0] + 2 * i))
            first = self._channels[0]
            self._connection.expect({*self._channels, *range(first, first + 2 + 2 * len(beside))})
            self._ask("PLAY", self._aggregate, Range="npt=0.000-")
        except (NotSpoken, TimeoutError, ConnectionError) as error:
            if not beside or (isinstance(error, NotSpoken) and error.busy):
                raise
            raise NotSpoken(f"not with all that it offers: {error}", beside=True) from error
        self._word_at = time.monotonic() + self._word_after_s
        return track

    def packets(self) -> Iterator[tuple[bool, bytes]]:
        """RTP packets, and RTCP's (then `True`), until the server closes the connection.

        Raises:
            OSError: the connection fails; `TimeoutError` = the deadline is over.
            Disconnected: what comes is not understood any more.
        """
        media, control = self._channels
        while True:
            if self._early:
                channel, data = self._early.popleft()
            else:
                try:
                    if (now := time.monotonic()) > self._word_at:
                        self._word_at = now + self._word_after_s
                        self._send(self._word, self._aggregate)
                    came = self._connection.receive()
                    if isinstance(came, Answer):
                        self._heard(came)
                        continue
                except NotSpoken as error:
                    raise Disconnected(f"{self.name} was lost: {error}") from error
                if came is None:
                    return
                channel, data = came
            if channel in {media, control}:
                yield channel == control, data

    def _heard(self, answer: Answer) -> None:
        """To a word that keeps the session: some want another password now, some know OPTIONS only."""
        if answer.status == 200:
            self._repeats = False
        elif not self._repeats:
            self._repeats = True
            if answer.status == 401:
                self._challenges = answer.headers.get("www-authenticate", [])
            else:
                self._word = "OPTIONS"
            self._send(self._word, self._aggregate)

    def report(self, packet: bytes) -> None:
        """Send it on RTCP's channel."""
        self._connection.send(bytes([0x24, self._channels[1]]) + len(packet).to_bytes(2, "big") + packet)

    def wait(self, seconds: float) -> None:
        """From now on so long for all that comes, until this is called again."""
        self._connection.deadline = time.monotonic() + seconds

    def interrupt(self) -> None:
        """End what waits for packets. From any thread."""
        self._connection.interrupt()

    def close(self) -> None:
        """Say goodbye without waiting for an answer, and let go of the connection. From any thread."""
        goodbye = b""
        if self._session:
            with contextlib.suppress(NotSpoken):
                goodbye = self._request("TEARDOWN", self._aggregate, {})
        self._connection.close(goodbye)

    def _try(self, method: str, url: str, **headers: str) -> Answer:
        for _ in range(2):
            self._send(method, url, **headers)
            answer = self._answer()
            if answer.status != 401:
                break
            self._challenges = answer.headers.get("www-authenticate", [])
            if self._credentials is None:
                break
        return answer

    def _ask(self, method: str, url: str, **headers: str) -> Answer:
        answer = self._try(method, url, **headers)
        if answer.status in {401, 403}:
            raise SourceUnauthorized(f"{self.name} refuses us ({answer.status}): check user and password")
        if answer.status != 200:
            raise NotSpoken(
                f"{method} is answered with {answer.status}",
                lasting=answer.status == _NOT_OVER_TCP,
                over_udp=method == "SETUP" and answer.status in {_NOT_OVER_TCP, _NOT_UNDERSTOOD},
                busy=answer.status in _BUSY,
            )
        return answer

    def _answer(self) -> Answer:
        while True:
            came = self._connection.receive()
            if came is None:
                raise NotSpoken("the server closed it without an answer")
            if isinstance(came, Answer):
                return came
            self._early_bytes += len(came[1]) + 64
            if self._early_bytes > _MOST_EARLY_BYTES:
                raise NotSpoken("pictures without end before the answer")
            self._early.append(came)

    def _send(self, method: str, url: str, **headers: str) -> None:
        self._connection.send(self._request(method, url, headers))

    def _request(self, method: str, url: str, headers: dict[str, str]) -> bytes:
        self._sent += 1
        lines = [f"{method} {url} RTSP/1.0", f"CSeq: {self._sent}", "User-Agent: streampose"]
        if self._session:
            lines.append(f"Session: {self._session}")
        if self._challenges and self._credentials is not None:
            if (authorization := self._credentials.answer(self._challenges, method, url)) is None:
                raise NotSpoken("it asks for a password in another way")
            lines.append(f"Authorization: {authorization}")
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _wish(channel: int) -> str:
    return f"RTP/AVP/TCP;unicast;interleaved={channel}-{channel + 1}"


def _below(base: str, control: str) -> str:
    """The address that a description means; FFmpeg and cameras join them so, whatever URLs' own rules are."""
    if control in {"", "*"}:
        return base
    if "://" in control:
        return control
    return f"{base}{'' if base.endswith('/') else '/'}{control}"
