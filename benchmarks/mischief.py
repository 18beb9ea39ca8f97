"""Faults to make: each hits the stream of a `Trial`, and waits until it is back."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

from servers.rtsp import RtspServer
from trial import Fault, Trial

from streampose.errors import StreamposeError
from streampose.sources import NetworkSource, Reconnecting

__all__ = ["decoy", "killed", "lasting", "nothing", "opening", "repeated", "switched"]

_PLAIN = ["--gop", "30"]
_SETTLED_S = 0.3


def killed(server: RtspServer, rounds: int, streams: list[list[str]] | None = None) -> Fault:
    """The server is killed, is away for up to two seconds, and starts again, perhaps with another stream."""

    async def fault(run: Trial) -> None:
        for i in range(rounds):
            epoch = run.seen.epoch
            await asyncio.to_thread(server.kill)
            await run.lost()
            await asyncio.sleep(random.uniform(0, 2.0))
            await asyncio.to_thread(server.start, *(streams[i % len(streams)] if streams else _PLAIN))
            await run.flows(time.monotonic(), epoch)
            await asyncio.sleep(_SETTLED_S)

    return fault


def decoy(server: RtspServer, rounds: int) -> Callable[[], Awaitable[None]]:
    """The same with a server that nobody listens to: what starting it takes from everybody else."""

    async def restart() -> None:
        for _ in range(rounds):
            await asyncio.to_thread(server.kill)
            await asyncio.sleep(random.uniform(0, 2.0))
            await asyncio.to_thread(server.start, *_PLAIN)
            await asyncio.sleep(1.0 + _SETTLED_S)

    return restart


def repeated(rounds: int, make: Callable[[], None], mend: Callable[[], None], away_s: float, *, lost: bool) -> Fault:
    """Make the fault, wait (for its notice, too), mend it."""

    async def fault(run: Trial) -> None:
        for _ in range(rounds):
            epoch = run.seen.epoch
            await asyncio.to_thread(make)
            await asyncio.sleep(away_s)
            if lost:
                await run.lost()
            await asyncio.to_thread(mend)
            await run.flows(time.monotonic(), epoch)
            await asyncio.sleep(0.5)

    return fault


def lasting(set_to: Callable[[float], None], value: float, seconds: float) -> Fault:
    """What does not end the connection: for so long, then not any more."""

    async def fault(_: Trial) -> None:
        await asyncio.to_thread(set_to, value)
        await asyncio.sleep(seconds)
        await asyncio.to_thread(set_to, 0.0)
        await asyncio.sleep(1.5)

    return fault


def switched(server: RtspServer, rounds: int) -> Fault:
    """The pictures change their size while the connection lasts."""

    async def fault(run: Trial) -> None:
        for _ in range(rounds):
            epoch = run.seen.epoch
            server.switch()
            await run.flows(time.monotonic(), epoch)
            await asyncio.sleep(1.0)

    return fault


def nothing() -> None:
    pass


async def opening(url: str, **options: Any) -> dict[str, Any]:
    """What a first opening that cannot work says, and how soon."""
    source = Reconnecting(NetworkSource(url, **options))
    began = time.monotonic()
    timer = threading.Timer(10.0, source.interrupt)
    timer.start()
    try:
        await asyncio.to_thread(source.open, "cam")
        said = "it opened"
    except StreamposeError as error:
        said = f"{type(error).__name__}: {error}"
    timer.cancel()
    timer.join()
    source.close()
    return {
        "seconds": round(time.monotonic() - began, 2),
        "said": said,
        "cause": source.link.cause,
        "tries in vain": source.link.tries,
    }
