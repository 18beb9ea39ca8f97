"""One thread that owns one blocking thing.

`asyncio.to_thread` is not enough for containers, devices and sessions: cancelling it leaves the call running, and a
close from another thread then races it. Here every call, the closing one too, runs on the one thread, in order.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, runtime_checkable

from streampose.errors import StreamposeError, WorkerClosed, WorkerStuck

__all__ = ["Nothing", "Worker", "begin"]


class Closable(Protocol):
    """A thing with an end."""

    def close(self) -> None:
        """Let go of everything."""


class Nothing:
    """For a thread that owns nothing, and only runs calls."""

    def close(self) -> None:
        """There is nothing to let go of."""


@runtime_checkable
class Interruptible(Protocol):
    """A thing whose blocking calls can be ended from another thread."""

    def interrupt(self) -> None:
        """End what blocks; `close` comes next."""


T = TypeVar("T", bound=Closable)
P = ParamSpec("P")
R = TypeVar("R")

_Job = tuple[Callable[[], Any], asyncio.AbstractEventLoop, "asyncio.Future[Any]"]


class Worker(Generic[T]):
    """A thread that owns `thing`: all calls on it go through `call`.

    Args:
        thing: what it owns; its `close` is called on the thread, once, at `aclose`.
        name: of the thread, for debuggers and logs.

    Raises:
        StreamposeError: the system has no room for another thread.
    """

    def __init__(self, thing: T, name: str) -> None:
        self.thing = thing
        self._name = f"streampose-{name}"
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._closing = False
        # A daemon: a call that never returns (a hung driver) must not keep the process alive.
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        begin(self._thread)

    async def call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a function on the thread and return what it returns.

        A cancelled call goes on to its end on the thread; what it returns is thrown away, and calls after it wait.

        Raises:
            WorkerClosed: the worker was closed.
            Exception: whatever the function raised.
        """
        return await self.start(function, *args, **kwargs)

    def start(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[R]:
        """`call`, on its way when this returns and not when it is first awaited.

        Raises:
            WorkerClosed: the worker was closed.
        """
        if self._closing:
            raise WorkerClosed(f"{self._name} is closed")
        return self._submit(lambda: function(*args, **kwargs))

    async def aclose(self, timeout_s: float = 10.0) -> None:
        """Close the thing on its own thread, after any call in progress, and end the thread. May be called twice.

        A thing with an `interrupt` is told first, so that a call in progress ends soon.

        Raises:
            WorkerStuck: a call did not return in time; the thread is left behind.
            Exception: whatever the thing's `interrupt` or `close` raised.
        """
        if self._closing:
            return
        self._closing = True
        thing: object = self.thing
        try:
            if isinstance(thing, Interruptible):
                thing.interrupt()
        finally:
            await self._end(timeout_s)

    async def _end(self, timeout_s: float) -> None:
        closed = self._submit(self.thing.close)
        self._jobs.put(None)
        try:
            async with asyncio.timeout(timeout_s):
                await closed
        except TimeoutError as error:
            if closed.cancelled():
                raise WorkerStuck(f"{self._name} is stuck in a call; left it behind after {timeout_s:g} s") from error
            closed.result()  # the thing's own error; or it has closed, and the loop was held up
        self._thread.join()

    def _submit(self, function: Callable[[], R]) -> asyncio.Future[R]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        self._jobs.put((function, loop, future))
        return future

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            function, loop, future = job
            result, error = None, None
            try:
                result = function()
            except BaseException as caught:  # noqa: BLE001 - handed to whoever awaits the call
                error = caught
            try:
                loop.call_soon_threadsafe(_settle, future, result, error)
            except RuntimeError:
                # The loop is gone, and nobody is left to tell. The thing still gets its close.
                continue
            finally:
                # Do not keep the last frame alive while waiting for the next call.
                del job, function, future, result, error


def begin(thread: threading.Thread) -> None:
    """Start it.

    Raises:
        StreamposeError: the system has no room for another thread.
    """
    try:
        thread.start()
    except RuntimeError as error:
        raise StreamposeError(
            f"{thread.name} got no thread ({error}): run fewer streams at a time, or give the process more memory "
            "and threads (`ulimit -u`; TasksMax of systemd, pids of containers)"
        ) from error


def _settle(future: asyncio.Future[Any], result: object, error: BaseException | None) -> None:
    if future.done():  # cancelled meanwhile
        return
    if error is None:
        future.set_result(result)
    elif isinstance(error, StopIteration) or not isinstance(error, Exception):
        # No future can carry these as what they are, and a `sys.exit` there is not the end of this program.
        future.set_exception(RuntimeError(f"{error!r} left a worker's call"))
    else:
        future.set_exception(error)
