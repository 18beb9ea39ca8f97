"""H.264 that was encoded before, for servers that shall cost nothing: each frame behind its length (4 bytes)."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame


def write_clip(path: Path, pictures: Iterable[VideoFrame], *, rate: int, gop: int, size: tuple[int, int]) -> None:
    """Encode the pictures in this size (width, height); a key frame in every `gop`."""
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height = size
    encoder.pix_fmt, encoder.time_base, encoder.framerate = "yuv420p", Fraction(1, rate), Fraction(rate)
    encoder.gop_size, encoder.options = gop, {"preset": "veryfast", "tune": "zerolatency"}
    with path.open("wb") as file:
        for i, picture in enumerate(pictures):
            frame = picture.reformat(*size, "yuv420p")
            frame.pts, frame.time_base = i, Fraction(1, rate)
            for packet in encoder.encode(frame):
                file.write(struct.pack(">I", packet.size) + bytes(packet))
        # No frame waits in this encoder: "zerolatency".


def footage(path: Path) -> Iterable[VideoFrame]:
    """The pictures of a file."""
    with av.open(str(path)) as container:
        yield from container.decode(video=0)


def moving(frames: int, width: int, height: int) -> Iterable[VideoFrame]:
    """A drawn picture that moves."""
    ramp = np.add.outer(np.arange(height), np.arange(width))
    for i in range(frames):
        yield VideoFrame.from_ndarray(((ramp + 4 * i) % 256).astype(np.uint8), format="gray")
