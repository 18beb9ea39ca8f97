"""How long an output of a stream that is stopped may take nothing, and how long any may take to close."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ClassVar, ParamSpec, TypeVar

from streampose.errors import SinkFailed, WorkerStuck
from streampose.sinks.jsonl import JsonlSink
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

    closing_s: ClassVar[float] = 30.0
    """Of `close`, whatever the stream is: a long film may be put in order then."""

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
        call = sink.start(function, *args, **kwargs)
        try:
            async with asyncio.timeout(self.limit_s if self._begun else None) as limit:
                self._limits.add(limit)
                try:
                    return await call
                finally:
                    self._limits.discard(limit)
        except TimeoutError:
            if not call.cancelled():  # the function's own error; or it has returned, and the loop was held up
                return call.result()
            self._given_up.add(sink)
            raise SinkFailed(
                f"{_name(sink.thing)} took nothing for {self.limit_s:g} s after the stop, and was given up: see who "
                "reads it, or whether its disk hangs"
            ) from None

    async def close(self, sink: Worker[Sink]) -> None:
        """Close it; one that was given up has said why, and is hardly waited for.

        Raises:
            SinkFailed: it did not close in time; its thread is left behind.
            Exception: whatever its `close` raised.
        """
        given_up = sink in self._given_up
        try:
            await sink.aclose(timeout_s=0.5 if given_up else self.closing_s)
        except WorkerStuck:
            if not given_up:
                raise SinkFailed(
                    f"{_name(sink.thing)} did not close within {self.closing_s:g} s, and was left behind: see whether "
                    "its disk hangs"
                ) from None


def _name(sink: Sink) -> str:
    if isinstance(sink, JsonlSink) and sink.path is None:
        return "standard output"
    return str(getattr(sink, "path", None) or type(sink).__name__)
