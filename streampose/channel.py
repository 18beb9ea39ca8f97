"""A bounded, closable queue between two tasks of one event loop, that tells what it drops."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from enum import Enum
from typing import Generic, TypeVar

from streampose.errors import ChannelClosed

__all__ = ["Channel", "Overflow"]

T = TypeVar("T")


class Overflow(Enum):
    """What `put` does when a channel is full."""

    WAIT = "wait"
    """Wait for room: nothing is lost, and the producer is slowed down."""
    DROP_OLDEST = "drop-oldest"
    """Make room: what is inside is always the freshest, and the producer never waits."""


class Channel(Generic[T]):
    """A bounded FIFO with one consumer and any number of producers.

    Args:
        capacity: how many items it holds, ≥ 1.
        overflow: what happens to an item that finds it full.
        on_drop: called with each item that is dropped to make room.
        on_change: called after every put and at close; for a consumer that watches several channels.
    """

    def __init__(
        self,
        capacity: int,
        overflow: Overflow = Overflow.WAIT,
        *,
        on_drop: Callable[[T], None] | None = None,
        on_change: Callable[[], None] | None = None,
    ) -> None:
        if capacity < 1:
            raise ValueError(f"a channel holds at least 1 item, not {capacity}")
        self._capacity = capacity
        self._overflow = overflow
        self._on_drop = on_drop
        self._on_change = on_change
        self._items: deque[T] = deque()
        self._getters: deque[asyncio.Future[None]] = deque()
        self._putters: deque[asyncio.Future[None]] = deque()
        self._closed = False

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[T]:
        """The items inside, oldest first, without taking them."""
        return iter(self._items)

    @property
    def capacity(self) -> int:
        """How many items it holds."""
        return self._capacity

    @property
    def closed(self) -> bool:
        """Whether `close` was called. Items may still be inside."""
        return self._closed

    async def put(self, item: T) -> None:
        """Add an item, by the overflow rule.

        Raises:
            ChannelClosed: it was closed, before or while waiting for room.
        """
        while self._overflow is Overflow.WAIT and len(self._items) >= self._capacity and not self._closed:
            await self._wait(self._putters)
        self.put_nowait(item)

    def put_nowait(self, item: T) -> None:
        """Add an item at once.

        Raises:
            ChannelClosed: it was closed.
            asyncio.QueueFull: it is full, and its rule is to wait.
        """
        if self._closed:
            raise ChannelClosed("the channel is closed")
        if len(self._items) >= self._capacity:
            if self._overflow is Overflow.WAIT:
                raise asyncio.QueueFull
            oldest = self._items.popleft()
            if self._on_drop is not None:
                self._on_drop(oldest)
        self._items.append(item)
        self._wake(self._getters)
        self._changed()

    async def get(self) -> T:
        """Take the oldest item.

        Raises:
            ChannelClosed: it is closed and empty.
        """
        while not self._items:
            if self._closed:
                raise ChannelClosed("the channel is closed and empty")
            await self._wait(self._getters)
        item = self._items.popleft()
        self._wake(self._putters)
        return item

    def take(self, item: T) -> None:
        """Take this very item, wherever it stands in the queue.

        Raises:
            ValueError: it is not inside.
        """
        for i, other in enumerate(self._items):
            if other is item:
                del self._items[i]
                self._wake(self._putters)
                return
        raise ValueError("the item is not in the channel")

    async def __aiter__(self) -> AsyncIterator[T]:
        """Every item until the channel is closed and empty."""
        while True:
            try:
                item = await self.get()
            except ChannelClosed:
                return
            yield item

    def close(self) -> None:
        """No more items: what is inside can still be taken. May be called twice."""
        if self._closed:
            return
        self._closed = True
        for waiters in (self._getters, self._putters):
            while waiters:
                self._wake(waiters)
        self._changed()

    def _changed(self) -> None:
        if self._on_change is not None:
            self._on_change()

    @staticmethod
    def _wake(waiters: deque[asyncio.Future[None]]) -> None:
        while waiters:
            waiter = waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    @classmethod
    async def _wait(cls, waiters: deque[asyncio.Future[None]]) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            # Woken and cancelled in the same tick: the wake-up belongs to the next in line.
            if waiter.done() and not waiter.cancelled():
                cls._wake(waiters)
            raise
        finally:
            if waiter in waiters:
                waiters.remove(waiter)
