"""What a model gave: whether it is sound, and its pieces put together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["finite", "joined"]


def finite(array: NDArray[Any]) -> bool:
    """Whether none of its numbers is NaN or infinity."""
    if not np.issubdtype(array.dtype, np.floating) or not array.size:
        return True
    # One NaN or infinity shows in the sum; the sum of huge finite values may overflow, so look again.
    with np.errstate(all="ignore"):
        return bool(np.isfinite(array.sum()) or np.isfinite(array).all())


def joined(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Concatenate pieces; where the number of boxes differs between them, fill with zeros (score 0: nobody)."""
    if arrays[0].ndim > 1 and len({a.shape[1] for a in arrays}) > 1:
        most = max(a.shape[1] for a in arrays)
        arrays = [np.pad(a, [(0, 0), (0, most - a.shape[1])] + [(0, 0)] * (a.ndim - 2)) for a in arrays]
    return np.concatenate(arrays)
