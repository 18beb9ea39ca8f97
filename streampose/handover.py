"""What several streams hand over to one loop."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Self

from streampose.errors import ChannelClosed
from streampose.result import Result
from streampose.sinks import CallSink, StopRequested

__all__ = ["Handover"]

# Of a recording, so that its pipeline goes on while the loop computes.
_AHEAD = 2


class Handover:
    """Results of streams, taken of each in turns; all calls are one event loop's."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[Result]] = {}
        """In the order in which the streams have their turns."""
        self._some, self._room = asyncio.Event(), asyncio.Event()
        self._closed = False

    async def put(self, result: Result, *, live: bool) -> None:
        """Of what is live the newest result alone waits, and replaces the one before it, which nobody counts; of a
        recording two do, and then whoever brings more.

        Raises:
            ChannelClosed: nobody takes any more.
        """
        name = result.frame.stream
        while not live and not self._closed and len(self._waiting.get(name, ())) >= _AHEAD:
            self._room.clear()
            await self._room.wait()
        if self._closed:
            raise ChannelClosed("the loop has ended")
        self._waiting.setdefault(name, deque(maxlen=1 if live else None)).append(result)
        self._some.set()

    def close(self) -> None:
        """Take nothing any more; what waits can still be had."""
        self._closed = True
        self._some.set()
        self._room.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Result:
        while not self._waiting:
            if self._closed:
                raise StopAsyncIteration
            self._some.clear()
            await self._some.wait()
        name = next(iter(self._waiting))
        mine = self._waiting.pop(name)
        result = mine.popleft()
        if mine:
            self._waiting[name] = mine
        self._room.set()
        return result

    def sink(self, *, live: bool, wants_picture: bool) -> CallSink:
        """What hands over the results of one stream, on the event loop that calls this; a recording's wait for room."""
        loop = asyncio.get_running_loop()

        def give(result: Result) -> None:
            try:
                asyncio.run_coroutine_threadsafe(self.put(result, live=live), loop).result()
            except ChannelClosed:
                raise StopRequested from None

        return CallSink(give, wants_picture=wants_picture)
