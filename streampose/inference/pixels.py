"""The pictures of a batch as one array, which goes to the device once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streampose.frame import Image
from streampose.inference.joiner import AT_ONCE, join
from streampose.inference.pinned import pinned

__all__ = ["Pixels", "Staging"]


class Staging:
    """Memory for the pixels of one batch after the other: fresh memory of this size costs as much as filling it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        """Held from the first pixel to the end of the sending: it may be done ahead, on another thread."""
        self._buffers: dict[int | None, NDArray[np.uint8]] = {}

    def room(self, pixels: int, gpu: int | None = None) -> NDArray[np.uint8]:
        """(pixels, 3), with what was there before; good until the next call.

        Args:
            pixels: how many.
            gpu: the number of the one that will fetch them.
        """
        buffer = self._buffers.get(gpu)
        if buffer is None or len(buffer) < pixels:
            # Twice as much as before: batches of each size would else claim theirs in turn.
            kept = max(pixels, 0 if buffer is None else 2 * len(buffer))
            buffer = np.empty((kept, 3), np.uint8) if gpu is None else pinned(kept, gpu)
            self._buffers[gpu] = buffer
        return buffer[:pixels]


class Pixels:
    """All pixels of some pictures, of any sizes, one after the other.

    Args:
        images: one or more (H, W, 3) uint8 BGR.
        staging: where they are put together.
    """

    def __init__(self, images: Sequence[Image], staging: Staging) -> None:
        self._images, self._staging = images, staging
        counts = [image.shape[0] * image.shape[1] for image in images]
        first = np.cumsum([0, *counts])
        self._total = int(first[-1])
        self.rows = np.array([(f, i.shape[1], i.shape[0]) for f, i in zip(first, images, strict=False)], np.int32)
        """(b, 3): of each picture the first pixel, width, height."""
        self._there: dict[object, Any] = {}

    def on(self, provider: str, gpu: int | None, upload: Callable[[NDArray[np.uint8]], Any]) -> Any:
        """What `upload` made of them for this device, which is asked once.

        Args:
            provider: what runs on it.
            gpu: its number, which has them with room behind, so that it sees few sizes; `None` = the CPU.
            upload: takes (p, 3) uint8.
        """
        if (provider, gpu) not in self._there:  # else nobody waits for what is being sent of other pictures
            with self._staging.lock:
                self._there[provider, gpu] = upload(self._flat(gpu))
        return self._there[provider, gpu]

    def _flat(self, gpu: int | None) -> NDArray[np.uint8]:
        if gpu is None and len(self._images) == 1:
            return np.ascontiguousarray(self._images[0]).reshape(-1, 3)
        flat = self._staging.room(self._total if gpu is None else _rounded(self._total), gpu)
        for first in range(0, len(self._images), AT_ONCE):
            join(self._images[first : first + AT_ONCE], flat[self.rows[first, 0] :])
        return flat


def _rounded(pixels: int) -> int:
    """Up to an eighth of the next power of two: at most a quarter more, 9 % on average."""
    step = max(1, (1 << (pixels - 1).bit_length()) // 8)
    return -(-pixels // step) * step
