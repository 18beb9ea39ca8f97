"""What a page and the server say to each other over data channels: JSON texts, checked, and not too many of them."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from aiortc import RTCSctpTransport
from aiortc.rtcsctptransport import (
    CHUNK_TYPES,
    SCTP_COMMON_HEADER_LENGTH,
    BaseInitChunk,
    BaseParamsChunk,
    Chunk,
    DataChunk,
    ForwardTsnChunk,
    SackChunk,
)

from streampose.errors import ConfigError
from streampose.web.bucket import Bucket
from streampose.web.limits import Limits

__all__ = ["Inbox", "bound", "heard"]

# Of SCTP: a page uses two, and data channels that nobody has a use for end their session sooner.
_STREAMS = 16
# Chunks of a packet and what is in them, which are answered one by one: of the shortest messages it can have 36.
_ITEMS = 40
# The longest message that is taken has so many packets.
_PACKETS = 4


def bound(sctp: RTCSctpTransport, limits: Limits, on_excess: Callable[[str], object]) -> None:
    """Let a session's messages be bounded, before there are any.

    aiortc keeps any number of packets of messages that are not whole, and of packets behind a gap, and looks at all of
    these again for each one that comes: 18,000 behind a gap took it ten seconds, of everybody's event loop. It counts
    up to all that a packet says is acknowledged (1.2 kB: 1.4 s), and never gets past a parameter without a length. So
    it is looked at before each packet and chunk, and one beyond the limits is dropped.
    """
    handle: Callable[[bytes], Awaitable[None]] = sctp._handle_data
    receive: Callable[[Chunk], Awaitable[None]] = sctp._receive_chunk
    rate = _PACKETS * limits.messages_per_s
    bucket = Bucket(rate, 2 * rate + limits.message_parts)

    async def short(data: bytes) -> None:
        if _items(data) > _ITEMS:
            on_excess("a packet with more in it than there are uses for")
        else:
            await handle(data)

    async def few(chunk: Chunk) -> None:
        streams = sctp._inbound_streams
        said = {chunk.stream_id} if isinstance(chunk, DataChunk) else set()
        if len(streams.keys() | said) > _STREAMS:
            on_excess("messages on more streams than there are uses for")
        elif sum(len(stream.reassembly) for stream in streams.values()) >= limits.message_parts:
            on_excess("a message without end")
        elif len(sctp._sack_misordered) >= limits.message_parts:
            on_excess("messages behind a gap without end")
        elif isinstance(chunk, SackChunk) and sum(b - a + 1 for a, b in chunk.gaps) > limits.message_parts:
            on_excess("acknowledgements of what was never sent")
        elif said and not bucket.take():
            on_excess(f"more than {rate:g} packets of messages a second")
        else:
            await receive(chunk)

    sctp._handle_data = short  # type: ignore[method-assign]
    sctp._receive_chunk = few  # type: ignore[method-assign]


async def heard(sctp: RTCSctpTransport, within_s: float) -> None:
    """Wait until the peer has acknowledged what was sent, or is gone, or has not for so long.

    Closing drops what still waits for room on the way, a goodbye say.
    """
    until = time.monotonic() + within_s
    while time.monotonic() < until and sctp.state == "connected":
        if not (sctp._data_channel_queue or sctp._outbound_queue or sctp._sent_queue):
            return
        await asyncio.sleep(0.01)


def _items(packet: bytes) -> float:
    """How many chunks, parameters and numbers of streams are in a packet; infinite if a length is none."""
    try:
        return sum(1 + _within(kind, body) for kind, body in _parts(packet[SCTP_COMMON_HEADER_LENGTH:]))
    except ConfigError:
        return math.inf


def _within(kind: int, body: bytes) -> int:
    chunk = CHUNK_TYPES.get(kind, Chunk)
    if issubclass(chunk, ForwardTsnChunk):
        return len(body) // 4
    if issubclass(chunk, BaseInitChunk):
        return sum(1 for _ in _parts(body[16:]))
    return sum(1 for _ in _parts(body)) if issubclass(chunk, BaseParamsChunk) else 0


def _parts(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The chunks of a packet or the parameters of a chunk, which look alike: the first byte, and what it has in it.

    Raises:
        ConfigError: one has no length.
    """
    at = 0
    while at + 4 <= len(data):
        length = int.from_bytes(data[at + 2 : at + 4])
        if length < 4:
            raise ConfigError("a part without a length")
        yield data[at], data[at + 4 : at + length]
        at += length + -length % 4


class Inbox:
    """Reads what a peer says.

    Args:
        limits: how much it may say.
        clock: monotonic seconds.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        # Two seconds' messages: a page that is opened says several at once.
        self._bucket = Bucket(limits.messages_per_s, 2 * limits.messages_per_s, clock)

    def read(self, message: str | bytes) -> dict[str, Any]:
        """The message, an object with a ``type``.

        Raises:
            ConfigError: it is none, too long, or one too many: whoever says such things is not to be heard any more.
        """
        if not self._bucket.take():
            raise ConfigError(f"more than {self._limits.messages_per_s:g} messages a second")
        if not isinstance(message, str) or len(message) > self._limits.message_bytes:
            raise ConfigError(f"a message that is no text of up to {self._limits.message_bytes} characters")
        try:
            said = json.loads(message)
        except (ValueError, RecursionError) as error:
            raise ConfigError("a message that is no JSON") from error
        if not isinstance(said, dict) or not isinstance(said.get("type"), str):
            raise ConfigError("a message without a type")
        return said
