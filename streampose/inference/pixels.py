"""The pictures of a batch as one array, which goes to the device once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streampose.frame import Image

__all__ = ["Pixels", "Staging"]


class Staging:
    """Memory for the pixels of one batch after the other: fresh memory of this size costs as much as filling it."""

    def __init__(self) -> None:
        self._buffer = np.empty((0, 3), np.uint8)

    def room(self, pixels: int) -> NDArray[np.uint8]:
        """(pixels, 3), with what was there before; good until the next call."""
        if len(self._buffer) < pixels:
            self._buffer = np.empty((pixels, 3), np.uint8)
        return self._buffer[:pixels]


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

    def on(self, device: object, upload: Callable[[NDArray[np.uint8]], Any], *, rounded: bool) -> Any:
        """What `upload` made of them for this device, which is asked once.

        Args:
            device: anything that tells devices apart.
            upload: takes (p, 3) uint8.
            rounded: with room behind, so that a device sees few sizes.
        """
        if device not in self._there:
            self._there[device] = upload(self._flat(_rounded(self._total) if rounded else self._total))
        return self._there[device]

    def _flat(self, room: int) -> NDArray[np.uint8]:
        if len(self._images) == 1 and room == self._total:
            return np.ascontiguousarray(self._images[0]).reshape(-1, 3)
        flat = self._staging.room(room)
        for image, (first, width, height) in zip(self._images, self.rows.tolist(), strict=True):
            flat[first : first + width * height] = image.reshape(-1, 3)
        return flat


def _rounded(pixels: int) -> int:
    """Up to an eighth of the next power of two: at most a quarter more, 9 % on average."""
    step = max(1, (1 << (pixels - 1).bit_length()) // 8)
    return -(-pixels // step) * step
