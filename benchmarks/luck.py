"""Cameras with bad luck: a server, a network and a source each, and faults in random order."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from servers.proxy import Proxy
from servers.rtsp import RtspServer

from streampose import Result
from streampose.frame import Frame
from streampose.sources import LinkState, NetworkSource, Reconnecting

BACK_WITHIN_S = 20.0
# Before the end: nearly all faults are over after so long.
LAST_FAULT_S = 10.0


class Counted(Reconnecting):
    """Counts the frames that it gives."""

    given = 0

    def read(self) -> Frame | None:
        frame = super().read()
        self.given += frame is not None
        return frame


@dataclass
class Camera:
    """One stream: its server, its network, its source, and what comes of it."""

    name: str
    server: RtspServer
    relay: Proxy
    faulty: bool
    transport: str
    taken: int = 0
    epoch: int = -1
    hit: bool = False
    back_at: float = 0.0
    age_s: list[float] = field(default_factory=list)
    oldest_s: float = 0.0
    oldest_at: str = ""
    by_camera_s: list[float] = field(default_factory=list)
    back_s: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        url = f"rtsp://127.0.0.1:{self.relay.port}/live"
        self.source = Counted(NetworkSource(url, transport=self.transport))

    def took(self, result: Result) -> None:
        self.taken += 1
        frame, timing = result.frame, result.timing
        self.epoch = frame.epoch
        if self.hit or timing.captured_at < self.back_at + 1.0:
            return
        if timing.latency_s > self.oldest_s:
            self.oldest_s, self.oldest_at = timing.latency_s, time.strftime("%X")
        self.age_s.append(timing.latency_s)
        if frame.wall_time_s is not None:
            self.by_camera_s.append(timing.delivered_at + time.time() - time.monotonic() - frame.wall_time_s)

    async def flows(self, epoch: int | None) -> None:
        """Until frames come again: of a later epoch, if the connection was lost."""
        since, taken = time.monotonic(), self.taken
        while self.taken <= taken + 2 or (epoch is not None and self.epoch <= epoch):
            if time.monotonic() - since > BACK_WITHIN_S:
                raise TimeoutError(f"{self.name} does not come back ({time.strftime('%X')}): {self.source.link}")
            await asyncio.sleep(0.01)
        self.back_at = time.monotonic()
        if epoch is not None:
            self.back_s.append(self.back_at - since)


async def lost(camera: Camera) -> None:
    for _ in range(1500):
        if camera.source.link.state is LinkState.LOST:
            return
        await asyncio.sleep(0.01)
    raise TimeoutError(f"{camera.name} does not notice")


async def killed(camera: Camera, dice: random.Random) -> bool:
    await asyncio.to_thread(camera.server.kill)
    await lost(camera)
    await asyncio.sleep(dice.uniform(0, 4))
    await asyncio.to_thread(camera.server.start, *camera.server.arguments)
    return True


async def silent(camera: Camera, dice: random.Random) -> bool:
    camera.server.pause()
    await lost(camera)
    await asyncio.sleep(dice.uniform(0, 6))
    camera.server.go_on()
    return True


async def held(camera: Camera, dice: random.Random) -> bool:
    await asyncio.to_thread(camera.relay.hold, True)
    await lost(camera)
    await asyncio.sleep(dice.uniform(0, 4))
    await asyncio.to_thread(camera.relay.hold, False)
    return True


async def reset(camera: Camera, _: random.Random) -> bool:
    await asyncio.to_thread(camera.relay.reset)
    return True


async def half_open(camera: Camera, _: random.Random) -> bool:
    await asyncio.to_thread(camera.relay.half_open)
    await lost(camera)
    await asyncio.to_thread(camera.relay.hold, False)
    return True


async def damaged(camera: Camera, dice: random.Random) -> bool:
    camera.relay.flip = dice.uniform(0.01, 0.1)
    await asyncio.sleep(4)
    camera.relay.flip = 0.0
    return False


async def lossy(camera: Camera, dice: random.Random) -> bool:
    camera.relay.lose = dice.uniform(0.01, 0.2)
    await asyncio.sleep(4)
    camera.relay.lose = 0.0
    return False


async def clock_set(camera: Camera, dice: random.Random) -> bool:
    camera.relay.clock_s = dice.uniform(-7200, 7200)
    await asyncio.sleep(3)
    camera.relay.clock_s = 0.0
    return False


Fault = Callable[[Camera, random.Random], Awaitable[bool]]
# What each returns: whether the connection was lost. Over UDP a proxy holds only the answers.
FAULTS: dict[str, list[Fault]] = {
    "tcp": [killed, silent, held, reset, half_open, damaged, clock_set],
    "udp": [killed, silent, lossy, damaged],
}


async def bad_luck(camera: Camera, dice: random.Random, until: float, made: Counter[str]) -> None:
    """Faults, one after the other, with some peace between them: on a slow machine one at least."""
    spared = True
    while True:
        await asyncio.sleep(dice.uniform(1, 8))
        if not spared and time.monotonic() > until - LAST_FAULT_S:
            return
        spared = False
        fault, epoch = dice.choice(FAULTS[camera.transport]), camera.epoch
        camera.hit = True
        broken = await fault(camera, dice)
        await camera.flows(epoch if broken else None)
        camera.hit = False
        made[fault.__name__] += 1
