"""How long an output of a stream that is stopped may take nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import ClassVar, ParamSpec, TypeVar

from streampose.errors import SinkFailed, WorkerStuck
from streampose.sinks.sink import Sink
from streampose.worker import Worker

__all__ = ["Patience"]

P = ParamSpec("P")
R = TypeVar("R")


class Patience:
    """With the sinks of one stream: from `begin` on each call has its time, and a sink that exceeds it is given up.

    Args:
        live: whether the stream is. A recording's outputs are waited for, as they were all the time.
    """

    limit_s: ClassVar[float] = 15.0
    """Of one call. `SendSink` waits 10 s for a server, and `Pipeline.remove` as long for a whole stream."""

    def __init__(self, *, live: bool) -> None:
        self._live, self._begun = live, False
        self._limits: set[asyncio.Timeout] = set()
        self._given_up: set[Worker[Sink]] = set()

    def begin(self) -> None:
        """Limit the calls in progress, and all that come."""
        if self._live and not self._begun:
            self._begun = True
            for limit in self._limits:
                limit.reschedule(asyncio.get_running_loop().time() + self.limit_s)

    async def call(self, sink: Worker[Sink], function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """`Worker.call`, as long as there is patience.

        Raises:
            SinkFailed: there is none any more; the call is left behind.
            Exception: whatever the function raised.
        """
        try:
            async with asyncio.timeout(self.limit_s if self._begun else None) as limit:
                self._limits.add(limit)
                try:
                    return await sink.call(function, *args, **kwargs)
                finally:
                    self._limits.discard(limit)
        except TimeoutError:
            if not limit.expired():  # the function's own
                raise
            self._given_up.add(sink)
            name = getattr(sink.thing, "path", None) or type(sink.thing).__name__
            raise SinkFailed(
                f"{name} took nothing for {self.limit_s:g} s after the stop, and was given up: see who reads it, or "
                "whether its disk hangs"
            ) from None

    async def close(self, sink: Worker[Sink]) -> None:
        """Close it; one that was given up has said why, and is hardly waited for.

        Raises:
            WorkerStuck: it did not close in time.
            Exception: whatever its `close` raised.
        """
        if sink not in self._given_up:
            await sink.aclose(timeout_s=30.0)
            return
        with contextlib.suppress(WorkerStuck):
            await sink.aclose(timeout_s=0.5)
