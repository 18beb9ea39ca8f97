"""What several streams hand over to one loop."""

from __future__ import annotations

import asyncio
from fractions import Fraction

import numpy as np
import pytest

from streampose.errors import ChannelClosed
from streampose.frame import Frame
from streampose.handover import Handover
from streampose.pose import Poses
from streampose.result import Result, Timing
from streampose.skeletons import COCO_17

TIMING = Timing(captured_at=0.0, taken_at=0.0, inferred_at=0.0, delivered_at=0.0, batch_size=1)


def result(stream: str, index: int) -> Result:
    frame = Frame(
        stream=stream, index=index, epoch=0, pts=index, time_base=Fraction(1, 30), captured_at=0.0,
        image=np.zeros((1, 1, 3), np.uint8),
    )  # fmt: skip
    return Result(frame=frame, poses=Poses.empty(COCO_17), timing=TIMING)


async def taken(handover: Handover, count: int) -> list[tuple[str, int]]:
    results = [await anext(handover) for _ in range(count)]
    return [(r.frame.stream, r.frame.index) for r in results]


async def test_streams_have_their_turns():
    handover = Handover()
    for name in "abc":
        for i in range(2):
            await handover.put(result(name, i), live=False)
    assert await taken(handover, 6) == [(name, i) for i in range(2) for name in "abc"]


async def test_a_recording_waits_for_room_and_loses_nothing():
    handover = Handover()
    for i in range(2):
        await handover.put(result("a", i), live=False)
    third = asyncio.create_task(handover.put(result("a", 2), live=False))
    await handover.put(result("b", 0), live=False)  # others have room of their own
    assert not third.done()
    assert await taken(handover, 1) == [("a", 0)]
    await third
    assert await taken(handover, 3) == [("b", 0), ("a", 1), ("a", 2)]


async def test_what_is_live_replaces_its_own_and_keeps_its_turn():
    handover = Handover()
    for name, i in [("a", 0), ("b", 0), ("a", 1), ("a", 2)]:
        await handover.put(result(name, i), live=True)
    assert await taken(handover, 2) == [("a", 2), ("b", 0)]


async def test_closing_ends_who_waits_and_keeps_what_is_there():
    handover = Handover()
    for i in range(2):
        await handover.put(result("a", i), live=False)
    waiting = asyncio.create_task(handover.put(result("a", 2), live=False))
    await asyncio.sleep(0)
    handover.close()
    for late in (waiting, handover.put(result("b", 0), live=True)):
        with pytest.raises(ChannelClosed):
            await late
    assert [r.frame.index async for r in handover] == [0, 1]


async def test_who_takes_waits_for_each_result():
    handover = Handover()
    taking = asyncio.create_task(taken(handover, 2))
    for i in range(2):
        await asyncio.sleep(0)
        assert not taking.done()
        await handover.put(result("a", i), live=True)
    async with asyncio.timeout(1):
        assert await taking == [("a", 0), ("a", 1)]


async def test_who_takes_is_told_of_the_end():
    handover = Handover()
    taking = asyncio.create_task(anext(handover, None))
    await asyncio.sleep(0)
    handover.close()
    assert await taking is None
