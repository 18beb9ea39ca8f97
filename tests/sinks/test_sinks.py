"""What every sink does, and what each promises."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import re
import select
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from fakes import frame, poses_of

from streampose.errors import SinkFailed, SinkUnavailable
from streampose.frame import StreamInfo
from streampose.pose import Poses
from streampose.result import Result, Timing
from streampose.sinks import CallSink, CocoSink, JsonlSink, Rotation, Sink, SnapshotSink, VideoSink, join_videos
from streampose.sinks.alpha import AlphaVideoSink
from streampose.sinks.colours import Colours
from streampose.sinks.film import lasting
from streampose.sinks.jsonl import to_line
from streampose.skeletons import COCO_17, HALPE_26
from streampose.sources import open_source

INFO = StreamInfo(width_px=64, height_px=48, time_base=Fraction(1, 1000), rate=Fraction(25))
TIMING = Timing(captured_at=1.0, taken_at=1.01, inferred_at=1.02, delivered_at=1.03, batch_size=2)


def result(i: int, *, pts: int | None = None, epoch: int = 0, size: tuple[int, int] = (48, 64), poses=None) -> Result:
    one = frame(i, epoch=epoch)
    picture = np.full((*size, 3), 8 * i % 256, np.uint8)
    one = replace(one, image=picture, pts=one.pts if pts is None else pts)
    return Result(frame=one, poses=poses_of(i) if poses is None else poses, timing=TIMING, picture=picture)


def times(path: Path) -> list[Fraction]:
    with av.open(str(path)) as container:
        return [f.pts * f.time_base for f in container.decode(video=0)]


SINKS = {
    "mp4": lambda p: VideoSink(p / "o.mp4"),
    "mkv": lambda p: VideoSink(p / "o.mkv"),
    "mov": lambda p: VideoSink(p / "o.mov"),
    "jsonl": lambda p: JsonlSink(p / "o.jsonl"),
    "rotating": lambda p: JsonlSink(p / "o.jsonl", Rotation(max_bytes=10**6, keep=1)),
    "snapshot": lambda p: SnapshotSink(p / "o.jpg"),
    "coco": lambda p: CocoSink(p / "o.json"),
}


def conforms(make: Callable[[], Sink]) -> None:
    """What the pipeline may do to any sink."""
    sink = make()
    sink.close()  # before it was opened
    sink.open("s", INFO)
    for i in range(30):
        sink.write(result(i))
    sink.close()
    sink.close()
    empty = make()
    empty.open("s", INFO)
    empty.close()


@pytest.mark.parametrize("make", SINKS.values(), ids=SINKS)
def test_what_every_sink_does(make, tmp_path: Path):
    make(tmp_path).close()
    assert list(tmp_path.iterdir()) == []
    sink: Sink = make(tmp_path)
    sink.open("s", INFO)
    for i in range(30):
        sink.write(result(i))
    sink.close()
    (path,) = tmp_path.iterdir()
    assert path.stat().st_size > 100
    conforms(lambda: make(tmp_path))


@pytest.mark.parametrize("make", [*SINKS.values(), lambda p: AlphaVideoSink(p / "o.mov")], ids=[*SINKS, "alpha"])
def test_what_is_written_the_second_time_is_as_the_first(make, tmp_path: Path):
    sink: Sink = make(tmp_path)
    written = []
    for _ in range(2):
        sink.open("s", INFO)
        for i in range(3):
            sink.write(result(i))
        sink.close()
        path = max(tmp_path.iterdir())  # not an old one of those that rotate
        written.append(times(path) if path.suffix in {".mp4", ".mkv", ".mov"} else path.read_bytes())
    assert written[0] == written[1]


@pytest.mark.parametrize("make", SINKS.values(), ids=SINKS)
def test_a_missing_folder_is_said(make, tmp_path: Path):
    with pytest.raises(SinkUnavailable, match="create it first"):
        make(tmp_path / "none").open("s", INFO)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
@pytest.mark.parametrize("pts", [[0, 40, 80, 120], [0, 1, 2, 500, 501, 2000], [7000, 7033, 7067, 7100]])
def test_times_are_kept(tmp_path: Path, suffix: str, pts: list[int]):
    path = tmp_path / f"o{suffix}"
    sink = VideoSink(path)
    sink.open("s", INFO)
    for i, at in enumerate(pts):
        sink.write(result(i, pts=at))
    sink.close()
    assert times(path) == [Fraction(at, 1000) for at in pts]


@pytest.mark.parametrize(
    ("time_base", "pts"),
    [
        (Fraction(1, 90_000), [1237, 4237, 7241]),  # begins between two milliseconds
        (Fraction(1001, 24_000), [1, 2, 3, 40]),
        (Fraction(1001, 30_000), [7, 8, 10]),
        (Fraction(1, 1_000_000), [33_367, 66_733, 5_000_001, 2_000_000_000]),
        (Fraction(1, 1_000_000_000), [5_000, 40_000_000_000, 40_033_000_000]),
        (Fraction(1, 1), [3, 4, 9]),
    ],
)
def test_times_are_exact_in_every_unit(tmp_path: Path, time_base: Fraction, pts: list[int]):
    sink = VideoSink(tmp_path / "o.mp4")
    sink.open("s", replace(INFO, time_base=time_base, rate=None))
    for i, at in enumerate(pts):
        made = result(i, pts=at)
        sink.write(replace(made, frame=replace(made.frame, time_base=time_base)))
    sink.close()
    assert times(tmp_path / "o.mp4") == [at * time_base for at in pts]


@pytest.mark.assets
def test_times_of_real_footage_are_kept(assets: Path, tmp_path: Path):
    with av.open(str(assets / "videos" / "pose2sim_multi_cam01.mp4")) as container:
        stream = container.streams.video[0]
        pts = [f.pts for f in container.decode(video=0)][:40]
        info = replace(INFO, time_base=stream.time_base, rate=stream.average_rate)
    sink = VideoSink(tmp_path / "o.mp4")
    sink.open("s", info)
    for i, at in enumerate(pts):
        made = result(i, pts=at)
        sink.write(replace(made, frame=replace(made.frame, time_base=info.time_base)))
    sink.close()
    assert times(tmp_path / "o.mp4") == [at * info.time_base for at in pts]


def test_time_goes_on_after_a_reconnect(tmp_path: Path):
    sink = VideoSink(tmp_path / "o.mp4")
    sink.open("s", INFO)
    for i, (epoch, pts) in enumerate([(0, 1000), (0, 1040), (1, 0), (1, 40), (2, 90_000), (2, 90_040)]):
        sink.write(result(i, pts=pts, epoch=epoch))
    sink.close()
    assert times(tmp_path / "o.mp4") == [Fraction(t, 1000) for t in (1000, 1040, 1080, 1120, 1160, 1200)]


def test_odd_and_changing_sizes(tmp_path: Path):
    sink = VideoSink(tmp_path / "o.mp4")
    sink.open("s", INFO)
    for i, size in enumerate([(47, 63), (47, 63), (100, 50), (480, 640)]):
        sink.write(result(i, size=size))
    sink.close()
    with av.open(str(tmp_path / "o.mp4")) as container:
        assert {(f.width, f.height) for f in container.decode(video=0)} == {(62, 46)}


def test_colours_come_back(tmp_path: Path):
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:, :32], picture[:, 32:] = (0, 0, 240), (0, 240, 0)
    sink = VideoSink(tmp_path / "o.mp4")
    sink.open("s", INFO)
    for i in range(5):
        sink.write(replace(result(i), picture=picture))
    sink.close()
    with av.open(str(tmp_path / "o.mp4")) as container:
        image = next(container.decode(video=0)).to_ndarray(format="bgr24")
    assert np.abs(image[20, 8].astype(int) - (0, 0, 240)).max() < 16
    assert np.abs(image[20, -8].astype(int) - (0, 240, 0)).max() < 16


def test_an_unknown_kind_of_video_is_said(tmp_path: Path):
    with pytest.raises(SinkUnavailable, match=r"\.mp4, \.mov, \.mkv"):
        VideoSink(tmp_path / "o.txt").open("s", INFO)


def test_a_line_says_all(tmp_path: Path):
    sink = JsonlSink(tmp_path / "o.jsonl")
    sink.open("s", INFO)
    sink.write(result(3, poses=replace(poses_of(3, people=2), ids=np.array([7, 9]))))
    sink.write(result(4, poses=Poses.empty(COCO_17)))
    sink.close()
    first, second = (json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines())
    assert first | {"people": []} == {
        "v": 1,
        "stream": "s",
        "frame": 3,
        "epoch": 0,
        "pts": 120,
        "time_base": [1, 1000],
        "time_s": 0.12,
        "wall_time_s": None,
        "size_px": [64, 48],
        "skeleton": "coco-17",
        "latency_ms": 30.0,
        "people": [],
    }
    assert [p["id"] for p in first["people"]] == [7, 9]
    assert first["people"][0]["box"] == [3, 3, 13, 23]
    assert first["people"][0]["points"] == [[3, 3, 1]] * 17
    assert second["people"] == []


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
@pytest.mark.parametrize("name", ["jsonl", "coco", "snapshot", "mkv"])
def test_a_link_stays_and_the_file_that_it_leads_to_is_written(name: str, tmp_path: Path):
    with contextlib.closing(SINKS[name](tmp_path)) as sink:
        path = tmp_path / {"jsonl": "o.jsonl", "coco": "o.json", "snapshot": "o.jpg", "mkv": "o.mkv"}[name]
        (tmp_path / "there").mkdir()
        real = tmp_path / "there" / "real"
        real.write_text("before")
        path.symlink_to(real)
        sink.open("s", INFO)
        sink.write(result(0))
    assert path.is_symlink()
    assert not real.read_bytes().startswith(b"before")
    assert list(real.parent.iterdir()) == [real]


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
@pytest.mark.parametrize("name", ["o.json", "o.jpg"])
def test_a_link_to_a_folder_that_is_not_there_is_told_with_that_folder_s_name(name: str, tmp_path: Path):
    (tmp_path / name).symlink_to(tmp_path / "gone" / "real")
    sink = CocoSink(tmp_path / name) if name == "o.json" else SnapshotSink(tmp_path / name)
    with pytest.raises(SinkUnavailable, match=rf"no folder \S*/gone for \S*/{name}: create it first"):
        sink.open("s", INFO)


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_link_that_leads_elsewhere_at_the_end_leads_what_was_begun_nowhere_else(tmp_path: Path):
    link = tmp_path / "o.json"
    link.symlink_to("before.json")
    with contextlib.closing(CocoSink(link)) as sink:
        sink.open("s", INFO)
        link.unlink()
        link.symlink_to("now.json")
    assert json.loads((tmp_path / "before.json").read_bytes()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["before.json", "o.json"]


@pytest.mark.skipif(sys.platform == "win32", reason="has no FIFOs in folders")
def test_a_fifo_gets_the_coco_entries_and_a_snapshot_says_no(tmp_path: Path):
    for name in ("o.json", "o.jpg"):
        os.mkfifo(tmp_path / name)
    reader = os.open(tmp_path / "o.json", os.O_RDONLY | os.O_NONBLOCK)
    with contextlib.closing(CocoSink(tmp_path / "o.json")) as sink:
        sink.open("s", INFO)
        sink.write(result(3))
    assert [entry["image_id"] for entry in json.loads(os.read(reader, 1 << 16))] == [3]
    os.close(reader)
    with pytest.raises(SinkUnavailable, match=r"o\.jpg is not a file"):
        SnapshotSink(tmp_path / "o.jpg").open("s", INFO)
    assert all((tmp_path / name).is_fifo() for name in ("o.json", "o.jpg"))
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="has no /dev/stdout")
def test_what_is_in_the_file_that_standard_output_goes_into_stays(tmp_path: Path):
    """It was emptied by `--json /dev/stdout >> all.jsonl`."""
    before = os.dup(1)
    with (tmp_path / "all.jsonl").open("ab") as shared:
        shared.write(b"old\n")
        shared.flush()
        os.dup2(shared.fileno(), 1)
        try:
            sink = JsonlSink("/dev/stdout")
            sink.open("s", INFO)
            sink.write(result(0))
            sink.close()
            os.write(1, b"new\n")
        finally:
            os.dup2(before, 1)
            os.close(before)
    assert (tmp_path / "all.jsonl").read_bytes() == b"old\n" + to_line(result(0)) + b"new\n"


def test_lines_for_a_standard_output_that_is_closed(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(SinkUnavailable, match="standard output is closed"):
        JsonlSink("-").open("s", INFO)


def test_lines_for_a_standard_output_that_nobody_reads_any_more(monkeypatch):
    """As of `streampose run … --json - | head -1`."""
    read, write = os.pipe()
    os.close(read)
    sink = JsonlSink("-")
    with open(write, "w") as stdout:  # noqa: PTH123 - it has no path
        monkeypatch.setattr(sys, "stdout", stdout)
        sink.open("s", INFO)
    with pytest.raises(SinkFailed, match=r"^standard output broke off: Broken pipe"):
        sink.write(result(0))
    sink.close()


def test_coco_entries(tmp_path: Path):
    path = tmp_path / "o.json"
    sink = CocoSink(path, image_id=lambda f: 100 + f.index)
    sink.open("s", INFO)
    halpe = Poses(
        skeleton=HALPE_26,
        points=np.ones((1, 26, 2), np.float32),
        scores=np.full((1, 26), 0.5, np.float32),
        boxes=np.array([[1, 2, 11, 22]], np.float32),
        box_scores=np.array([0.5], np.float32),
    )
    sink.write(result(1, poses=halpe))
    assert not path.exists(), "an unfinished file has its final name"
    sink.write(result(2, poses=poses_of(2, people=2)))
    sink.close()
    entries = json.loads(path.read_text())
    assert [e["image_id"] for e in entries] == [101, 102, 102]
    assert entries[0]["keypoints"] == [1, 1, 0.5] * 17
    assert entries[0]["bbox"] == [1, 2, 10, 20]
    assert entries[0]["score"] == 0.25


def test_coco_takes_the_whole_numbers_of_numpy(tmp_path: Path):
    sink = CocoSink(tmp_path / "coco.json", image_id=lambda frame: np.int64(frame.index + 7))
    sink.open("s", INFO)
    sink.write(result(0))
    sink.close()
    (entry,) = json.loads((tmp_path / "coco.json").read_text())
    assert entry["image_id"] == 7


def test_an_encoder_that_is_not_there_is_told_once(tmp_path: Path):
    path = tmp_path / "o.mp4"
    sink = VideoSink(path, codec="nope")
    sink.open("s", INFO)
    with pytest.raises(SinkFailed, match=f"^{re.escape(str(path))}: no encoder nope here: nope$"):
        sink.write(result(0))
    sink.close()


def test_a_number_of_a_frame_that_cannot_be_told_leaves_the_old_entries(tmp_path: Path):
    path = tmp_path / "coco.json"
    path.write_text("[]")
    sink = CocoSink(path, image_id=lambda frame: 1 // (1 - frame.index))
    sink.open("s", INFO)
    sink.write(result(0))
    with pytest.raises(ZeroDivisionError):
        sink.write(result(1))
    sink.close()
    assert path.read_text() == "[]"
    assert (tmp_path / "coco.json.part").read_text().startswith('[\n{"image_id":1,')


@contextmanager
def disk(folder: Path, options: str) -> Iterator[Path]:
    """A disk of its own, by the options of its mount."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if sys.platform != "linux" or os.geteuid() != 0 or subprocess.run(command, check=False).returncode:
        pytest.skip("only root on Linux can mount a disk")
    try:
        yield folder
    finally:
        gc.collect()  # tracebacks that are kept for a test hold files open
        subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with disk(tmp_path / "small", "size=64k") as folder:
        yield folder


@pytest.mark.parametrize("name", ["mp4", "mkv", "jsonl", "coco"])
def test_a_full_disk_is_told(name: str, small_disk: Path):
    sink = SINKS[name](small_disk)
    sink.open("s", INFO)
    rng = np.random.default_rng(0)

    def fill() -> None:
        for i in range(3000):
            noise = rng.integers(0, 256, (48, 64, 3), np.uint8)
            sink.write(replace(result(i), picture=noise))
        sink.close()

    with pytest.raises(SinkFailed, match="No space left"):
        fill()
    if name == "jsonl":
        for line in (small_disk / "o.jsonl").read_text().splitlines():
            json.loads(line)
    with contextlib.suppress(SinkFailed):  # the end could not be written either: said, and let go
        sink.close()


RED = (20, 30, 220)
PLAYERS = {(1280, 720): "ITU709", (720, 1280): "ITU709", (720, 576): "ITU601", (64, 48): "ITU601"}
"""What players that are told nothing take a size for."""


@pytest.mark.parametrize("size", PLAYERS)
@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "alpha.mov"])
def test_colours_are_those_that_the_video_says_and_players_expect(tmp_path: Path, name: str, size: tuple[int, int]):
    width, height = size
    path, clear = tmp_path / name, name == "alpha.mov"
    sink = AlphaVideoSink(path) if clear else VideoSink(path, crf=1)
    sink.open("s", replace(INFO, width_px=width, height_px=height))
    picture = np.zeros((height, width, 4 if clear else 3), np.uint8)
    picture[...] = (*RED, 255)[: picture.shape[2]]
    for i in range(3):
        sink.write(replace(result(i), picture=picture))
    sink.close()
    number = 1 if PLAYERS[size] == "ITU709" else 6
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            told = frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range
            assert told == (number, number, number, 1)
            for colours in (None, PLAYERS[size]):
                shown = frame.to_ndarray(format="bgr24", src_colorspace=colours)[height // 2, width // 2]
                assert np.abs(shown.astype(int) - RED).max() <= 5, (shown, colours)


@pytest.mark.parametrize("size", PLAYERS)
def test_colours_are_rounded_to_the_nearest(size: tuple[int, int]):
    shades = np.arange(256, dtype=np.uint8)
    picture = np.ascontiguousarray(np.broadcast_to(shades.repeat(4)[:, None, None], (1024, 64, 3)))
    made = Colours(*size).convert(av.VideoFrame.from_ndarray(picture, format="bgr24"), "yuv420p")
    luma = np.frombuffer(made.planes[0], np.uint8).reshape(1024, -1)[2::4, 0]
    errors = luma - (16 + shades * (219 / 255))
    assert abs(errors.mean()) < 0.2
    assert np.abs(errors).max() < 1


@pytest.mark.parametrize("name", ["a.mp4", "alpha.mov"])
def test_a_pause_does_not_make_the_last_picture_last(tmp_path: Path, name: str):
    path, joined = tmp_path / name, tmp_path / f"joined.{name}"
    sink = AlphaVideoSink(path) if name == "alpha.mov" else VideoSink(path)
    sink.open("s", replace(INFO, rate=Fraction(10, 600)))  # as an average over the pause
    for i in range(10):
        sink.write(result(i, pts=40 * i + (600_000 if i > 4 else 0)))
    sink.close()
    join_videos([path], joined, path.suffix)
    for video in (path, joined):
        with av.open(str(video)) as container:
            assert container.duration == pytest.approx(600_400_000, abs=1000)


def test_a_last_picture_after_a_pause_lasts_as_the_rate_says():
    assert lasting(600_000, None, Fraction(25), Fraction(1, 1000)) == 40
    assert lasting(600_000, 40, Fraction(25), Fraction(1, 1000)) == 40


def test_an_hd_video_has_the_colours_of_its_source(tmp_path: Path):
    path = tmp_path / "hd.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, width=1280, height=720, pix_fmt="yuv420p")
        stream.codec_context.color_primaries = stream.codec_context.color_trc = stream.codec_context.colorspace = 1
        frame = av.VideoFrame.from_ndarray(np.full((720, 1280, 3), RED, np.uint8), format="bgr24")
        container.mux(stream.encode(frame.reformat(format="yuv420p", dst_colorspace="ITU709")))
        container.mux(stream.encode())
    source = open_source(str(path), live=False)
    info, sink = source.open("s"), VideoSink(tmp_path / "out.mp4", crf=1)
    sink.open("s", info)
    first = source.read()
    assert first is not None
    sink.write(replace(result(0), frame=first, picture=first.image))
    sink.close()
    source.close()
    planes = []
    for video in (path, tmp_path / "out.mp4"):
        with av.open(str(video)) as container:
            planes.append(next(container.decode(video=0)).to_ndarray(format="yuv420p").astype(int))
    assert np.abs(planes[0] - planes[1]).max() <= 2


def test_a_function_is_a_sink_as_others_are():
    conforms(lambda: CallSink(lambda result: result.frame.index))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can make another user's link")
@pytest.mark.parametrize("kind", ["mp4", "jsonl", "rotating", "coco"])
def test_another_users_link_in_a_folder_of_everybodys_is_refused(kind: str, tmp_path: Path):
    everybodys, secret = tmp_path / "everybodys", tmp_path / "secret"
    everybodys.mkdir()
    everybodys.chmod(0o1777)
    secret.write_text("of ours")
    for name in ("o.mp4", "o.jsonl", "o.json"):
        (everybodys / name).symlink_to(secret)
        os.lchown(everybodys / name, 12345, 12345)
    sink = SINKS[kind](everybodys)
    with pytest.raises(SinkUnavailable, match="cannot be written"):
        sink.open("s", INFO)
    sink.close()
    assert secret.read_text() == "of ours"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no FIFOs")
def test_a_reader_of_a_fifo_that_leaves_within_a_line_is_told(tmp_path: Path):
    os.mkfifo(fifo := tmp_path / "o.jsonl")
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    sink = JsonlSink(fifo)
    sink.open("s", INFO)
    long = result(0, poses=poses_of(0, people=1000))  # longer than a pipe holds
    leaving = threading.Thread(
        target=lambda: (select.select([reader], [], [], 10), os.read(reader, 10), os.close(reader))
    )
    leaving.start()
    with pytest.raises(SinkFailed, match="Broken pipe"):
        sink.write(long)
    sink.close()
    leaving.join()
