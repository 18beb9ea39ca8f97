from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import numpy as np
import pytest
from fakes import poses_of

from streampose.engine_thread import EngineThread, close_all, is_lent
from streampose.errors import WorkerClosed
from streampose.frame import Image
from streampose.pose import Poses
from streampose.skeletons import COCO_17


def pictures(*people: int) -> list[Image]:
    return [np.full((2, 2, 3), n, np.uint8) for n in people]


class Device:
    """Each run waits to be let go."""

    skeleton = COCO_17

    def __init__(self) -> None:
        self.events: list[str] = []
        self.gate = threading.Semaphore(0)
        self.threads: set[str] = set()
        self.closed = 0

    def ahead(self, images: Sequence[Image]) -> str:
        number = int(images[0][0, 0, 0])
        if number == 13:
            raise ValueError("no cable")
        self.events.append(f"sent {number}")
        return f"pixels {number}"

    def __call__(self, images: Sequence[Image], pixels: str | None = None) -> list[Poses]:
        self.threads.add(threading.current_thread().name)
        self.events.append(f"ran {pixels}")
        assert self.gate.acquire(timeout=10)
        return [poses_of(0, int(image[0, 0, 0])) for image in images]

    def close(self) -> None:
        self.closed += 1


async def happens(condition) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


async def test_pictures_are_sent_while_the_batch_before_them_runs():
    device = Device()
    engine = EngineThread(device, "e")
    one, two = engine(pictures(1)), engine(pictures(2))
    await happens(lambda: len(device.events) == 3)
    assert sorted(device.events) == ["ran pixels 1", "sent 1", "sent 2"]
    assert not one.done()
    assert engine.lead_s > 0
    device.gate.release(2)
    assert [len(poses) for poses in await one] == [1]
    assert [len(poses) for poses in await two] == [2]
    assert device.events[-1] == "ran pixels 2"
    assert device.threads == {"streampose-e"}
    await engine.aclose()
    assert device.closed == 1
    with pytest.raises(WorkerClosed):
        engine(pictures(1))


async def test_what_fails_on_the_way_there_is_told_by_its_batch():
    device = Device()
    engine = EngineThread(device, "e")
    bad, good = engine(pictures(13)), engine(pictures(2))
    device.gate.release(2)
    with pytest.raises(ValueError, match="no cable"):
        await bad
    assert [len(poses) for poses in await good] == [2]
    await engine.aclose()


async def test_nothing_is_sent_ahead_where_nobody_can():
    device = Device()
    device.ahead = None  # type: ignore[assignment]
    engine = EngineThread(device, "e")
    device.gate.release(1)
    assert len((await engine(pictures(1)))[0]) == 1
    assert device.events == ["ran None"]
    assert engine.lead_s == 0
    await engine.aclose()


async def test_no_batch_has_to_come_early_where_nothing_was_sent():
    device = Device()
    device.ahead = lambda images: None  # type: ignore[assignment, method-assign, return-value]
    engine = EngineThread(device, "e")
    device.gate.release(1)
    await engine(pictures(1))
    assert device.events == ["ran None"]
    assert engine.lead_s == 0
    await engine.aclose()


async def test_closing_waits_for_what_is_on_its_way():
    device = Device()
    engine = EngineThread(device, "e")
    running = engine(pictures(1))
    await happens(lambda: "ran pixels 1" in device.events)
    closing = asyncio.create_task(engine.aclose())
    await asyncio.sleep(0.05)
    assert device.closed == 0
    device.gate.release(1)
    await closing
    assert len((await running)[0]) == 1
    assert device.closed == 1


async def test_who_is_cancelled_as_closing_begins_leaves_nothing_open():
    device = Device()
    closing = asyncio.create_task(close_all([EngineThread(device, "e")]))
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    await happens(lambda: device.closed == 1 and not is_lent(device))
