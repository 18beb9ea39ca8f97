"""What a recording says of its length, without decoding any of it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av

from streampose.frame import StreamInfo

__all__ = ["probe"]


def probe(path: Path) -> StreamInfo | None:
    """Read a video file's header, for progress bars; `None` = it cannot be read, which opening it will explain."""
    try:
        with av.open(f"file:{path}", metadata_errors="replace") as container:
            if not container.streams.video:
                return None
            video = container.streams.video[0]
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
