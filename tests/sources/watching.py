"""Reading a live source as the pipeline does, to see what comes of it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise

from streampose.errors import (
    SourceError,
)
from streampose.frame import Frame
from streampose.sources import NetworkSource, Reconnecting


class Watch:
    """Reads a source on a thread, as the pipeline does, and keeps what it saw of each frame, without the picture."""

    def __init__(self, url: str, *, stall_s: float = 1.0, **options) -> None:
        self.source = Reconnecting(NetworkSource(url, open_timeout_s=2.0, stall_s=stall_s, **options))
        self.frames: list[tuple[float, Frame]] = []
        self.error: SourceError | None = None
        self._thread = threading.Thread(target=self._run, name="streampose-watch")
        self._thread.start()

    def _run(self) -> None:
        try:
            self.source.open("cam")
            while (frame := self.source.read()) is not None:
                self.frames.append((time.monotonic(), replace(frame, image=frame.image[:0])))
        except SourceError as error:
            self.error = error

    @property
    def epoch(self) -> int:
        return self.frames[-1][1].epoch if self.frames else -1

    def until(self, condition: Callable[[], bool], within_s: float = 8.0) -> float:
        began = time.monotonic()
        while not condition():
            assert self.error is None, self.error
            assert time.monotonic() - began < within_s, f"nothing within {within_s} s; {self.source.link}"
            time.sleep(0.01)
        return time.monotonic() - began

    def more(self, frames: int = 5) -> float:
        there = len(self.frames)
        return self.until(lambda: len(self.frames) >= there + frames)

    def close(self) -> None:
        began = time.monotonic()
        self.source.interrupt()
        self._thread.join()
        self.source.close()
        assert time.monotonic() - began < 5, "it kept us waiting"


@contextlib.contextmanager
def watch(url: str, **options) -> Iterator[Watch]:
    watched = Watch(url, **options)
    try:
        yield watched
    finally:
        watched.close()
    frames = [frame for _, frame in watched.frames]
    assert all(a.pts < b.pts and a.index < b.index and a.captured_at <= b.captured_at for a, b in pairwise(frames))
