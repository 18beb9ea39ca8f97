"""What a recording says of itself."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av

from streampose.frame import StreamInfo
from streampose.sources.conversion import pixel_aspect
from streampose.sources.orientation import Orientation, orientation_of
from streampose.sources.tonemap import TRANSFERS
from streampose.sources.track import main_video

__all__ = ["has_square_pixels", "is_hdr", "is_mirrored", "probe"]


def probe(path: Path) -> StreamInfo | None:
    """Read a video file's header, for progress bars; `None` = it cannot be read, which opening it will explain."""
    try:
        with av.open(f"file:{path}", metadata_errors="replace") as container:
            video = main_video(container.streams.video)
            # PyAV's types say otherwise, but what nothing here decodes has no context.
            if video is None or getattr(video, "codec_context", None) is None:
                return None
            frames = video.frames
            if not frames and container.duration and video.average_rate:
                frames = round(container.duration / av.time_base * video.average_rate)
            return StreamInfo(
                width_px=video.width,
                height_px=video.height,
                time_base=video.time_base or Fraction(1, 90_000),
                rate=video.average_rate,
                frames=frames or None,
            )
    except (av.error.FFmpegError, OSError, ValueError):
        return None


def has_square_pixels(path: Path) -> bool:
    """Whether a video's pictures are as wide as they are stored; also where it cannot be read."""
    try:
        with av.open(f"file:{path}", metadata_errors="replace") as container:
            video = main_video(container.streams.video)
            return video is None or pixel_aspect(video) == 1
    except (av.error.FFmpegError, OSError, ValueError):
        return True


def is_hdr(path: Path) -> bool:
    """Whether a video's pictures are tone-mapped, as far as its header says."""
    try:
        with av.open(f"file:{path}", metadata_errors="replace") as container:
            video = main_video(container.streams.video)
            context = getattr(video, "codec_context", None)  # what nothing here decodes has none
            return context is not None and context.color_trc in TRANSFERS
    except (av.error.FFmpegError, OSError, ValueError):
        return False


def is_mirrored(path: Path) -> bool:
    """Whether a video's pictures are seen as in a mirror; its first one says so, and is decoded for that."""
    try:
        with av.open(f"file:{path}", metadata_errors="replace") as container:
            video = main_video(container.streams.video)
            first = None if video is None else next(container.decode(video), None)
            return first is not None and (orientation_of(first) or Orientation()).mirrored
    except (av.error.FFmpegError, OSError, ValueError):
        return False
