"""Pictures of two fields, taken one after the other, as one of the first."""

from __future__ import annotations

import numpy as np

from streampose.frame import Image

__all__ = ["are_woven", "uncombed"]

# Whose pictures say "interlaced" and are not: HEVC's and VVC's are one field each, and PNG's are sent in seven passes.
_NOT_WOVEN = {"hevc", "vvc", "png", "apng"}

# Lines at a time: what is between the steps stays in the cache. 1080i takes 4 ms, by hand.
_STRIP = 32


def are_woven(codec: str) -> bool:
    """Whether this codec's interlaced pictures are two fields, line by line."""
    return codec not in _NOT_WOVEN


def uncombed(woven: Image) -> Image:
    """Lines of the lower field, each no farther than the ones above and below it, which are of the upper field.

    What moves is seen as the upper field has it. What stands still stays as sharp as it is, but for lines that are a
    single one high. No other picture is looked at: each comes out the same wherever reading begins, and at once.

    Args:
        woven: (H, W, 3), the upper field's lines first.

    Returns:
        (H, W, 3), new.
    """
    made = np.empty_like(woven)
    made[::2] = woven[::2]
    for top in range(0, len(woven) - 1, _STRIP):
        lines = woven[top : top + _STRIP + 1]
        own, above, below = lines[1::2], lines[:-1:2], lines[2::2]
        if len(below) < len(own):
            below = np.concatenate([below, above[-1:]])  # the last one has none
        low, high = np.minimum(above, below), np.maximum(above, below)
        np.minimum(np.maximum(low, own), high, out=made[top + 1 : top + _STRIP + 1 : 2])
    return made
