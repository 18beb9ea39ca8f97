"""A connection to an RTSP server: messages and packets, as they come (RFC 2326)."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

__all__ = ["Answer", "Connection", "NotSpoken"]

_CHUNK = 1 << 16
_LONGEST_LINE, _MOST_LINES, _LONGEST_BODY = 8192, 100, 1 << 18
# Between two packets of a camera, at most: more than one can claim to have.
_MOST_STRAY = 1 << 16
_MESSAGE = re.compile(rb"RTSP/1|OPTION|[GS]ET_PA|ANNOUN|REDIRE|TEARDO|PLAY |PAUSE ")
# For a key frame of 4K, which comes at once: live555 leaves out what a window of 64 kB does not take at once (of 800
# packets 295, measured).
_ROOM = 1 << 20
_LATE = "nothing whole came in time"


class NotSpoken(Exception):
    """The server speaks otherwise; another client may understand it.

    Args:
        why: in words.
        lasting: it will be so the next time, too.
        over_udp: it may have media for the other one by UDP.
        beside: it may do so for what was asked for beside the video.
        busy: it says that it cannot now.
    """

    def __init__(
        self, why: str, *, lasting: bool = False, over_udp: bool = False, beside: bool = False, busy: bool = False
    ) -> None:
        super().__init__(why)
        self.lasting, self.over_udp, self.beside, self.busy = lasting, over_udp, beside, busy


@dataclass(slots=True)
class Answer:
    """What a server says to a request."""

    status: int
    headers: dict[str, list[str]] = field(default_factory=dict)
    """By their names in small letters."""
    body: bytes = b""

    def one(self, name: str) -> str:
        """The first header of a name; empty where there is none."""
        return self.headers.get(name, [""])[0]


class Connection:
    """Carries the conversation and the media, so that nothing is lost.

    All calls but `interrupt` and `close` are one thread's.

    Args:
        host: and
        port: of the server.
        tls: whether it is encrypted; any certificate does, since cameras sign their own.
    """

    def __init__(self, host: str, port: int, *, tls: bool) -> None:
        self._host, self._port, self._tls = host, port, tls
        self._socket: socket.socket | None = None
        self._buffer, self._at = b"", 0
        self._channels = b""
        self.deadline = 0.0
        """Monotonic seconds until which it waits for what comes."""

    def open(self) -> None:
        """Connect.

        Raises:
            NotSpoken: another TLS.
            OSError: it cannot be done (also `TimeoutError`).
        """
        self._socket = connection = self._connect()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            try:
                self._socket = context.wrap_socket(connection, server_hostname=self._host)
            except ssl.SSLError as error:  # FFmpeg's library may speak an older one
                cut = isinstance(error, ssl.SSLEOFError)
                raise NotSpoken(f"not this TLS: {error.reason}", lasting=not cut) from error

    def expect(self, channels: Iterable[int]) -> None:
        """From now on the next packet of these is looked for, where something else has come between."""
        self._channels = bytes(channel for channel in channels if channel < 256)

    def send(self, data: bytes) -> None:
        """Send all of it.

        Raises:
            OSError: the connection fails.
        """
        if self._socket is None:
            raise ConnectionAbortedError("it was closed meanwhile")
        self._socket.sendall(data)

    def interrupt(self) -> None:
        """Let what waits in `receive` find the connection ended. From any thread."""
        if (connection := self._socket) is not None:
            with contextlib.suppress(OSError):
                # Reading alone, and below TLS: what is said last can still be sent.
                socket.socket.shutdown(connection, socket.SHUT_RD)

    def close(self, last_words: bytes = b"") -> None:
        """Let go of it, without waiting for an answer to what is said last. From any thread."""
        connection, self._socket = self._socket, None
        if connection is None:
            return
        try:
            if last_words:
                connection.settimeout(0.1)
                connection.sendall(last_words)
        except OSError:
            pass  # it is gone
        finally:
            connection.close()

    def receive(self) -> tuple[int, bytes] | Answer | None:
        """A packet with its channel, an answer, or `None`: the server has closed the connection.

        Raises:
            NotSpoken: it is neither.
            OSError: the connection fails; `TimeoutError` = the deadline is over.
        """
        if time.monotonic() > self.deadline:
            raise TimeoutError(_LATE)
        while True:
            if not self._fill(1):
                return None
            first = self._buffer[self._at]
            if first in b"\r\n":  # between messages
                self._at += 1
                continue
            if first != 0x24:
                if self._channels and not (self._fill(6) and _MESSAGE.match(self._buffer, self._at)):
                    if not self._pass_over():
                        return None
                    continue
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

    def _pass_over(self) -> bool:
        """Go to the next packet or answer; `False` = the connection ended before.

        Cameras whose network is too slow leave out the rest of a packet, so that others begin within it.
        """
        channels = re.escape(self._channels)
        packet = re.compile(rb"\$[" + channels + rb"]..[\x80-\xbf]|RTSP/1", re.DOTALL)  # version 2 of RTP and RTCP
        passed = 0
        while self._fill(6):
            if found := packet.search(self._buffer, self._at):
                self._at = found.start()
                return True
            passed += len(self._buffer) - 5 - self._at
            self._at = len(self._buffer) - 5
            if passed > _MOST_STRAY:
                raise NotSpoken("what comes is neither a message nor a packet")
        return False

    def _message(self) -> Answer | None:
        """An answer; or `None`, after a request of the server's, which is granted and of no consequence."""
        lines = [self._line()]
        while line := self._line():
            lines.append(line)
            if len(lines) > _MOST_LINES:
                raise NotSpoken("an answer without end")
        answer = Answer(0)
        for line in lines[1:]:
            name, _, value = line.partition(":")
            answer.headers.setdefault(name.strip().lower(), []).append(value.strip())
        length = answer.one("content-length")
        size = int(length) if length.isdecimal() and len(length) < 10 else 0
        if len(length) >= 10 or size > _LONGEST_BODY or not self._fill(size):
            raise NotSpoken("an answer that is cut, or has no end")
        answer.body = self._buffer[self._at : self._at + size]
        self._at += size
        words = lines[0].split(maxsplit=2)
        if len(words) > 1 and words[0].startswith("RTSP/") and words[1].isdecimal() and len(words[1]) == 3:
            answer.status = int(words[1])
            return answer
        if len(words) == 3 and words[2].startswith("RTSP/"):
            self.send(f"RTSP/1.0 200 OK\r\nCSeq: {answer.one('cseq')}\r\n\r\n".encode())
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
                raise TimeoutError(_LATE)
            self._socket.settimeout(left)
            if not (chunk := self._socket.recv(_CHUNK)):
                return False
            chunks.append(chunk)
            lacking -= len(chunk)
        self._buffer, self._at = b"".join(chunks), 0
        return True

    def _connect(self) -> socket.socket:
        """To the first of the host's addresses that answers; each has its share of the time."""
        addresses = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        for i, (family, kind, protocol, _, address) in enumerate(addresses, 1):
            with contextlib.ExitStack() as stack:
                try:
                    connection = stack.enter_context(socket.socket(family, kind, protocol))
                    _make_room(connection)
                    left = self.deadline - time.monotonic()
                    connection.settimeout(max(0.1, left / (len(addresses) - i + 1)))
                    connection.connect(address)
                except OSError:
                    if i == len(addresses):
                        raise
                else:
                    stack.pop_all()
                    return connection
        raise ConnectionRefusedError("the host has no address")


def _make_room(connection: socket.socket) -> None:
    """Let it begin with a large buffer, which Linux otherwise grows with time.

    `SO_RCVBUF` would be held to 208 kB on most machines, and never grow. To wish for so many bytes at once, and to take
    that back, does neither.
    """
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, _ROOM)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
