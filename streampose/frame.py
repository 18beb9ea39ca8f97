"""One picture of one stream, and what is known of a stream once it is open."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Self, TypeAlias, TypeGuard, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

__all__ = ["Frame", "Image", "Images", "Latent", "StreamInfo", "is_picture", "no_picture", "read_only"]

A = TypeVar("A", bound=NDArray[Any])

Image: TypeAlias = NDArray[np.uint8]
"""A picture: (H, W, 3) uint8, BGR, C-contiguous."""


def is_picture(given: object) -> TypeGuard[Image]:
    """Whether it is what `Image` says."""
    return (
        isinstance(given, np.ndarray)
        and given.dtype == np.uint8
        and given.ndim == 3
        and given.shape[2] == 3
        and given.size > 0
    )


def no_picture(given: object) -> str:
    """The words for what `is_picture` refuses."""
    what = f"{given.shape} of {given.dtype}" if isinstance(given, np.ndarray) else type(given).__name__
    return f"a picture is an array (height, width, 3) of uint8, BGR, not {what}"


def read_only(array: A) -> A:
    """What can only be read of it; whoever made it may still write to it."""
    if not array.flags.writeable:
        return array
    view = array.view()
    view.flags.writeable = False
    return view


class Latent:
    """A picture that is made when somebody first looks at it: once, on that one's thread.

    Of a frame that is dropped before, it is never made (`benchmarks/decoded.py`).

    Args:
        develop: makes it. If an engine is the first to look, an error of it ends every stream.
        size_px: width and height that it will have.
    """

    def __init__(self, develop: Callable[[], Image], size_px: tuple[int, int]) -> None:
        self.size_px = size_px
        self._develop: Callable[[], Image] | None = develop
        self._image: Image | None = None
        self._lock = threading.Lock()

    def __call__(self) -> Image:
        """The picture."""
        with self._lock:
            if self._develop is not None:
                self._image, self._develop = self._develop(), None
            assert self._image is not None
            return self._image


class _Picture:
    """The attribute `Frame.image`: given as a picture or a latent one, seen as a picture."""

    def __get__(self, frame: Frame | None, owner: type | None = None) -> Image:
        if frame is None:
            raise AttributeError("a frame's image has no default")
        image: Image | Latent = vars(frame)["image"]
        return image() if isinstance(image, Latent) else image

    def __set__(self, frame: Frame, image: Image | Latent) -> None:
        vars(frame)["image"] = image


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Frame:
    """One picture of one stream, with its exact media time and the moment it was captured. Equal to itself only.

    ``image`` is (H, W, 3) uint8 BGR, read-only; ``pts`` counts ``time_base`` seconds; ``captured_at`` is monotonic.
    """

    stream: str
    """The stream's name, set by the pipeline's caller; unique in a run."""
    index: int
    """0, 1, 2 … as captured, so that a gap shows a drop. Goes on counting across epochs."""
    epoch: int = 0
    """0 at first, + 1 at each reconnect: what was tracked before has no meaning after."""
    pts: int
    """Media time in units of `time_base`. Strictly increasing within an epoch."""
    time_base: Fraction
    """Seconds per unit of `pts`."""
    captured_at: float
    """`time.monotonic()` when the picture reached this machine; with B-frames, when the one it waited for did."""
    image: _Picture = _Picture()
    """(H, W, 3) uint8 BGR, read-only: other streams' threads may be looking at it. May be given as a `Latent`."""
    wall_time_s: float | None = None
    """Unix seconds at which the camera took it, by the camera's own clock (RTCP sender reports); `None` = not told."""

    @property
    def time_s(self) -> float:
        """Media time in seconds."""
        return float(self.pts * self.time_base)

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height, also of a picture that is still latent."""
        image: Image | Latent = vars(self)["image"]
        return image.size_px if isinstance(image, Latent) else (image.shape[1], image.shape[0])

    def develop(self) -> Self:
        """Make its picture now, if it is latent."""
        _ = self.image
        return self

    def but(self, **changes: Any) -> Self:
        """`dataclasses.replace`, but a picture that is latent stays so."""
        return type(self)(**{**vars(self), **changes})

    def __repr__(self) -> str:
        width, height = self.size_px
        return f"<frame {self.index} of {self.stream!r}, epoch {self.epoch}, {self.time_s:.3f} s, {width}×{height}>"

    def __getstate__(self) -> dict[str, Any]:
        """For pickle: the picture, not how to make it."""
        return {**vars(self), "image": self.image}


class Images(Sequence[Image]):
    """The pictures of frames, each made when it is looked at, if it is latent."""

    def __init__(self, frames: Sequence[Frame]) -> None:
        self._frames = frames

    def __len__(self) -> int:
        return len(self._frames)

    @overload
    def __getitem__(self, index: int) -> Image: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Image]: ...
    def __getitem__(self, index: int | slice) -> Image | Sequence[Image]:
        return Images(self._frames[index]) if isinstance(index, slice) else self._frames[index].image


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
