"""Beginning far inside a recording, at exactly the right frame, without decoding all that comes before."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from typing import Protocol, runtime_checkable

import av
import numpy as np
from av.container import InputContainer
from numpy.typing import NDArray

from streampose.sources.spliced import SWING
from streampose.sources.track import main_video

__all__ = ["INDEX_BEHIND", "Beginning", "FrameTable", "Seeking", "index_is_behind", "is_avi", "read_table"]

# Fewer frames than this are decoded faster than a file is read for its table.
_WORTH = 256

# No index is smaller: its headers alone have 590. So what lies before this comes before it.
_INDEX_BYTES = 500

INDEX_BEHIND = (
    "cannot be sought in, and an MP4 with its index at its end must be: download it first, or make it anew with "
    "-movflags +faststart"
)
"""What to tell where `index_is_behind`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrameTable:
    """When each frame of a recording is shown, from its packets alone."""

    pts: NDArray[np.int64]
    """(n,) of all frames, rising."""
    keys: NDArray[np.int64]
    """Of the key frames, rising."""
    time_base: Fraction

    def times_s(self) -> NDArray[np.float64]:
        """(n,) seconds, as `Frame.time_s` has them."""
        return np.array([float(pts * self.time_base) for pts in self.pts.tolist()])

    def beginning(self, index: int) -> Beginning | None:
        """How to begin with a frame; `None` = at the very beginning, which is near."""
        before = int(np.searchsorted(self.keys, self.pts[index], side="right"))
        # The last key frame but one: with intra refresh a picture is whole only after a whole group.
        if index < _WORTH or before < 2:
            return None
        return Beginning(table=self, index=index, seek_pts=int(self.keys[before - 2]))

    def number(self, pts: int) -> int | None:
        """Of the frame with this time; `None` = there is none."""
        place = int(np.searchsorted(self.pts, pts))
        return place if place < len(self.pts) and self.pts[place] == pts else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """Where to begin."""

    table: FrameTable
    index: int
    """Number of the first frame that is wanted."""

    seek_pts: int
    """A key frame before it."""


@runtime_checkable
class Seeking(Protocol):
    """A source that can begin inside."""

    begin: Beginning | None
    """Set before `open`: frames from there on keep their numbers; some before it may come, too."""

    def table(self) -> FrameTable | None:
        """When its frames are shown; `None` = that cannot be known without decoding."""


def read_table(url: str) -> FrameTable | None:
    """Read a file's packets, without decoding them.

    Returns:
        `None` where packets do not stand for frames one by one: times that are missing, twice there or a guess, edit
        lists, packets of a field each, a number of packets that is not the number of frames that the container names.
    """
    try:
        with av.open(url, metadata_errors="replace") as container:
            video = main_video(container.streams.video)
            if video is None or not video.frames or video.time_base is None or is_avi(container):
                return None
            rows = [(p.pts, p.is_keyframe, p.is_discard) for p in container.demux(video) if p.size]
            time_base = video.time_base
            frames = video.frames
        with av.open(url, metadata_errors="replace") as container:
            shown = [p.pts for p in islice(container.decode(main_video(container.streams.video)), 2)]
    except (av.error.FFmpegError, OSError, ValueError, IndexError):
        return None  # opening it says what is wrong
    if len(rows) != frames or any(pts is None or discard for pts, _, discard in rows):
        return None
    stored = np.array([row[0] for row in rows], np.int64)
    order = np.argsort(stored, kind="stable")
    pts = stored[order]
    # Two packets may be the fields of one picture; one that is farther from its place than decoders move pictures has a
    # time that is wrong.
    if shown != pts[:2].tolist() or (np.diff(pts) <= 0).any() or (np.abs(order - np.arange(len(order))) > SWING).any():
        return None
    return FrameTable(
        pts=pts, keys=np.sort(np.array([row[0] for row in rows if row[1]], np.int64)), time_base=time_base
    )


def is_avi(container: InputContainer) -> bool:
    """Whether it says when packets are decoded, and not when pictures are shown, which FFmpeg guesses."""
    return container.format.name == "avi"


def index_is_behind(container: InputContainer | None, frames: int) -> bool:
    """Whether what is read from its beginning to its end, and broke off after so many frames, lacks its way back.

    An MP4 is open once its index is found; where that lies behind the pictures, the first of them is out of reach.
    """
    if container is None or frames or "mp4" not in container.format.name.split(","):
        return False
    video = main_video(container.streams.video)
    return video is not None and len(video.index_entries) > 0 and video.index_entries[0].pos < _INDEX_BYTES
