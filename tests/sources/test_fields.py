"""Interlaced pictures: what moves between the two fields has no combs, what stands still keeps its lines."""

from __future__ import annotations

import contextlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from streampose.frame import Image
from streampose.sources import FileSource
from streampose.sources.fields import uncombed
from streampose.sources.probe import peculiarities

WIDTH, HEIGHT = 64, 48
GREY, RED, BLUE = (90, 90, 90), (40, 40, 200), (200, 40, 40)


def fields() -> tuple[Image, Image]:
    """The upper field's time, and the lower one's: a red pillar has gone on, a blue floor has not."""
    moments = []
    for x in (16, 32):
        image = np.full((HEIGHT, WIDTH, 3), GREY, np.uint8)
        image[:36, x : x + 12] = RED
        image[36:] = BLUE
        moments.append(image)
    return moments[0], moments[1]


def woven(path: Path, *, marked: bool = True) -> Path:
    """A video of one picture, of those two fields; their colours, too, are line by line."""
    upper, lower = (av.VideoFrame.from_ndarray(f, format="bgr24").reformat(format="yuv420p") for f in fields())
    for plane, other in zip(upper.planes, lower.planes, strict=True):
        lines, others = (np.frombuffer(p, np.uint8).reshape(p.height, p.line_size) for p in (plane, other))
        lines = lines.copy()
        lines[1::2] = others[1::2]
        plane.update(lines.tobytes())
    options = {"qp": "4", "x264-params": "tff=1"} if marked else {"qp": "4"}
    return written(path, upper, "libx264", options)


def written(path: Path, picture: av.VideoFrame, codec: str, options: dict[str, str]) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "rgb24" if codec == "png" else "yuv420p"
        picture.pts, picture.time_base = 0, Fraction(1, 25)
        container.mux([*stream.encode(picture), *stream.encode(None)])
    return path


def seen(path: Path) -> Image:
    with contextlib.closing(FileSource(path)) as source:
        source.open("v")
        frame = source.read()
        assert frame is not None
        return frame.image


@pytest.mark.parametrize("suffix", ["mp4", "ts"])
def test_a_picture_is_of_one_time(tmp_path: Path, suffix: str):
    picture, first = seen(woven(tmp_path / f"v.{suffix}")).astype(int), fields()[0].astype(int)
    off = np.abs(picture - first).max(axis=2) > 60
    assert not off[:, 30:].any(), "where the pillar will be is nothing yet"
    # A chroma sample is two wide, so a pillar's edge may be one pixel off; and its foot, between it and the floor, may.
    assert not off[:35, 18:26].any()
    assert not off[-12:].any(), "and the floor is whole, the last line too"


def test_what_is_not_marked_is_left_as_it_is(tmp_path: Path):
    picture = seen(woven(tmp_path / "v.mp4", marked=False)).astype(int)
    assert set(np.abs(picture[4:32, 36, 2] - picture[6:34, 36, 2]) > 80) == {True}, "as stripes have it"


@pytest.mark.parametrize(
    ("codec", "options"),
    [("libx265", {"x265-params": "interlace=tff:qp=4:log-level=none"}), ("png", {"flags": "+ildct"})],
    ids=["hevc", "png"],
)
def test_what_is_interlaced_in_another_way_keeps_its_lines(tmp_path: Path, codec: str, options: dict[str, str]):
    """HEVC has a picture for each field, and an interlaced PNG comes in seven passes."""
    stripes = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
    stripes[1::2] = 200
    path = written(tmp_path / "v.mov", av.VideoFrame.from_ndarray(stripes, format="bgr24"), codec, options)
    assert np.abs(seen(path).astype(int) - stripes).max() < 30
    assert peculiarities(path) == ()


@pytest.mark.parametrize("height", [1, 2, 33, 34, 65, 100])
def test_a_lower_line_is_the_middle_one_of_three_values_whatever_the_height(height: int):
    woven = np.random.default_rng(height).integers(0, 256, (height, 8, 3)).astype(np.uint8)
    expected = woven.copy()
    for line in range(1, height, 2):
        below = line + 1 if line + 1 < height else line - 1
        expected[line] = np.median(woven[[line - 1, line, below]], axis=0)
    assert np.array_equal(uncombed(woven), expected)


def test_work_on_combed_pictures_is_not_gone_on_with(tmp_path: Path):
    assert peculiarities(woven(tmp_path / "a.mp4")) == ("fields",)
    assert peculiarities(woven(tmp_path / "b.mp4", marked=False)) == ()
