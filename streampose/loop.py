"""The event loop that a whole program runs on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

__all__ = ["run_async"]

T = TypeVar("T")


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run`, on uvloop where that is installed: it is there but on Windows.

    Each frame wakes the loop some times, from threads. uvloop takes less of Python's lock for that.

    Not for WebRTC: aiortc's datagrams have failed on it (aiortc issue 429).
    """
    with asyncio.Runner(loop_factory=_factory()) as runner:
        return runner.run(work)


def _factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    with contextlib.suppress(ImportError):
        import uvloop  # noqa: PLC0415 - only where there is one

        return uvloop.new_event_loop
    return None
