"""The pictures of a batch as one array, which goes to the device once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streampose.frame import Image
from streampose.inference.pinned import pinned
from streampose.inference.providers import available_cores

__all__ = ["Pixels", "Staging"]


class Staging:
    """Memory for the pixels of one batch after the other: fresh memory of this size costs as much as filling it."""

    def __init__(self) -> None:
        self._buffers: dict[int | None, NDArray[np.uint8]] = {}

    def room(self, pixels: int, gpu: int | None = None) -> NDArray[np.uint8]:
        """(pixels, 3), with what was there before; good until the next call.

        Args:
            pixels: how many.
            gpu: the number of the one that will fetch them.
        """
        buffer = self._buffers.get(gpu)
        if buffer is None or len(buffer) < pixels:
            buffer = np.empty((pixels, 3), np.uint8) if gpu is None else pinned(pixels, gpu)
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
        if (provider, gpu) not in self._there:
            self._there[provider, gpu] = upload(self._flat(gpu))
        return self._there[provider, gpu]

    def _flat(self, gpu: int | None) -> NDArray[np.uint8]:
        if gpu is None and len(self._images) == 1:
            return np.ascontiguousarray(self._images[0]).reshape(-1, 3)
        flat = self._staging.room(self._total if gpu is None else _rounded(self._total), gpu)
        places = [flat[first : first + width * height] for first, width, height in self.rows.tolist()]
        if gpu is None or flat.nbytes < _LARGE:
            for place, image in zip(places, self._images, strict=True):
                place[:] = image.reshape(-1, 3)
        else:
            # One core copies slower than a GPU computes: 2 300 pictures of 1280×720 a second.
            with ThreadPoolExecutor(min(_COPIERS, available_cores())) as copiers:
                list(copiers.map(lambda place, image: np.copyto(place, image.reshape(-1, 3)), places, self._images))
        return flat


# Bytes from which copying is worth several threads.
_LARGE = 8_000_000
_COPIERS = 4


def _rounded(pixels: int) -> int:
    """Up to an eighth of the next power of two: at most a quarter more, 9 % on average."""
    step = max(1, (1 << (pixels - 1).bit_length()) // 8)
    return -(-pixels // step) * step
