"""An estimator in whose place another one can be put while it runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from streampose.frame import Image
from streampose.inference.estimator import Estimator
from streampose.pose import Poses, Skeleton

__all__ = ["Switch"]


class Switch:
    """Passes pictures on to an estimator that can be exchanged between two batches: no frame waits or is lost by it.

    Args:
        estimator: the first one; `None` = it is put in later, before the first picture comes.
    """

    def __init__(self, estimator: Estimator | None = None) -> None:
        self._estimator = estimator
        self._next: Estimator | None = None
        self._lock = threading.Lock()
        self._closed = False
        self._refusals_before = 0

    def put(self, estimator: Estimator) -> None:
        """Let another one take the next batch; it belongs to the switch from now on. From any thread."""
        with self._lock:
            unused = estimator if self._closed else self._next
            if not self._closed:
                self._next = estimator
        if unused is not None:
            unused.close()

    @property
    def ready(self) -> bool:
        """Whether there is one."""
        return self._last() is not None

    @property
    def skeleton(self) -> Skeleton:
        """Of the one that takes the next batch."""
        return _there(self._last()).skeleton

    @property
    def single_threaded(self) -> bool:
        """Whether the one that takes the next batch is, as far as it says so."""
        return bool(getattr(self._last(), "single_threaded", False))

    @property
    def memory_refusals(self) -> int:
        """Of all that have run so far, where they say so."""
        with self._lock:
            return self._refusals_before + _refusals(self._estimator)

    def ahead(self, images: Sequence[Image]) -> tuple[Estimator, Any] | None:
        """What the one that runs sends ahead, if it does; of use for that one only."""
        with self._lock:
            estimator = self._estimator
        ahead = getattr(estimator, "ahead", None)
        return None if estimator is None or ahead is None else (estimator, ahead(images))

    def __call__(self, images: Sequence[Image], sent: tuple[Estimator, Any] | None = None) -> list[Poses]:
        """The people of each image; `sent` as `ahead` gave it."""
        old = None
        with self._lock:
            if self._next is not None:
                old, self._estimator, self._next = self._estimator, self._next, None
                self._refusals_before += _refusals(old)
            estimator = self._estimator
        if old is not None:
            old.close()  # here, on the thread that it ran on
        run: Callable[..., list[Poses]] = _there(estimator)
        return run(images, sent[1]) if sent is not None and sent[0] is estimator else run(images)

    def close(self) -> None:
        """Let go of all of them."""
        with self._lock:
            self._closed = True
            both = self._estimator, self._next
            self._estimator = self._next = None
        for estimator in both:
            if estimator is not None:
                estimator.close()

    def _last(self) -> Estimator | None:
        with self._lock:
            return self._next or self._estimator


def _there(estimator: Estimator | None) -> Estimator:
    if estimator is None:
        raise RuntimeError("no estimator was put into the switch")
    return estimator


def _refusals(estimator: Estimator | None) -> int:
    return getattr(estimator, "memory_refusals", 0)
