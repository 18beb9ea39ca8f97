"""One picture of one stream, and what is known of a stream once it is open."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Frame", "Image", "StreamInfo"]

Image: TypeAlias = NDArray[np.uint8]
"""A picture: (H, W, 3) uint8, BGR, C-contiguous."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One picture of one stream, with its exact media time and the moment it was captured."""

    stream: str
    """The stream's name, set by the pipeline's caller; unique in a run."""
    index: int
    """0, 1, 2 … as captured, so that a gap shows a drop. Goes on counting across epochs."""
    epoch: int
    """+ 1 at each reconnect: what was tracked before has no meaning after."""
    pts: int
    """Media time in units of `time_base`. Strictly increasing within an epoch."""
    time_base: Fraction
    """Seconds per unit of `pts`."""
    captured_at: float
    """`time.monotonic()` when the picture reached this machine."""
    image: Image
    """(H, W, 3) uint8 BGR, read-only: other streams' threads may be looking at it."""
    wall_time_s: float | None = None
    """Unix seconds at which the camera took it, by the camera's own clock (RTCP sender reports); `None` = not told."""

    @property
    def time_s(self) -> float:
        """Media time in seconds."""
        return float(self.pts * self.time_base)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamInfo:
    """What a source knows once it is open. What it cannot know is `None`, never a guess."""

    width_px: int
    height_px: int
    time_base: Fraction
    """The unit of `Frame.pts`."""
    rate: Fraction | None = None
    """Nominal frames per second (the average for a variable rate); `None` = not known. Never used as time."""
    frames: int | None = None
    """How many frames will come, where the container says so: for progress bars only."""
    duration_s: float | None = None
    codec: str | None = None
    """The decoder's name, e.g. ``h264``."""
    hwaccel: str | None = None
    """The device that decodes, e.g. ``cuda``; `None` = the CPU, or nothing needs decoding."""
    hwaccel_note: str | None = None
    """Why devices that were asked for do not decode."""

    @property
    def decoder(self) -> str:
        """What decodes, in words: ``cuda``, ``software``, ``software (cuda: …)``."""
        if self.hwaccel is not None:
            return self.hwaccel
        return "software" if self.hwaccel_note is None else f"software ({self.hwaccel_note})"
