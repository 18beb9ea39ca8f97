"""What a recording says of itself."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av

from streampose.frame import StreamInfo
from streampose.sources.conversion import is_untold_hd, pixel_aspect
from streampose.sources.fields import are_woven
from streampose.sources.orientation import Orientation, orientation_of
from streampose.sources.tonemap import TRANSFERS, is_wide
from streampose.sources.track import main_video

__all__ = ["peculiarities", "probe"]


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


def peculiarities(path: Path) -> tuple[str, ...]:
    """What of a video's pictures is not as they are stored: ``square`` (its pixels are not), ``hdr``, ``wide``
    (BT.2020's colours), ``mirrored``, ``fields`` (it is interlaced), ``hd`` (BT.709's matrix, which is not told).

    The last three its first picture says, and is decoded for that. Nothing where it cannot be read.
    """
    found: list[str] = []
    try:
        with av.open(f"file:{path}", metadata_errors="replace") as container:
            video = main_video(container.streams.video)
            context = getattr(video, "codec_context", None)  # what nothing here decodes has none
            if video is None or context is None:
                return ()
            found += ["square"] * (pixel_aspect(video) != 1)
            if is_wide(context.color_trc, context.color_primaries):
                found.append("hdr" if context.color_trc in TRANSFERS else "wide")
            first = next(container.decode(video), None)
            if first is not None:
                found += ["mirrored"] * (orientation_of(first) or Orientation()).mirrored
                found += ["fields"] * (first.interlaced_frame and are_woven(context.name))
                found += ["hd"] * is_untold_hd(first)
    except (av.error.FFmpegError, OSError, ValueError):
        pass  # opening it will explain
    return tuple(found)
