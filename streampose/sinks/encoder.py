"""H.264 encoders for live video: which there are, which one works here, and how each is set to hold nothing back."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import av
import numpy as np
from av.codec.hwaccel import HWAccel
from av.video.codeccontext import VideoCodecContext

from streampose.errors import ConfigError, SinkUnavailable
from streampose.sinks.film import Film

__all__ = ["ENCODERS", "check_encoder", "live_encoder"]

_SOFTWARE = "libx264"
# In the order in which `auto` tries them, the software one last. Each with what makes it give a picture at once and
# make every key frame that is asked for one at which a viewer can begin.
_OPTIONS: Mapping[str, Mapping[str, str]] = {
    "h264_nvenc": {"preset": "p4", "tune": "ull", "zerolatency": "1", "delay": "0", "forced-idr": "1"},
    "h264_videotoolbox": {"realtime": "1", "prio_speed": "1"},
    "h264_qsv": {"async_depth": "1", "forced_idr": "1"},
    "h264_vaapi": {"async_depth": "1"},
    _SOFTWARE: {"crf": "23", "preset": "superfast", "tune": "zerolatency"},
}
_PIXELS = {"h264_qsv": "nv12", "h264_vaapi": "nv12"}
# A device encoder has no x264's "crf" by which quality is kept: 2.8 Mbit/s for 720p at 30 fps.
_BITS_PER_PIXEL = 0.1

ENCODERS = ("auto", *_OPTIONS)
"""What can be asked for."""


def check_encoder(choice: str) -> None:
    """See that there is such a choice.

    Raises:
        ConfigError: there is not.
    """
    if choice not in ENCODERS:
        raise ConfigError(f"no H.264 encoder is called {choice!r}; there are: {', '.join(ENCODERS)}")


def live_encoder(choice: str, film: Film) -> VideoCodecContext:
    """A new encoder for pictures of this size, by the first of the choice that works here.

    Raises:
        SinkUnavailable: none does, and why.
    """
    assert film.size_px is not None
    why = ""
    for name in _OPTIONS if choice == "auto" else (choice,):
        try:
            # Some open without a device, and fail with the first picture.
            _blank(_opened(name, film))
            return _opened(name, film)
        except (av.error.FFmpegError, ValueError, NotImplementedError, OSError) as error:
            why = str(getattr(error, "strerror", None) or error)
    raise SinkUnavailable(f"{choice} does not encode here ({why}): --encoder auto takes what does")


def _opened(name: str, film: Film) -> VideoCodecContext:
    context = av.CodecContext.create(name, "w", hwaccel=HWAccel("vaapi") if name == "h264_vaapi" else None)
    assert isinstance(context, VideoCodecContext)
    assert film.size_px is not None
    context.width, context.height = film.size_px
    context.pix_fmt = _PIXELS.get(name, "yuv420p")
    context.time_base, context.framerate = film.time_base, film.rate
    context.max_b_frames = 0
    context.gop_size = 10_000  # key frames come by time, see `Film`
    context.options = dict(_OPTIONS[name])
    if name == _SOFTWARE:
        context.thread_count = 1  # the cores are for the engines
    else:
        context.bit_rate = round(film.size_px[0] * film.size_px[1] * film.rate * Fraction(_BITS_PER_PIXEL))
    film.colours.tell(context)
    context.open()
    return context


def _blank(context: VideoCodecContext) -> None:
    picture = av.VideoFrame.from_ndarray(np.zeros((context.height, context.width, 3), np.uint8), format="bgr24")
    picture.pts, picture.time_base = 0, context.time_base
    context.encode(picture)
    context.encode(None)
