"""A run beside the windows."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from streampose.errors import StreamposeError
from streampose.worker import begin

__all__ = ["Background"]

T = TypeVar("T")


class Background(Generic[T]):
    """A coroutine in an event loop on a thread of its own."""

    def __init__(self, work: Coroutine[Any, Any, T], on_done: Callable[[], None]) -> None:
        self._work, self._on_done = work, on_done
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._started = threading.Event()
        self._result: list[T] = []
        self._error: BaseException | None = None
        self.done = False
        self._thread = threading.Thread(target=self._main, name="streampose-loop", daemon=True)
        try:
            begin(self._thread)
        except StreamposeError:
            work.close()
            raise
        self._started.wait()

    def cancel(self, after_s: float = 0.0) -> None:
        """Cancel it, from any thread, after a while."""
        loop, task = self._loop, self._task
        if loop is None or task is None or self.done:
            return
        try:
            loop.call_soon_threadsafe(lambda: loop.call_later(after_s, task.cancel))
        except RuntimeError:  # it has just ended
            return

    def wait(self, at_most_s: float = math.inf) -> None:
        """Until it has ended; in small steps, so that signals are handled on every system."""
        until = time.monotonic() + at_most_s
        while self._thread.is_alive() and time.monotonic() < until:
            self._thread.join(0.1)

    def result(self) -> T:
        """What it returned, or raised."""
        if self._error is not None:
            raise self._error
        return self._result[0]

    def _main(self) -> None:
        try:
            self._result.append(asyncio.run(self._begin()))
        except BaseException as error:  # noqa: BLE001 - raised by `result`
            self._error = error
        finally:
            self.done = True
            self._started.set()
            self._on_done()

    async def _begin(self) -> T:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        self._started.set()
        return await self._work
