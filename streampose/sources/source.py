"""What every source is."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from fractions import Fraction
from typing import Protocol, runtime_checkable

import numpy as np

from streampose.errors import SourceError
from streampose.frame import Frame, Image, Latent, StreamInfo, is_picture, no_picture, read_only

__all__ = ["Selecting", "Source", "at_rate", "opened", "shareable"]

_MOST = 2**63 - 1


class Source(Protocol):
    """Where frames come from. Blocking: the pipeline calls it on a thread of its own, one call at a time."""

    @property
    def live(self) -> bool:
        """A live source cannot be asked to wait: frames that are not taken in time are dropped, oldest first."""

    def open(self, stream: str) -> StreamInfo:
        """Connect, and say what is known. `stream` is the name that every `Frame` of this source shall carry.

        Raises:
            SourceError: of the kind that fits.
        """

    def read(self) -> Frame | None:
        """The next frame, or `None` at the real end (and again at every later call).

        Raises:
            SourceError: of the kind that fits. After it, only `close` may be called.
        """

    def close(self) -> None:
        """Let go of everything. May be called at any time, also before `open` and twice.

        A source whose calls can block for long has an `interrupt()`, too: it is called from another thread, before
        `close`, and ends them. A live one can be opened again after it, but for a `PushSource`.
        """


@runtime_checkable
class Selecting(Protocol):
    """A source that can leave out frames more cheaply than by giving them away."""

    wanted: Callable[[int, float], bool] | None
    """Asked once for each frame, in order, with its number and media time in seconds; `None` = all are wanted."""


def at_rate(stream: str, index: int, rate: Fraction, image: Image) -> Frame:
    """A frame of a source whose pictures have a rate and no times of their own, captured now."""
    return Frame(stream=stream, index=index, pts=index, time_base=1 / rate, captured_at=time.monotonic(), image=image)


def opened(source: Source, stream: str) -> StreamInfo:
    """Open a source: what it says of itself, if outputs can work with that.

    Raises:
        SourceError: of the kind that fits; or what it says is no `StreamInfo`, or has nonsense in it.
    """
    info: object = source.open(stream)
    if not isinstance(info, StreamInfo):
        raise SourceError(f"the source's open gave {type(info).__name__}, not a StreamInfo")
    if not _is_unit(info.time_base) or not (info.rate is None or _is_unit(info.rate)):
        raise SourceError(
            f"the source's open gave a time_base of {info.time_base!r} and a rate of {info.rate!r}: each is a Fraction "
            "above 0, but a rate that is not known is None"
        )
    return info


def _is_unit(given: object) -> bool:
    return isinstance(given, Fraction) and given.numerator > 0


def shareable(given: object) -> Frame:
    """What a source gave, if others can work on it; its picture can only be read from now on.

    Raises:
        SourceError: it is no frame, or has no picture or no time, or by the camera's clock one that is none.
    """
    if not isinstance(given, Frame):
        raise SourceError(f"the source gave {type(given).__name__}, not a Frame")
    numbers: tuple[object, ...] = (given.index, given.epoch, given.pts)
    if not all(isinstance(number, int) and abs(number) <= _MOST for number in numbers) or not _is_unit(given.time_base):
        raise SourceError(
            "the source gave a frame whose index, epoch and pts are no int (of 64 bits), or its time_base no Fraction "
            "above 0"
        )
    captured_at: object = given.captured_at
    if not isinstance(captured_at, int | float) or not math.isfinite(captured_at):
        raise SourceError(f"the source gave a frame captured at {captured_at!r}, not at seconds of time.monotonic()")
    wall_s: object = given.wall_time_s
    if wall_s is not None and not (isinstance(wall_s, int | float) and math.isfinite(wall_s)):
        raise SourceError(f"the source gave a frame whose wall_time_s is {wall_s!r}, not Unix seconds or None")
    image: object = vars(given)["image"]
    if isinstance(image, Latent):
        return given
    if not is_picture(image):
        raise SourceError(f"the source gave a frame without a picture: {no_picture(image)}")
    fixed = read_only(np.ascontiguousarray(image))
    return given if fixed is image else given.but(image=fixed)
