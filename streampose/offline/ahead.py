"""An iterator that is run ahead, on a thread of its own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

__all__ = ["ahead"]

T = TypeVar("T")
_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class _End:
    """Of the items, and why."""

    error: BaseException | None


@contextmanager
def ahead(items: Iterable[T], depth: int, close: Callable[[], None] = lambda: None) -> Iterator[Iterator[T]]:
    """The same items in the same order, up to `depth` of them made before they are asked for.

    Args:
        items: iterated on a thread.
        depth: how many may wait.
        close: called on that thread in the end, however it ends.
    """
    made: queue.Queue[T | _End] = queue.Queue(depth)
    stopped = threading.Event()

    def offer(item: T | _End) -> bool:
        while not stopped.is_set():
            try:
                made.put(item, timeout=_POLL_S)
            except queue.Full:
                continue
            return True
        return False

    def make() -> None:
        error: BaseException | None = None
        try:
            try:
                for item in items:
                    if not offer(item):
                        break
            finally:
                close()
        except BaseException as caught:  # noqa: BLE001 - raised where the items are taken
            error = caught
        offer(_End(error))

    def taken() -> Iterator[T]:
        while not isinstance(item := made.get(), _End):
            yield item
        if item.error is not None:
            raise item.error

    thread = threading.Thread(target=make, name="streampose-ahead", daemon=True)
    thread.start()
    try:
        yield taken()
    finally:
        stopped.set()
        thread.join()
