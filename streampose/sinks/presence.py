"""Whether the server of an output is there."""

from __future__ import annotations

import logging
import time

from streampose.backoff import Backoff
from streampose.errors import SinkAway, SinkError, cause_of
from streampose.redaction import redact, server_of
from streampose.resolver import look_up

__all__ = ["Presence", "find"]

log = logging.getLogger("streampose")


class Presence:
    """Says once that a server is away, and once that it is back; knows how long to wait before the next try.

    Args:
        stream: whose output it is.
        server: its URL; scheme and host are shown, as a path may be secret.
        backoff: how long the waits are.
    """

    def __init__(self, stream: str, server: str, backoff: Backoff) -> None:
        self._stream, self._server, self._backoff = stream, server_of(server), backoff
        self._tries = self._laters = 0
        self._away_since = self._up_since = time.monotonic()
        self.away = False
        """Whether the last try failed. Not before the first one, which may well succeed."""
        self._took = self._told_refused = False

    def lost(self, error: SinkError) -> float:
        """It could not be reached, or refused what it was sent: seconds to wait before the next try."""
        now = time.monotonic()
        if not self.away:
            self.away, self._away_since = True, now
            if now - self._up_since >= self._backoff.healthy_s:
                self._tries = 0
            tags = {"stream": self._stream, "event": "output lost", "cause": cause_of(error)}
            words = redact(str(error))
            log.warning("%s: output to %s: %s; trying again", self._stream, self._server, words, extra=tags)
        else:
            log.debug("%s: output to %s: still %s", self._stream, self._server, redact(str(error)))
        self._tries += 1
        return self._backoff.wait_s(self._tries - 1)

    def later(self, error: SinkError) -> float:
        """It is there, and takes nothing for now: seconds to wait before the next try."""
        log.debug("%s: output to %s: later: %s", self._stream, self._server, redact(str(error)))
        self._laters += 1
        return self._backoff.wait_s(self._laters - 1)

    def refused(self, error: SinkError, *, stuck: bool) -> float | None:
        """It refused one line: seconds to wait, if it has taken nothing since the last one.

        Args:
            error: what it said.
            stuck: whether it has taken nothing for so long that it counts as away.
        """
        took, self._took = self._took, False
        if stuck and not took:
            return self.lost(error)
        level = logging.DEBUG if self._told_refused else logging.WARNING
        self._told_refused = True
        tags = {"stream": self._stream, "event": "line refused", "cause": cause_of(error)}
        words = redact(str(error))
        log.log(level, "%s: output to %s: a line is dropped: %s", self._stream, self._server, words, extra=tags)
        return None if took else self.later(error)

    def there(self) -> None:
        """It took what it was sent."""
        self._took, self._laters = True, 0
        if self.away:
            self.away, self._up_since = False, time.monotonic()
            tags = {"stream": self._stream, "event": "output back"}
            seconds = self._up_since - self._away_since
            log.warning("%s: output to %s is back after %.1f s", self._stream, self._server, seconds, extra=tags)


def find(host: str, port: int, *, within_s: float) -> None:
    """See that a name service knows this host: a client's own question to it would have no bound.

    Raises:
        SinkAway: it does not, or it says nothing.
    """
    try:
        look_up(host, port, within_s=within_s)
    except (OSError, ValueError) as error:
        raise SinkAway(f"no connection ({getattr(error, 'strerror', None) or error})") from error
