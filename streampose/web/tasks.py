"""Tasks with an owner: whoever closes it knows that none of them goes on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from functools import partial
from typing import Any

__all__ = ["Tasks"]

log = logging.getLogger("streampose")


class Tasks:
    """A set of tasks that end with it. One that fails is logged, and the others go on."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, Any], name: str, *, awaited: bool = False) -> asyncio.Task[Any]:
        """Begin.

        Args:
            awaited: an error is for who awaits the task, and is not logged. Who has gone meanwhile has no use for it.
        """
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(partial(self._ended, awaited))
        return task

    async def aclose(self) -> None:
        """Cancel all but the one that calls this, and wait for them."""
        tasks = self._tasks - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, awaited: bool, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not awaited:
            log.error("%s failed: %s", task.get_name(), error, exc_info=error)
