from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streampose.channel import Channel, Overflow
from streampose.errors import ChannelClosed


async def test_items_come_out_in_order_and_the_end_is_seen():
    channel: Channel[int] = Channel(3)
    for i in range(3):
        await channel.put(i)
    channel.close()
    assert [i async for i in channel] == [0, 1, 2]
    with pytest.raises(ChannelClosed):
        await channel.get()
    with pytest.raises(ChannelClosed):
        await channel.put(3)


async def test_a_full_channel_makes_the_producer_wait():
    channel: Channel[int] = Channel(1)
    await channel.put(0)
    waiting = asyncio.create_task(channel.put(1))
    await asyncio.sleep(0)
    assert not waiting.done()
    assert await channel.get() == 0
    await waiting
    waiting = asyncio.create_task(channel.put(2))
    await asyncio.sleep(0)
    assert not waiting.done()
    channel.take(1)
    async with asyncio.timeout(1):
        await waiting
    assert await channel.get() == 2


async def test_drop_oldest_keeps_the_freshest_and_tells():
    dropped: list[int] = []
    channel: Channel[int] = Channel(2, Overflow.DROP_OLDEST, on_drop=dropped.append)
    for i in range(4):
        channel.put_nowait(i)
    async with asyncio.timeout(1):  # also where it may wait, it does not
        await channel.put(4)
    assert dropped == [0, 1, 2]
    assert list(channel) == [3, 4]


async def test_who_watches_is_told_of_what_is_put_and_of_the_end():
    changes: list[int] = []
    channel: Channel[int] = Channel(2, on_change=lambda: changes.append(len(channel)))
    await channel.put(0)
    channel.put_nowait(1)
    channel.close()
    channel.close()
    assert changes == [1, 2, 2]


async def test_close_wakes_everyone_who_waits():
    empty: Channel[int] = Channel(1)
    full: Channel[int] = Channel(1)
    await full.put(0)
    tasks = [asyncio.create_task(empty.get()), asyncio.create_task(full.put(1))]
    await asyncio.sleep(0)
    empty.close()
    full.close()
    assert all(isinstance(r, ChannelClosed) for r in await asyncio.gather(*tasks, return_exceptions=True))
    assert await full.get() == 0


async def test_close_wakes_several_who_wait_at_one_end():
    channel: Channel[int] = Channel(1)
    await channel.put(0)
    waiting = [asyncio.create_task(channel.put(i)) for i in (1, 2, 3)]
    await asyncio.sleep(0)
    channel.close()
    async with asyncio.timeout(1):
        ended = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(error, ChannelClosed) for error in ended)


async def test_a_wake_up_does_not_end_with_who_was_cancelled():
    channel: Channel[int] = Channel(1)
    await channel.put(0)
    first, second = (asyncio.create_task(channel.put(i)) for i in (1, 2))
    await asyncio.sleep(0)
    first.cancel()
    assert await channel.get() == 0  # in the same turn: the first is still waiting
    async with asyncio.timeout(1):
        await second
    assert await channel.get() == 2


async def test_a_cancelled_waiter_does_not_eat_a_wake_up():
    channel: Channel[int] = Channel(1)
    first, second = asyncio.create_task(channel.get()), asyncio.create_task(channel.get())
    await asyncio.sleep(0)
    channel.put_nowait(7)  # wakes the first …
    first.cancel()  # … which is cancelled in the same tick
    assert await second == 7
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_take_removes_one_item_by_identity():
    channel: Channel[list[int]] = Channel(3)
    items: list[list[int]] = [[], [], []]
    for item in items:
        channel.put_nowait(item)
    channel.take(items[1])
    assert [id(i) for i in channel] == [id(items[0]), id(items[2])]
    with pytest.raises(ValueError, match="not in the channel"):
        channel.take(items[1])


@given(st.integers(1, 5), st.lists(st.sampled_from(["put", "get", "take"]), max_size=60), st.sampled_from(Overflow))
@settings(deadline=None)
def test_what_is_put_is_taken_or_told_as_dropped_or_inside(capacity: int, steps: list[str], overflow: Overflow):
    async def run() -> None:
        dropped: list[object] = []
        channel: Channel[object] = Channel(capacity, overflow, on_drop=dropped.append)
        put = taken = 0
        for step in steps:
            if step == "put":
                if overflow is Overflow.WAIT and len(channel) == capacity:
                    with pytest.raises(asyncio.QueueFull):
                        channel.put_nowait(object())
                else:
                    channel.put_nowait(object())
                    put += 1
            elif len(channel):
                taken += 1
                if step == "get":
                    await channel.get()
                else:
                    channel.take(list(channel)[-1])
            assert put == taken + len(dropped) + len(channel)
            assert len(channel) <= capacity

    asyncio.run(run())
