"""What a page and the server say to each other over data channels: JSON texts, checked, and not too many of them."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiortc import RTCSctpTransport
from aiortc.rtcsctptransport import Chunk

from streampose.errors import ConfigError
from streampose.web.limits import Limits

__all__ = ["Inbox", "bound"]

# Of SCTP: a page uses two, and data channels that nobody has a use for end their session sooner.
_STREAMS = 16


def bound(sctp: RTCSctpTransport, limits: Limits, on_excess: Callable[[str], object]) -> None:
    """Let a session's messages be bounded, before there are any.

    aiortc keeps any number of packets of messages that are not whole, and of packets behind a gap, and looks at all of
    these again for each one that comes: 18,000 behind a gap took it ten seconds, of everybody's event loop. So it is
    looked at before each chunk, and one beyond the limits is dropped.
    """
    receive: Callable[[Chunk], Awaitable[None]] = sctp._receive_chunk

    async def few(chunk: Chunk) -> None:
        streams = sctp._inbound_streams
        if len(streams) > _STREAMS:
            on_excess("messages on more streams than there are uses for")
        elif sum(len(stream.reassembly) for stream in streams.values()) > limits.message_parts:
            on_excess("a message without end")
        elif len(sctp._sack_misordered) > limits.message_parts:
            on_excess("messages behind a gap without end")
        else:
            await receive(chunk)

    sctp._receive_chunk = few  # type: ignore[method-assign]


class Inbox:
    """Reads what a peer says.

    Args:
        limits: how much it may say.
        clock: monotonic seconds.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._clock = limits, clock
        # A bucket of two seconds' messages: a page that is opened says several at once.
        self._room = 2 * limits.messages_per_s
        self._at = clock()

    def read(self, message: str | bytes) -> dict[str, Any]:
        """The message, an object with a ``type``.

        Raises:
            ConfigError: it is none, too long, or one too many: whoever says such things is not to be heard any more.
        """
        now = self._clock()
        rate = self._limits.messages_per_s
        self._room = min(2 * rate, self._room + (now - self._at) * rate) - 1
        self._at = now
        if self._room < 0:
            raise ConfigError(f"more than {rate:g} messages a second")
        if not isinstance(message, str) or len(message) > self._limits.message_bytes:
            raise ConfigError(f"a message that is no text of up to {self._limits.message_bytes} characters")
        try:
            said = json.loads(message)
        except (ValueError, RecursionError) as error:
            raise ConfigError("a message that is no JSON") from error
        if not isinstance(said, dict) or not isinstance(said.get("type"), str):
            raise ConfigError("a message without a type")
        return said
