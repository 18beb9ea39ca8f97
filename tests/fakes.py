"""Stand-ins for speed and for faults: a virtual clock, a scripted source, an estimator of known cost, a sink."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction

import numpy as np

from streampose.errors import ModelOutputError
from streampose.frame import Frame, Image, StreamInfo
from streampose.pose import Poses, Skeleton
from streampose.result import Result
from streampose.skeletons import COCO_17

TIME_BASE = Fraction(1, 1000)


def picture(value: int = 0, height: int = 48, width: int = 64) -> Image:
    image = np.full((height, width, 3), value % 256, np.uint8)
    image.setflags(write=False)
    return image


def frame(index: int, *, stream: str = "s", captured_at: float = 0.0, epoch: int = 0) -> Frame:
    return Frame(
        stream=stream,
        index=index,
        epoch=epoch,
        pts=index * 40,
        time_base=TIME_BASE,
        captured_at=captured_at,
        image=picture(index),
    )


class VirtualClock:
    """Time that stands still until `advance`."""

    def __init__(self) -> None:
        self._now = 0.0
        self._sleepers: list[tuple[float, asyncio.Event]] = []

    def now(self) -> float:
        return self._now

    async def wait(self, event: asyncio.Event, until: float | None) -> None:
        if until is None:
            await event.wait()
            return
        due = asyncio.Event()
        self._sleepers.append((until, due))
        tasks = [asyncio.create_task(event.wait()), asyncio.create_task(due.wait())]
        try:
            if self._now < until:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def advance(self, seconds: float) -> None:
        self._now += seconds
        for until, due in self._sleepers:
            if until <= self._now:
                due.set()
        self._sleepers = [s for s in self._sleepers if not s[1].is_set()]


class ScriptedSource:
    """Plays a script: an int is a frame of that index, an exception is raised, a callable is called (say, to block)."""

    def __init__(
        self, script: Iterable[int | Exception | Callable[[], None]], *, live: bool = False, period_s: float = 0.0
    ) -> None:
        self.live = live
        self._script = iter(script)
        self._period_s = period_s
        self._stream = ""
        self.threads: set[int] = set()
        self.opened = self.closed = 0

    def open(self, stream: str) -> StreamInfo:
        self.threads.add(threading.get_ident())
        self.opened += 1
        self._stream = stream
        return StreamInfo(width_px=64, height_px=48, time_base=TIME_BASE)

    def read(self) -> Frame | None:
        self.threads.add(threading.get_ident())
        if self._period_s:
            time.sleep(self._period_s)
        for step in self._script:
            if isinstance(step, Exception):
                raise step
            if isinstance(step, int):
                return frame(step, stream=self._stream, captured_at=time.monotonic())
            step()
        return None

    def close(self) -> None:
        self.threads.add(threading.get_ident())
        self.closed += 1


class FakeEstimator:
    """One person per picture, whose points and box carry the picture's first pixel. Costs a + b·n seconds."""

    def __init__(self, *, base_s: float = 0.0, per_frame_s: float = 0.0, fail_at: int | None = None) -> None:
        self.skeleton: Skeleton = COCO_17
        self.batches: list[list[int]] = []
        self.closed = False
        self._cost = (base_s, per_frame_s)
        self._fail_at = fail_at
        self._busy = threading.Lock()

    def __call__(self, images: Sequence[Image]) -> list[Poses]:
        if not self._busy.acquire(blocking=False):
            raise AssertionError("an estimator was called twice at a time")
        try:
            values = [int(image[0, 0, 0]) for image in images]
            self.batches.append(values)
            if self._fail_at in values:
                raise ModelOutputError("the model returned NaN")
            base_s, per_frame_s = self._cost
            if seconds := base_s + per_frame_s * len(images):
                time.sleep(seconds)
            return [poses_of(value) for value in values]
        finally:
            self._busy.release()

    def close(self) -> None:
        self.closed = True


def poses_of(value: int, people: int = 1) -> Poses:
    return Poses(
        skeleton=COCO_17,
        points=np.full((people, 17, 2), value, np.float32),
        scores=np.ones((people, 17), np.float32),
        boxes=np.tile(np.array([value, value, value + 10, value + 20], np.float32), (people, 1)),
        box_scores=np.ones(people, np.float32),
    )


class MemorySink:
    """Keeps what it gets; can be slow, and can break."""

    def __init__(
        self,
        *,
        wants_picture: bool = False,
        delay_s: float = 0.0,
        error_at: int | None = None,
        error: Exception | None = None,
    ) -> None:
        self.wants_picture = wants_picture
        self.results: list[Result] = []
        self.opened = self.closed = 0
        self._delay_s, self._error_at, self._error = delay_s, error_at, error
        self.stream = ""

    def open(self, stream: str, info: StreamInfo) -> None:
        self.opened += 1
        self.stream = stream

    def write(self, result: Result) -> None:
        if self._delay_s:
            time.sleep(self._delay_s)
        if self._error is not None and result.frame.index == self._error_at:
            raise self._error
        self.results.append(result)

    def close(self) -> None:
        self.closed += 1

    @property
    def indices(self) -> list[int]:
        return [result.frame.index for result in self.results]
