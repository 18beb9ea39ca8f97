"""The pictures of a batch as one array, which goes to the device once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streampose.frame import Image
from streampose.inference.engine import Engine

__all__ = ["Pixels"]


class Pixels:
    """All pixels of some pictures, of any sizes, one after the other.

    Args:
        images: one or more (H, W, 3) uint8 BGR.
    """

    def __init__(self, images: Sequence[Image]) -> None:
        self._images = images
        counts = [image.shape[0] * image.shape[1] for image in images]
        self._total = sum(counts)
        first = np.cumsum([0, *counts[:-1]])
        self.rows = np.array([(f, i.shape[1], i.shape[0]) for f, i in zip(first, images, strict=True)], np.int32)
        """(b, 3): of each picture the first pixel, width, height."""
        self._there: dict[str, Any] = {}

    def on(self, engine: Engine) -> Any:
        """For `Engine.run`'s `shared`: sent when an engine on this device asks first."""
        if engine.provider not in self._there:
            self._there[engine.provider] = engine.upload(self._flat(_rounded(self._total) if engine.on_gpu else 0))
        return self._there[engine.provider]

    def _flat(self, room: int) -> NDArray[np.uint8]:
        """(p, 3), with room behind for so many pixels in all."""
        if len(self._images) == 1 and room <= self._total:
            return np.ascontiguousarray(self._images[0]).reshape(-1, 3)
        flat, begin = np.empty((max(room, self._total), 3), np.uint8), 0
        for image in self._images:
            end = begin + image.shape[0] * image.shape[1]
            flat[begin:end] = image.reshape(-1, 3)
            begin = end
        return flat


def _rounded(pixels: int) -> int:
    """Up to a quarter of a power of two: a device sees few sizes, and gets 14 % more bytes at most (9 on average)."""
    step = max(1, (1 << (pixels - 1).bit_length()) // 8)
    return -(-pixels // step) * step
