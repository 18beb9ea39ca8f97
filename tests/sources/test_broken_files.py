"""Recordings that were cut, damaged or joined: what is there is read, and what is missing is told."""

from __future__ import annotations

import contextlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from streampose.errors import SourceError
from streampose.sources import FileSource


def clip(path: Path, codec: str = "libx264", *, frames: int = 100, muxer: dict[str, str] | None = None) -> Path:
    """At 25 frames a second; no picture is like another."""
    noise = np.random.default_rng(0)
    options = {"preset": "ultrafast", "g": "5"} if codec == "libx264" else {"g": "5"}
    with av.open(str(path), "w", options=muxer or {}) as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height = 64, 48
        stream.pix_fmt = {"mjpeg": "yuvj420p", "gif": "rgb8"}.get(codec, "yuv420p")
        for i in range(frames):
            coarse = noise.integers(0, 256, (6, 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
            frame = av.VideoFrame.from_ndarray(coarse, format="bgr24")
            frame.pts, frame.time_base = i, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def read(path: Path) -> tuple[list[int], SourceError | None]:
    """The numbers of the frames that come, and why no more do, if not because this is the end."""
    numbers = []
    with contextlib.closing(FileSource(path)) as source:
        try:
            source.open("s")
            while (frame := source.read()) is not None:
                numbers.append(frame.index)
        except SourceError as error:
            return numbers, error
    return numbers, None


def test_a_sound_that_begins_within_does_not_end_the_video(tmp_path: Path):
    """PyAV fails at the end of a stream that was not there when the file was opened."""
    path = clip(tmp_path / "v.flv", frames=200)
    sound = bytes([8, 0, 0, 9, 0, 0x10, 0, 0, 0, 0, 0, 0x2F, *bytes(8)])
    path.write_bytes(path.read_bytes() + sound + len(sound).to_bytes(4, "big"))
    assert read(path) == (list(range(200)), None)
