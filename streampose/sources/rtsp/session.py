"""The conversation with an RTSP server (RFC 2326), and what comes of it over the same connection."""

from __future__ import annotations

import errno
import re
import socket
import ssl
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from streampose.errors import Disconnected, SourceUnauthorized
from streampose.redaction import redact
from streampose.sources.rtsp.credentials import Credentials
from streampose.sources.rtsp.description import Track, first_video

__all__ = ["NotSpoken", "RtspSession"]

_PORTS = {"rtsp": 554, "rtsps": 322}
_CHUNK = 1 << 16
_LONGEST_LINE, _MOST_LINES, _LONGEST_BODY = 8192, 100, 1 << 18
# Packets that come before the answer to what started them.
_MOST_EARLY_BYTES = 8 << 20
# Of the life that a server gives a session without a word from us.
_USUAL_LIFE_S = 60.0
_CHANNELS = re.compile(r"interleaved\s*=\s*(\d{1,3})(?:\s*-\s*(\d{1,3}))?")
_LIFE = re.compile(r"timeout\s*=\s*0*([1-9]\d{0,4})")


class NotSpoken(Exception):
    """The server speaks otherwise; another client may understand it."""


@dataclass(slots=True)
class _Answer:
    status: int
    headers: dict[str, list[str]] = field(default_factory=dict)
    body: bytes = b""

    def one(self, name: str) -> str:
        return self.headers.get(name, [""])[0]


class RtspSession:
    """One connection, which carries the conversation and the media, so that nothing is lost.

    Args:
        url: may carry a user and a password.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._name, self._scheme = redact(url), parts.scheme.lower()
        self._host, self._port = parts.hostname or "", parts.port or _PORTS[self._scheme]
        self._url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        self._credentials = Credentials.of(url)
        self._challenges: list[str] = []
        self._socket: socket.socket | None = None
        self._buffer, self._at = b"", 0
        self.deadline = 0.0
        """Monotonic seconds until which it waits for what comes."""
        self._early: deque[tuple[int, bytes]] = deque()
        self._early_bytes = 0
        self._sent, self._session = 0, ""
        self._aggregate = self._url
        self._channels = 0, 1
        self._word, self._repeats = "GET_PARAMETER", False
        self._word_after_s, self._word_at = _USUAL_LIFE_S / 2, 0.0

    def open(self, within_s: float) -> Track:
        """Connect, and have the first video played.

        Raises:
            NotSpoken: there is something else, or it is spoken in another way.
            SourceUnauthorized: wrong user or password, or none.
            OSError: the connection fails (also `TimeoutError`).
        """
        self.deadline = time.monotonic() + within_s
        self._socket = connection = self._connect()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._scheme == "rtsps":  # cameras sign their certificates themselves
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            try:
                self._socket = context.wrap_socket(connection, server_hostname=self._host)
            except ssl.SSLError as error:  # FFmpeg's library may speak an older one
                raise NotSpoken(f"not this TLS: {error.reason}") from error
        described = self._ask("DESCRIBE", self._url, Accept="application/sdp")
        base = described.one("content-base") or described.one("content-location") or self._url
        address, track = first_video(described.body.decode(errors="replace"))
        if track is None:
            raise NotSpoken("no H.264 or H.265 over plain RTP")
        self._aggregate = _below(base, address)
        base = address if "://" in address else base
        wish = "RTP/AVP/TCP;unicast;interleaved=0-1"
        granted = self._ask("SETUP", _below(base, track.control), Transport=wish)
        transport = granted.one("transport")
        if "TCP" not in transport.upper():
            raise NotSpoken("not over this connection")
        if channels := _CHANNELS.search(transport):
            first = int(channels[1])
            self._channels = first, int(channels[2] or first + 1)
        session, _, rest = granted.one("session").partition(";")
        self._session = session.strip()
        if life := _LIFE.search(rest):
            self._word_after_s = max(1.0, int(life[1]) / 2)
        self._ask("PLAY", self._aggregate, Range="npt=0.000-")
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
                now = time.monotonic()
                if now > self.deadline:
                    raise TimeoutError("nothing whole came in time")
                try:
                    if now > self._word_at:
                        self._word_at = now + self._word_after_s
                        self._send(self._word, self._aggregate)
                    came = self._next()
                    if isinstance(came, _Answer):
                        self._heard(came)
                        continue
                except NotSpoken as error:
                    raise Disconnected(f"{self._name} was lost: {error}") from error
                if came is None:
                    return
                channel, data = came
            if channel in {media, control}:
                yield channel == control, data

    def _heard(self, answer: _Answer) -> None:
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

    def _connect(self) -> socket.socket:
        """To the first of the host's addresses that answers; each has its share of the time."""
        addresses = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        for i, (family, kind, protocol, _, address) in enumerate(addresses, 1):
            connection = socket.socket(family, kind, protocol)
            try:
                left = self.deadline - time.monotonic()
                connection.settimeout(max(0.1, left / (len(addresses) - i + 1)))
                connection.connect(address)
            except OSError:
                connection.close()
                if i == len(addresses):
                    raise
            else:
                return connection
        raise ConnectionRefusedError("the host has no address")

    def report(self, packet: bytes) -> None:
        """Send it on RTCP's channel."""
        if self._socket is not None:
            self._socket.sendall(bytes([0x24, self._channels[1]]) + len(packet).to_bytes(2, "big") + packet)

    def close(self) -> None:
        """Say goodbye without waiting for an answer, and let go of the connection. From any thread."""
        connection, self._socket = self._socket, None
        if connection is None:
            return
        try:
            if self._session:
                connection.settimeout(0.1)
                connection.sendall(self._request("TEARDOWN", self._aggregate, {}))
        except (OSError, NotSpoken):
            pass  # it is gone
        finally:
            connection.close()

    def _ask(self, method: str, url: str, **headers: str) -> _Answer:
        for _ in range(2):
            self._send(method, url, **headers)
            answer = self._answer()
            if answer.status != 401:
                break
            self._challenges = answer.headers.get("www-authenticate", [])
            if self._credentials is None:
                break
        if answer.status in {401, 403}:
            raise SourceUnauthorized(f"{self._name} refuses us ({answer.status}): check user and password")
        if answer.status != 200:
            raise NotSpoken(f"{method} is answered with {answer.status}")
        return answer

    def _answer(self) -> _Answer:
        while True:
            came = self._next()
            if came is None:
                raise ConnectionResetError(errno.ECONNRESET, "the server closed it without an answer")
            if isinstance(came, _Answer):
                return came
            self._early_bytes += len(came[1]) + 64
            if self._early_bytes > _MOST_EARLY_BYTES:
                raise NotSpoken("pictures without end before the answer")
            self._early.append(came)

    def _send(self, method: str, url: str, **headers: str) -> None:
        assert self._socket is not None
        self._socket.sendall(self._request(method, url, headers))

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

    def _next(self) -> tuple[int, bytes] | _Answer | None:
        """A packet with its channel, an answer, or `None`: the server has closed the connection."""
        while True:
            if not self._fill(1):
                return None
            first = self._buffer[self._at]
            if first in b"\r\n":  # between messages
                self._at += 1
                continue
            if first != 0x24:
                if (answer := self._message()) is not None:
                    return answer
                continue
            if not self._fill(4):
                return None
            channel = self._buffer[self._at + 1]
            size = int.from_bytes(self._buffer[self._at + 2 : self._at + 4], "big")
            if not self._fill(4 + size):
                return None
            begin = self._at + 4
            self._at = begin + size
            return channel, self._buffer[begin : self._at]

    def _message(self) -> _Answer | None:
        """An answer; or `None`, after a request of the server's, which is granted and of no consequence."""
        lines = [self._line()]
        while line := self._line():
            lines.append(line)
            if len(lines) > _MOST_LINES:
                raise NotSpoken("an answer without end")
        answer = _Answer(0)
        for line in lines[1:]:
            name, _, value = line.partition(":")
            answer.headers.setdefault(name.strip().lower(), []).append(value.strip())
        length = answer.one("content-length")
        size = int(length) if length.isdecimal() else 0
        if size > _LONGEST_BODY or not self._fill(size):
            raise NotSpoken("an answer that is cut, or has no end")
        answer.body = self._buffer[self._at : self._at + size]
        self._at += size
        words = lines[0].split(maxsplit=2)
        if len(words) > 1 and words[0].startswith("RTSP/") and words[1].isdecimal():
            answer.status = int(words[1])
            return answer
        if len(words) == 3 and words[2].startswith("RTSP/") and self._socket is not None:
            self._socket.sendall(f"RTSP/1.0 200 OK\r\nCSeq: {answer.one('cseq')}\r\n\r\n".encode())
            return None
        raise NotSpoken("it does not speak RTSP")

    def _line(self) -> str:
        searched = self._at
        while (end := self._buffer.find(b"\n", searched)) < 0:
            have = len(self._buffer) - self._at
            if have > _LONGEST_LINE or not self._fill(have + 1):
                raise NotSpoken("it does not speak RTSP")
            searched = self._at
        line, self._at = self._buffer[self._at : end], end + 1
        return line.decode(errors="replace").rstrip("\r")

    def _fill(self, size: int) -> bool:
        """Have so many bytes in the buffer; `False` = the connection ended before."""
        lacking = size - (len(self._buffer) - self._at)
        if lacking <= 0:
            return True
        chunks = [self._buffer[self._at :]]
        while lacking > 0:
            if self._socket is None:
                return False
            left = self.deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("nothing whole came in time")
            self._socket.settimeout(left)
            if not (chunk := self._socket.recv(_CHUNK)):
                return False
            chunks.append(chunk)
            lacking -= len(chunk)
        self._buffer, self._at = b"".join(chunks), 0
        return True


def _below(base: str, control: str) -> str:
    """The address that a description means; FFmpeg and cameras join them so, whatever URLs' own rules are."""
    if control in {"", "*"}:
        return base
    if "://" in control:
        return control
    return f"{base}{'' if base.endswith('/') else '/'}{control}"
