"""A live source that comes back."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum

from streampose.backoff import Backoff
from streampose.errors import (
    Disconnected,
    HostNotFound,
    SourceCorrupt,
    SourceError,
    SourceNotFound,
    SourceTruncated,
    SourceUnsupported,
)
from streampose.frame import Frame, StreamInfo
from streampose.redaction import redact
from streampose.sources.source import Source
from streampose.sources.timeline import Timeline
from streampose.worker import Interruptible

__all__ = ["Link", "LinkState", "Reconnecting"]

log = logging.getLogger("streampose")

# A camera that starts again may say for a while that its stream does not exist.
_NOT_FOUND_S = 60.0
# One that comes and goes would fill the log: 49 lines a minute. From so many short connections in a row on, it is told
# so often.
_FLAPS, _TOLD_EVERY_S = 3, 60.0


class LinkState(Enum):
    """How the connection to a live source is."""

    CONNECTING = "connecting"
    """It has not been there yet."""
    UP = "up"
    LOST = "lost"
    """It was there, and is tried again."""
    CLOSED = "closed"


@dataclass(slots=True, kw_only=True)
class Link:
    """What there is to know of the connection to a live source. Written by its thread; to be read anywhere."""

    state: LinkState = LinkState.CONNECTING
    cause: str | None = None
    """Why it is not up, in a word: `SourceError.cause`."""
    lost: Counter[str] = field(default_factory=Counter)
    """How often it was lost, by cause."""
    reconnects: int = 0
    """How often it came back."""
    tries: int = 0
    """How often it was tried in vain."""
    skipped_packets: int = 0
    """Damaged packets that were left out."""
    damaged_pictures: int = 0
    """Pictures that the decoder knows to be damaged, and gives out."""
    lost_packets: int | None = None
    """RTP packets that never came; `None` = the client that reads does not tell."""
    stale_frames: int = 0
    """Pictures that were decoded too late to be shown."""
    stall_s: float = 5.0
    """The longest time without a picture that it is given before it counts as lost."""


class Reconnecting:
    """Opens a live source again whenever it goes away, for as long as it takes.

    What is tried again: every `Disconnected`, with waits by `Backoff`. What is not: a refused password (cameras lock
    out who tries too often), a recording that broke off (it would begin anew), and, at the first opening, what looks
    like a slip of the pen: no such host, no such stream, no video there. Once a source has worked these are tried
    again, too, "no such stream" for a minute.

    Each return begins a new epoch, and so does a change of the picture's size. Indices and times go on: `pts` is
    strictly increasing over all epochs, in the unit of the first.

    Args:
        source: can be opened again after it was closed.
        backoff: how long the waits are.
        patient: no such host, or no such stream, is waited for without end, at the first opening, too: for a list of
            cameras that was right yesterday, most of which boot when the power is back.
    """

    live = True

    def __init__(self, source: Source, *, backoff: Backoff | None = None, patient: bool = False) -> None:
        self.source, self._patient = source, patient
        self.link = Link(stall_s=getattr(source, "stall_s", Link().stall_s))
        self._backoff = backoff or Backoff()
        self._stop = threading.Event()
        self._stream = ""
        self._begin()

    def __repr__(self) -> str:
        return f"Reconnecting({self.source!r})"

    def open(self, stream: str) -> StreamInfo:
        """Connect; a source that is not there yet is waited for.

        Raises:
            SourceError: of a kind that no waiting helps against.
            Disconnected: it was interrupted.
        """
        self._stream = stream
        self._begin()
        away: list[SourceError] = []
        try:
            return self._up()
        except SourceError as error:
            away.append(error)
        info = self._again(away.pop())
        if info is None:
            raise Disconnected("closed before it was there")
        return info

    def read(self) -> Frame | None:
        """The next frame, of this connection or of the next one; `None` once it is interrupted.

        Raises:
            SourceError: of a kind that no waiting helps against.
        """
        lost: list[SourceError] = []
        while not self._stop.is_set():
            frame = None
            try:
                frame = self.source.read()
            except SourceError as error:
                # Not opened again in here: this error would be the context of the next one, and so on without end.
                lost.append(error)
            self._count()
            if not lost:
                self._settle()
                return None if frame is None else self._placed(frame)
            # Not kept here, either: by its traceback it holds all that was open, for as long as the camera is away.
            if self._stop.is_set() or self._again(lost.pop()) is None:
                return None
        return None

    def interrupt(self) -> None:
        """End what blocks in `open` or `read`, from any thread; only `close` helps after it."""
        self._stop.set()
        if isinstance(self.source, Interruptible):
            self.source.interrupt()

    def close(self) -> None:
        """Close the source."""
        self.source.close()
        self._count()
        self.link.state = LinkState.CLOSED
        self._stop.clear()

    def _begin(self) -> None:
        self._epoch = self._next_index = self._first_index = 0
        self._shape: tuple[int, ...] | None = None
        self._shape_epoch = 0
        self._timeline = Timeline()
        self._worked = False
        self._up_since = 0.0
        self._waits = 0
        # Connections in a row that were soon lost, and when that was told.
        self._short, self._told_at = 0, -math.inf

    def _up(self) -> StreamInfo:
        info = self.source.open(self._stream)
        self._worked, self._up_since = True, time.monotonic()
        self._timeline.restart()
        self._first_index = self._next_index
        self.link.state, self.link.cause = LinkState.UP, None
        return info

    def _again(self, error: SourceError) -> StreamInfo | None:
        """Open it again after this error; `None` = interrupted.

        Raises:
            SourceError: this one or a later one, of a kind that is not tried again.
        """
        began, tries, told, link = time.monotonic(), 0, False, self.link
        tried_at, first = began, not self._worked
        flaps = not first and self._flaps(error, began)
        while True:
            self.source.close()
            if self._stop.is_set():
                return None
            link.state, link.cause = LinkState.CONNECTING if first else LinkState.LOST, error.cause
            self._check(error, time.monotonic() - began)
            if not told and not (flaps and time.monotonic() - began < self._backoff.healthy_s):
                told = True
                what = "not there yet, waiting for it" if first else "lost, trying again"
                tags = {"stream": self._stream, "event": "away" if first else "lost", "cause": error.cause}
                log.warning("%s: %s (%s): %s", self._stream, what, error.cause, redact(str(error)), extra=tags)
            else:
                log.debug("%s: still away (%s): %s", self._stream, error.cause, redact(str(error)))
            # Its traceback holds this frame, and what was open in others: let go of it before the next one.
            del error
            # What a try took is part of the wait: one that was silent for seconds has kept nobody busy. A tenth is
            # left: cameras that all fail after the same timeout would be tried in step.
            wait_s = self._backoff.wait_s(self._waits)
            if self._stop.wait(max(wait_s / 10, wait_s - (time.monotonic() - tried_at))):
                return None
            self._waits += 1
            tries += 1
            tried_at = time.monotonic()
            try:
                info = self._up()
            except SourceError as failed:
                link.tries += 1
                error = failed
                continue
            self._epoch += not first
            link.reconnects += not first
            seconds, event = time.monotonic() - began, "there" if first else "back"
            tags = {"stream": self._stream, "event": event}
            level = logging.WARNING if told else logging.DEBUG
            log.log(level, "%s: %s after %.1f s (try %d)", self._stream, event, seconds, tries, extra=tags)
            return info

    def _flaps(self, error: SourceError, now: float) -> bool:
        """Count a loss: whether it is one of so many in a row that they are told together, once a minute."""
        self.link.lost[error.cause] += 1
        if now - self._up_since >= self._backoff.healthy_s:
            self._waits = self._short = 0
        else:
            self._short += 1
        if self._short >= _FLAPS and now - self._told_at >= _TOLD_EVERY_S:
            self._told_at = now
            text = "%s: comes and goes, lost %d times in a row (%s): told once a minute from now on"
            tags = {"stream": self._stream, "event": "lost", "cause": error.cause}
            log.warning(text, self._stream, self._short, error.cause, extra=tags)
        return self._short >= _FLAPS

    def _settle(self) -> None:
        """One that came and went has been there for long enough."""
        if self._short >= _FLAPS and time.monotonic() - self._up_since >= self._backoff.healthy_s:
            log.warning("%s: back, and stays", self._stream, extra={"stream": self._stream, "event": "back"})
            self._short, self._told_at = 0, -math.inf

    def _check(self, error: SourceError, away_s: float) -> None:
        """Whether waiting helps.

        Raises:
            SourceError: it does not.
        """
        if self._patient and isinstance(error, HostNotFound | SourceNotFound):
            hopeless = False
        elif isinstance(error, Disconnected):
            hopeless = isinstance(error, HostNotFound) and not self._worked
        elif isinstance(error, SourceNotFound):
            hopeless = not self._worked or away_s > _NOT_FOUND_S
        else:
            again = isinstance(error, SourceUnsupported | SourceCorrupt) and not isinstance(error, SourceTruncated)
            hopeless = not (self._worked and again)
        if hopeless:
            raise error

    def _placed(self, frame: Frame) -> Frame:
        shape = frame.size_px
        if self._shape is not None and shape != self._shape and self._epoch == self._shape_epoch:
            self._epoch += 1
        self._shape, self._shape_epoch = shape, self._epoch
        index = self._first_index + frame.index
        self._next_index = index + 1
        pts = self._timeline.place(frame.pts, frame.time_base, frame.captured_at)
        return frame.but(index=index, epoch=self._epoch, pts=pts, time_base=self._timeline.time_base)

    def _count(self) -> None:
        # Ours count them, over all connections; sources of others need not.
        self.link.skipped_packets = getattr(self.source, "skipped_packets", 0)
        self.link.damaged_pictures = getattr(self.source, "damaged_pictures", 0)
        self.link.lost_packets = getattr(self.source, "lost_packets", None)
        self.link.stale_frames = getattr(self.source, "stale_frames", 0)
