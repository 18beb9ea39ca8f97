"""Recordings that were put one behind the other: time goes on where it began anew."""

from __future__ import annotations

import contextlib
import gc
import logging
import weakref
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise, zip_longest
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streampose.errors import SourceCorrupt
from streampose.sources import Cut, Excerpt, FileSource
from streampose.sources.spliced import Spliced, followed

COUNT, STEP = 20, 3600  # frames of 1/25 s in units of 1/90000 s


def take(path: Path, first: int) -> bytes:
    """A second or so of MPEG-TS whose clock begins at `first`, with B-frames."""
    with av.open(str(path), "w", options={"mpegts_copyts": "1"}) as container:
        stream = container.add_stream("libx264", rate=25, options={"bf": "2", "preset": "ultrafast", "b-adapt": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 90_000)
        for i in range(COUNT):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 8 * i, np.uint8), format="bgr24")
            frame.pts, frame.time_base = first + i * STEP, Fraction(1, 90_000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path.read_bytes()


def joined(folder: Path, *firsts_s: float) -> Path:
    """Takes in one file, as AVCHD cards and `cat` make them."""
    path = folder / "joined.ts"
    path.write_bytes(b"".join(take(folder / "take.ts", round(first_s * 90_000)) for first_s in firsts_s))
    return path


def times(path: Path, cut: Cut | None = None, resume_at: int = 0) -> list[tuple[int, int]]:
    source = Excerpt(FileSource(path), cut or Cut(), resume_at=resume_at)
    source.open("s")
    found = []
    while (frame := source.read()) is not None:
        found.append((frame.index, frame.pts))
    source.close()
    return found


@pytest.mark.parametrize(
    "firsts_s",
    [
        (10, 10, 10),
        (12, 11.5, 10),
        (3600, 10, 9),  # FFmpeg takes the second for a clock that has run over, and adds 26.5 hours
        (10, 36000, 20),
    ],
)
def test_a_clock_that_begins_anew_goes_on_by_a_step(tmp_path: Path, firsts_s, caplog: pytest.LogCaptureFixture):
    found = times(joined(tmp_path, *firsts_s))
    assert [pts - found[0][1] for _, pts in found] == [i * STEP for i in range(3 * COUNT)]
    (told,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert f"its times begin anew at {(found[0][1] + COUNT * STEP) / 90_000:.3f} s" in told


def test_a_pause_is_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    found = times(joined(tmp_path, 10, 25))
    assert found[COUNT][1] - found[0][1] == 15 * 90_000
    assert not caplog.records


def test_parts_and_going_on_count_in_the_same_times(tmp_path: Path):
    path = joined(tmp_path, 10, 10)
    whole = times(path)
    assert times(path, resume_at=30) == whole[30:]
    assert times(path, Cut(start_s=0.9, end_s=1.21)) == [w for w in whole if 81_000 <= w[1] - whole[0][1] < 108_900]


def place(pts: list[int | None], step: int = 10) -> list[int]:
    line = Spliced(step, Fraction(1, 1000))
    return [line.place(line.believed(p, after)) for p, after in zip_longest(pts, pts[1:])]


def test_only_what_goes_back_is_moved():
    assert place([5, None, 25, 500, 510]) == [5, 15, 25, 500, 510]
    assert place([0, 10, 9, 20, 20, 30]) == [0, 10, 11, 20, 21, 30]  # rounding
    assert place([0, 30, 10, 20, 60, 40, 50, 90]) == [0, 30, 40, 50, 60, 70, 80, 90]  # out of order, not joined


def test_one_time_that_is_astray_moves_no_other():
    assert place([0, 10, 20, 5000, 40, 50]) == [0, 10, 20, 30, 40, 50]
    assert place([5000, 5010, 5020, 0, 5040]) == [5000, 5010, 5020, 5030, 5040]
    assert place([5000, 0, 10, 20, 5000, 40, 50]) == [5000, 5010, 5020, 5030, 5040, 5050, 5060]  # in a second take, too
    assert place([0, 10, 5000, 5010, 5020]) == [0, 10, 5000, 5010, 5020]  # a pause
    assert place([0, 10, 5000, 5010, 40, 50]) == [0, 10, 5000, 5010, 5020, 5030]  # two are a take


def astray(path: Path, place: int, by_s: int, count: int = COUNT) -> Path:
    """A recording of 25 frames a second from second 10 on; one has a wrong time."""
    with av.open(str(path), "w", options={"mpegts_copyts": "1"} if path.suffix == ".ts" else {}) as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 25)
        for i in range(count + 1):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 8 * i % 256, np.uint8), format="bgr24")
            frame.pts, frame.time_base = 250 + i, Fraction(1, 25)
            for packet in stream.encode(frame if i < count else None):
                if packet.pts == 250 + place:
                    packet.pts += 25 * by_s
                container.mux(packet)
    return path


@pytest.mark.parametrize("suffix", [".ts", ".mp4", ".mkv"])
@pytest.mark.parametrize("by_s", [1, 30, 50_000])
def test_a_file_with_a_time_that_is_astray_keeps_the_others(tmp_path: Path, suffix: str, by_s: int, caplog):
    found = times(astray(tmp_path / f"a{suffix}", 10, by_s))
    steps = np.diff([pts for _, pts in found])
    assert (len(found), steps.min() / steps.max()) == (COUNT, pytest.approx(1, abs=0.06))  # Matroska has milliseconds
    assert not caplog.records


@pytest.mark.parametrize("by_s", [1, 50_000])
def test_far_behind_a_time_that_is_astray_frames_keep_their_numbers(tmp_path: Path, by_s: int):
    path = astray(tmp_path / "a.mp4", 100, by_s, 400)
    whole = times(path)
    assert times(path, Cut(start_s=14)) == whole[350:]


@given(st.lists(st.none() | st.integers(-(10**6), 10**6)), st.integers(1, 100))
def test_it_only_goes_forwards(pts: list[int | None], step: int):
    placed = place(pts, step)
    assert all(a < b for a, b in pairwise(placed))


@given(st.lists(st.lists(st.integers(20, 50), min_size=3, max_size=20), min_size=1, max_size=5))
def test_distances_within_a_take_are_kept(takes: list[list[int]]):
    # Each goes back by more than pictures do that are out of order, and farther than from one to the next.
    pts = [p for take in takes for p in [0, *np.cumsum(take).tolist()]]
    placed = place(pts, 1)
    for i in range(1, len(pts)):
        if pts[i] > pts[i - 1]:
            assert placed[i] - placed[i - 1] == pts[i] - pts[i - 1]


def test_what_a_recording_that_breaks_off_held_is_let_go_of_at_once():
    class Decoder:
        pass

    def pictures() -> Iterator[av.VideoFrame]:
        decoder = Decoder()
        held.append(weakref.ref(decoder))
        yield av.VideoFrame(64, 48)
        raise SourceCorrupt("x")

    held: list[weakref.ref[Decoder]] = []
    gc.disable()
    try:
        with contextlib.suppress(SourceCorrupt):
            list(followed(pictures(), live=False))
        assert held[0]() is None
    finally:
        gc.enable()
