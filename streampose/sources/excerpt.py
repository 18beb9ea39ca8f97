"""A part of a recording: from here to there, every so many frames, in another size."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from streampose.errors import ConfigError
from streampose.frame import Frame, Image, StreamInfo
from streampose.sources.seeking import Beginning, Seeking
from streampose.sources.source import Selecting, Source

__all__ = ["Cut", "Excerpt"]

_CLAHE_TILES = (8, 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Which frames of a recording, and in what size.

    Raises:
        ConfigError: a value makes no sense.
    """

    start_s: float = 0.0
    """From this media time on, counted from the first frame."""
    end_s: float | None = None
    """Frames before this media time; `None` = to the end."""
    every: int = 1
    """The first, and then every so-many-th frame."""
    long_side_px: int | None = None
    """Scale pictures whose longer side is more than this down to it, keeping their shape; `None` = as they are."""
    contrast: float | None = None
    """Even out the light before the models look (CLAHE on lightness, with this clip limit; 2 is usual)."""

    def __post_init__(self) -> None:
        if self.start_s < 0 or (self.end_s is not None and self.end_s <= self.start_s):
            end = "the end" if self.end_s is None else f"{self.end_s:g} s"
            raise ConfigError(f"the part from {self.start_s:g} s to {end} is empty")
        if self.every < 1 or (self.long_side_px is not None and self.long_side_px < 16):
            raise ConfigError("every is at least 1 frame, and a resized picture at least 16 pixels long")
        if self.contrast is not None and not 0 < self.contrast <= 40:
            raise ConfigError(f"a contrast limit is above 0 and at most 40, not {self.contrast:g}")

    def frames(self, info: StreamInfo) -> int | None:
        """How many frames will come, as far as the container says: for progress only."""
        if info.frames is None:
            return None
        total = info.frames
        if info.rate is not None:
            last = total if self.end_s is None else min(total, round(self.end_s * info.rate))
            total = max(0, last - round(self.start_s * info.rate))
        return -(-total // self.every)


class Excerpt:
    """Some frames of another source; they keep their numbers and times.

    Frames that are not wanted are decoded, since others depend on them, but not converted to pictures where the source
    can do without. The place of a frame depends on what comes before it alone, so a run that was cut off goes on
    exactly: pass the number of the frame after the last one that is done.

    Args:
        source: a recording.
        cut: which frames.
        resume_at: number of the first frame that is still wanted.
        known: number and pts of any frame that was taken, by which it is made sure that frames have the same numbers
            when most of what comes before is not decoded; without it, all is decoded where `resume_at` is not 0.
    """

    live = False

    def __init__(self, source: Source, cut: Cut, *, resume_at: int = 0, known: tuple[int, int] | None = None) -> None:
        if source.live:
            raise ConfigError("a part is taken of a recording; a live source has no beginning")
        self._source, self._cut, self._resume_at, self._known = source, cut, resume_at, known
        self._first_s: float | None = None
        self._taken_from: int | None = None
        self._clahe = None if cut.contrast is None else cv2.createCLAHE(cut.contrast, _CLAHE_TILES)

    def open(self, stream: str) -> StreamInfo:
        """Open the source, and say what will come of it.

        Raises:
            SourceError: of the kind that fits.
        """
        self._first_s = self._taken_from = None
        if isinstance(self._source, Selecting):
            self._source.wanted = self._wanted
        if isinstance(self._source, Seeking):
            self._source.begin = self._beginning(self._source)
        info = self._source.open(stream)
        width, height = self._size(info.width_px, info.height_px)
        return replace(info, width_px=width, height_px=height, frames=self._cut.frames(info))

    def read(self) -> Frame | None:
        """The next frame of the part.

        Raises:
            SourceError: of the kind that fits.
        """
        while (frame := self._source.read()) is not None:
            if self._cut.end_s is not None and self._since_first(frame.time_s) >= self._cut.end_s:
                return None
            if isinstance(self._source, Selecting) or self._wanted(frame.index, frame.time_s):
                image = self._prepared(frame.image)
                return frame if image is frame.image else replace(frame, image=image)
        return None

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    def _beginning(self, source: Seeking) -> Beginning | None:
        """The first frame that is wanted, if it is known without decoding what comes before."""
        if (not self._resume_at and not self._cut.start_s) or (self._resume_at and self._known is None):
            return None
        table = source.table()
        if table is None or not len(table.pts):
            return None
        if self._known is not None and table.number(self._known[1]) != self._known[0]:
            return None  # its packets do not stand for frames one by one
        times_s = table.times_s()
        since_s = times_s - times_s[0]
        first = int(np.searchsorted(since_s, self._cut.start_s))
        index = max(first, self._resume_at)
        if index >= len(table.pts):
            return None
        self._first_s = float(times_s[0])
        self._taken_from = first if self._known is None else self._known[0]  # which is one of them
        return table.beginning(index)

    def _since_first(self, time_s: float) -> float:
        if self._first_s is None:
            self._first_s = time_s
        return time_s - self._first_s

    def _wanted(self, index: int, time_s: float) -> bool:
        """Asked once for each frame, in order."""
        since_s = self._since_first(time_s)
        if since_s < self._cut.start_s:
            return False
        if self._cut.end_s is not None and since_s >= self._cut.end_s:
            return True  # that this is the end is for `read` to see
        if self._taken_from is None:
            self._taken_from = index
        return index >= self._resume_at and (index - self._taken_from) % self._cut.every == 0

    def _size(self, width: int, height: int) -> tuple[int, int]:
        limit = self._cut.long_side_px
        if limit is None or max(width, height) <= limit:
            return width, height
        ratio = limit / max(width, height)
        return max(1, round(width * ratio)), max(1, round(height * ratio))

    def _prepared(self, image: Image) -> Image:
        size = self._size(image.shape[1], image.shape[0])
        if size != (image.shape[1], image.shape[0]):
            image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
            image.setflags(write=False)
        if self._clahe is None:
            return image
        lab = cv2.cvtColor(image, cv2.COLOR_BGR2LAB)
        lab[..., 0] = self._clahe.apply(lab[..., 0])
        even = np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2BGR), np.uint8)
        even.setflags(write=False)
        return even
