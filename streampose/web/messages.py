"""What a page and the server say to each other over data channels: JSON texts, checked, and not too many of them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from aiortc import RTCSctpTransport

from streampose.errors import ConfigError
from streampose.web.limits import Limits

__all__ = ["Inbox", "waiting_parts"]


def waiting_parts(sctp: RTCSctpTransport | None) -> int:
    """Packets that wait, in the channel that has most, for the rest of their messages: aiortc keeps any number."""
    if sctp is None:
        return 0
    return max((len(stream.reassembly) for stream in sctp._inbound_streams.values()), default=0)


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
