"""A few pictures played round and round: a source that costs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Self

from streampose.errors import ConfigError
from streampose.frame import Frame, Image, StreamInfo
from streampose.sources.source import at_rate
from streampose.sources.synthetic import SyntheticSource

__all__ = ["Looped"]


class Looped:
    """The same pictures again and again, as fast as they are read (`Paced` gives them their time).

    For measuring: drawing or decoding on the side would compete with what is measured.

    Args:
        pictures: (H, W, 3) uint8 BGR, read-only, all of one size.
        rate: frames a second of media time.
        first: which picture comes first, so that several streams do not show the same one at a time.

    Raises:
        ConfigError: no picture.
    """

    live = False

    def __init__(self, pictures: Sequence[Image], *, rate: Fraction | int = 30, first: int = 0) -> None:
        if not pictures:
            raise ConfigError("a loop needs at least one picture")
        self.pictures = tuple(pictures)
        self._rate = Fraction(rate)
        self._first = first
        self._stream, self._index = "", 0

    @classmethod
    def drawn(cls, source: SyntheticSource, count: int = 32) -> Self:
        """Draw the first `count` frames beforehand, at the source's rate."""
        rate = source.open("").rate
        pictures = [source.render(index) for index in range(count)]
        source.close()
        return cls(pictures, rate=rate or 30)

    def again(self, first: int) -> Self:
        """Another source of the same pictures (they are not copied), beginning elsewhere."""
        return type(self)(self.pictures, rate=self._rate, first=first)

    def open(self, stream: str) -> StreamInfo:
        """Begin."""
        self._stream, self._index = stream, 0
        height, width = self.pictures[0].shape[:2]
        return StreamInfo(width_px=width, height_px=height, time_base=1 / self._rate, rate=self._rate)

    def read(self) -> Frame:
        """The next picture."""
        index, self._index = self._index, self._index + 1
        return at_rate(self._stream, index, self._rate, self.pictures[(self._first + index) % len(self.pictures)])

    def close(self) -> None:
        """Nothing to close."""
