"""Results to a server: lines of JSON that wait in a bounded queue while it is slow or away."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from streampose.backoff import Backoff
from streampose.errors import SinkAway, SinkError, SinkFailed, SinkLater, SinkRefused, SinkUnavailable, StreamposeError
from streampose.frame import StreamInfo
from streampose.redaction import server_of
from streampose.result import Result
from streampose.sinks.batch_size import BatchSize
from streampose.sinks.jsonl import to_line
from streampose.sinks.presence import Presence
from streampose.typed import Typed
from streampose.worker import begin

__all__ = ["Carrier", "SendSink"]

# How many go in one batch at most: a round trip each would be too slow for 30 fps to a server 50 ms away.
_BATCH = 64
# How long the end waits for a server that is away, and for one that is slow.
_AWAY_S = 3.0
_SLOW_S = 20.0
_STUCK_S = 10.0


class Carrier(Protocol):
    """Brings lines to one kind of server. Blocking, each call for a bounded time; all calls come from one thread."""

    url: str
    """Of the server; of it, scheme and host are shown."""

    def connect(self, stream: str) -> None:
        """Get ready to send this stream's results.

        Raises:
            SinkAway: there is nobody.
            SinkRefused: somebody, who does not want us.
        """

    def send(self, lines: Sequence[bytes]) -> None:
        """Bring these lines, of JSON without their ends, and return when the server has them.

        Raises:
            SinkAway: it did not say that it has them all; they are sent again.
            SinkLater: it said that it takes none for now; as many are sent again after a wait.
            SinkRefused: it does not want them; fewer of them are sent again, and one that is alone is dropped.
        """

    def close(self) -> None:
        """Let go of the connection, whatever state it is in. May be called twice."""


class SendSink:
    """Sends each result as a line of JSON (docs/formats.md), at least once and in order.

    A thread of its own sends what waits, several lines at a time. While the server is away, the oldest lines make
    room for new ones, and it is tried again with waits by `Backoff`: neither stops the stream. A server that is there
    but slow, or says "later", is waited for, so that a recording loses nothing; one that took nothing for ten seconds
    counts as away. What it does not take, or refuses, is sent again in smaller batches, before a line counts as
    refused.

    Args:
        carrier: speaks to the server.
        depth: how many lines may wait.
        backoff: the waits between tries.
        stuck_s: how long a server may take nothing before it counts as away.
    """

    wants_picture = False

    def __init__(
        self, carrier: Carrier, *, depth: int = 256, backoff: Backoff | None = None, stuck_s: float = _STUCK_S
    ) -> None:
        self.unsent = 0
        """Results since `open` that never were sent: they made room for newer ones, were refused, or the end came
        before."""
        self._carrier, self._depth, self._backoff = carrier, depth, backoff or Backoff()
        self._stuck_s = stuck_s
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def away(self) -> bool:
        """Whether its server was away, or took nothing, the last time that it was tried. From any thread."""
        presence: Presence | None = getattr(self, "_presence", None)  # there is none before `open`
        return presence is not None and presence.away

    def open(self, stream: str, info: StreamInfo) -> None:
        """Begin; a server that is not there yet is tried again.

        Raises:
            SinkUnavailable: what was sent when it was closed is still under way: a carrier is for one thread.
            StreamposeError: the system has no room for another thread.
        """
        if self._thread is not None and self._thread.is_alive():
            raise SinkUnavailable(f"{server_of(self._carrier.url)} is still busy with what was sent to it before")
        self._closing.clear()
        self._waiting: deque[bytes] = deque()
        self.unsent = self._in_flight = 0
        self._interrupted = self._given_up = False
        self._connected = self._tried_alone = False
        self._moved_at = self._end_at = 0.0
        self._failure: StreamposeError | None = None
        self._size = BatchSize(_BATCH)
        self._stream = stream
        self._presence = Presence(stream, self._carrier.url, self._backoff)
        thread = threading.Thread(target=self._run, name=f"streampose-send-{stream}", daemon=True)
        begin(thread)
        self._thread = thread

    def write(self, result: Result) -> None:
        """Queue one line. Waits while a server takes what waits, and no longer than `stuck_s` for one that does not.

        Raises:
            SinkFailed: sending failed by what nobody foresaw.
        """
        line = to_line(result).rstrip()
        with self._changed:
            while not self._has_room():
                if (left_s := self._moved_at + self._stuck_s - time.monotonic()) <= 0:
                    self._presence.lost(SinkAway(f"it took nothing for {self._stuck_s:g} s"))
                else:
                    self._changed.wait(left_s)
            if self._failure is not None:
                raise self._failure
            if not self._waiting and not self._in_flight:
                self._moved_at = time.monotonic()
            self._waiting.append(line)
            self._drop_oldest()
            self._changed.notify_all()

    def interrupt(self) -> None:
        """End the wait of a `write`, from any thread; it drops the oldest instead. `close` comes next."""
        with self._changed:
            self._interrupted = True
            self._changed.notify_all()

    def close(self) -> None:
        """Send what waits, within 20 s; a server that is away has three to come back.

        Raises:
            SinkFailed: sending failed by what nobody foresaw.
        """
        thread = self._thread
        if thread is None or self._closing.is_set():
            return
        self._end_at = time.monotonic() + _AWAY_S
        with self._changed:
            self._closing.set()
            self._changed.notify_all()
        thread.join(_SLOW_S)
        with self._changed:
            self.unsent += len(self._waiting) + self._in_flight
            self._waiting.clear()
            self._in_flight = 0
            self._given_up = True
            if self._failure is not None:
                raise self._failure

    def _has_room(self) -> bool:
        # What is under way may come back, and a queue that is full would drop its oldest for it.
        waiting = len(self._waiting) + self._in_flight
        return waiting < self._depth or self._presence.away or self._interrupted or bool(self._failure)

    def _drop_oldest(self) -> None:
        while len(self._waiting) > self._depth:
            self._waiting.popleft()
            self.unsent += 1

    def _run(self) -> None:
        try:
            with Typed(SinkFailed, "sending: "):
                self._send_all()
        except StreamposeError as error:
            with self._changed:
                self._failure = error
                self._changed.notify_all()
        finally:
            self._carrier.close()

    def _send_all(self) -> None:
        while batch := self._next():
            again, wait_s = self._try(batch)
            with self._changed:
                if self._given_up:  # and counted all that was left, what was under way, too
                    return
                self._in_flight = 0
                self._waiting.extendleft(reversed(again))
                self._drop_oldest()
                self._changed.notify_all()
            if wait_s is not None and self._closing.wait(wait_s):
                left_s = self._end_at - time.monotonic()
                if again and left_s <= 0:
                    return
                # One that refused a line is there: those behind it are tried, too, and share what time is left.
                time.sleep(max(0.0, min(wait_s, left_s if again else left_s / (1 + len(self._waiting)))))

    def _try(self, batch: Sequence[bytes]) -> tuple[Sequence[bytes], float | None]:
        """Send these lines: which are to be sent again, and how many seconds to wait; `None` = go on."""
        try:
            if not self._connected:
                self._carrier.connect(self._stream)
                self._connected = True
            self._carrier.send(batch)
        except (SinkAway, SinkRefused) as error:
            again, wait_s = self._not_taken(batch, error)
            self._connected = False
            self._carrier.close()
            return again, wait_s
        self._moved_at = time.monotonic()
        self._end_at = max(self._end_at, self._moved_at + _AWAY_S)
        self._tried_alone = False
        self._size.went()
        self._presence.there()
        return (), None

    def _not_taken(self, batch: Sequence[bytes], error: SinkError) -> tuple[Sequence[bytes], float | None]:
        if not self._connected:  # who is refused at the door may be let in later
            return batch, self._presence.lost(error)
        stuck = self._presence.away or time.monotonic() - self._moved_at >= self._stuck_s
        if isinstance(error, SinkLater):
            return batch, self._presence.lost(error) if stuck else self._presence.later(error)
        # It may have been too much at once: fewer are tried, down to one line, before the server counts as away.
        self._size.failed(len(batch))
        if isinstance(error, SinkAway):
            # A connection that had ended meanwhile, a pause, or a line that a broker hangs up on: a line has two tries.
            again = len(batch) > 1 or not self._tried_alone
            self._tried_alone = len(batch) == 1
            return batch, None if again and not stuck else self._presence.lost(error)
        if len(batch) > 1:
            return batch, None
        with self._changed:  # this line would be refused for ever
            self.unsent += self._in_flight  # none if `close` has given up, and counted it
            self._in_flight = 0
        self._tried_alone = False
        return (), self._presence.refused(error, stuck=stuck)

    def _next(self) -> list[bytes]:
        """The lines that are to be sent next; none = the end, and nothing is left."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing.is_set())
            batch = [self._waiting.popleft() for _ in range(min(self._size.lines, len(self._waiting)))]
            self._in_flight = len(batch)
            return batch
