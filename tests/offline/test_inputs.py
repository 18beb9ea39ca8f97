"""Recordings as they are in the wild: each keeps its frames and their times, drawn or not."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
import time
import unicodedata
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from test_process import FAST, command  # noqa: F401 - a fixture

from streampose.errors import SourceNotFound
from streampose.offline.inputs import find_inputs
from streampose.sources import Cut, Excerpt, FileSource, ImagesSource
from streampose.sources.source import Selecting

Make = Callable[[Path], Path]
COUNT = 24


def video(
    path: Path,
    *,
    count: int = COUNT,
    codec: str = "libx264",
    size: tuple[int, int] = (128, 96),
    pixels: str = "yuv420p",
    pts: Callable[[int], int] = lambda i: i * 3000,
    options: dict[str, str] | None = None,
    sound: bool = False,
    pixel_aspect: Fraction | None = None,
    container_options: dict[str, str] | None = None,
    matrix: tuple[int, ...] | None = None,
) -> Path:
    """A moving gradient, with times in ninety-thousandths of a second."""
    with av.open(str(path), "w", container_options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=30, options=options or {})
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        stream.codec_context.time_base = Fraction(1, 30 if path.suffix == ".avi" else 90_000)  # whose unit is a frame
        if pixel_aspect is not None:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        if matrix is not None:
            stream.set_display_matrix(matrix)
        tone = container.add_stream("aac", rate=48_000) if sound else None
        for i in range(count):
            row = (np.arange(size[0]) * 2 + 8 * i) % 256
            picture = np.broadcast_to(row[None, :, None], (size[1], size[0], 3)).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="bgr24").reformat(format=pixels)
            frame.pts, frame.time_base = pts(i), Fraction(1, 90_000)
            container.mux(stream.encode(frame))
            if tone is not None:
                chunk = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
                chunk.sample_rate, chunk.pts = 48_000, i * 1024
                container.mux(tone.encode(chunk))
        container.mux(stream.encode(None))
        if tone is not None:
            container.mux(tone.encode(None))
    return path


def turned(path: Path) -> Path:
    """A phone's: stored on its side, with the note to turn it."""
    flat = video(path.with_name("flat.mp4"), size=(128, 64))
    with av.open(str(flat)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    data = bytearray(path.read_bytes())
    # The track's matrix: a quarter turn (ISO 14496-12, tkhd).
    at = data.index(b"tkhd") + 4 + 4 + 4 + 4 + 4 + 4 + 4 + 8 + 2 + 2 + 2 + 2
    one, zero, w = (1 << 16).to_bytes(4, "big"), bytes(4), (1 << 30).to_bytes(4, "big")
    minus = (-(1 << 16)).to_bytes(4, "big", signed=True)
    data[at : at + 36] = zero + one + zero + minus + zero + zero + zero + zero + w
    path.write_bytes(data)
    flat.unlink()
    return path


KINDS: dict[str, tuple[str, Make]] = {
    "variable rate": (".mp4", lambda p: video(p, pts=lambda i: i * 3000 + i * i * 100)),
    "rotated": (".mp4", turned),
    "odd sizes": (".mkv", lambda p: video(p, codec="ffv1", size=(127, 95), pixels="bgr0")),
    "ten bits": (".mp4", lambda p: video(p, pixels="yuv420p10le")),
    "interlaced": (".ts", lambda p: video(p, options={"x264-params": "tff=1"})),
    "no duration": (".mkv", lambda p: video(p, container_options={"live": "1"})),
    "with sound": (".mov", lambda p: video(p, sound=True)),
    "wide pixels": (".mp4", lambda p: video(p, pixel_aspect=Fraction(4, 3))),
    "late start": (".mp4", lambda p: video(p, pts=lambda i: 450_000 + i * 3000)),
}


def times(path: Path) -> list[Fraction]:
    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]


@pytest.mark.parametrize("kind", KINDS)
def test_frames_and_times_are_kept(command, tmp_path: Path, kind: str):  # noqa: F811
    suffix, make = KINDS[kind]
    path = make(tmp_path / f"a{suffix}")
    true = times(path)
    out = tmp_path / "out"
    assert command("process", path, "-o", out, *FAST, "--draw", "streampose", "--background", "video")[0] == 0
    records = [json.loads(line) for line in (out / "a.jsonl").read_text().splitlines()]
    assert [r["frame"] for r in records] == list(range(len(true)))
    assert [Fraction(r["pts"] * r["time_base"][0], r["time_base"][1]) for r in records] == true
    assert times(out / "a.streampose.mp4") == true
    assert len(true) == COUNT
    if kind == "rotated":
        assert records[0]["size_px"] == [64, 128]
    if kind == "wide pixels":
        assert records[0]["size_px"] == [170, 96]
        with av.open(str(out / "a.streampose.mp4")) as container:
            assert (container.streams.video[0].width, container.streams.video[0].height) == (170, 96)
    if kind == "interlaced":
        with av.open(str(path)) as container:
            assert next(container.decode(video=0)).interlaced_frame
    if kind == "no duration":
        with av.open(str(path)) as container:
            assert container.duration is None


@pytest.mark.parametrize(("transfer", "words"), [("smpte2084", "PQ"), ("arib-std-b67", "HLG"), ("bt709", None)])
def test_hdr_is_tone_mapped_and_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, transfer: str, words: str | None
):
    path = video(tmp_path / "a.mkv", count=3, options={"x264-params": f"transfer={transfer}"})
    source = FileSource(path)
    caplog.set_level(logging.INFO)
    for _ in range(2):  # as one that is opened anew
        source.open("s")
        assert len(list(iter(source.read, None))) == 3
        source.close()
    told = [record.getMessage() for record in caplog.records if getattr(record, "event", None) == "hdr"]
    assert len(told) == (words is not None)
    assert all(line.startswith(f"{path} is HDR ({words}): its pictures are tone-mapped") for line in told)


@pytest.mark.parametrize("images", [False, True])
def test_going_on_is_exact(tmp_path: Path, images: bool):
    if images:
        for i in range(20):
            cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((48, 64, 3), i * 10, np.uint8))
        make = lambda: ImagesSource(tmp_path)  # noqa: E731
    else:
        path = video(tmp_path / "a.mp4", pts=lambda i: i * 3000 + i * i * 100)
        make = lambda: FileSource(path)  # noqa: E731
    cut = Cut(start_s=0.1, end_s=0.6, every=2)

    def frames(resume_at: int) -> list[tuple[int, float, int]]:
        source = Excerpt(make(), cut, resume_at=resume_at)
        source.open("s")
        out = []
        while (frame := source.read()) is not None:
            out.append((frame.index, frame.time_s, int(frame.image.sum())))
        source.close()
        return out

    whole = frames(0)
    assert len(whole) > 4
    assert isinstance(make(), Selecting)
    for place, (index, _, _) in enumerate(whole):
        assert frames(index) == whole[place:]
        assert frames(index + 1) == whole[place + 1 :]


@pytest.mark.parametrize("kind", ["plain", "open groups", "variable rate", "no table", "damaged", "avi"])
def test_far_inside_it_begins_at_the_right_frame_without_decoding_all(tmp_path: Path, kind: str, monkeypatch):
    monkeypatch.setattr("streampose.sources.seeking._WORTH", 20)
    params = "keyint=12:bframes=3" + (":open-gop=1" if kind == "open groups" else "")
    path = tmp_path / {"no table": "a.ts", "avi": "a.avi"}.get(kind, "a.mp4")
    uneven = kind == "variable rate"
    video(path, count=90, pts=lambda i: i * 3000 + uneven * i * i * 30, options={"x264-params": params})
    if kind == "damaged":
        with av.open(str(path)) as container:
            places = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
        data = bytearray(path.read_bytes())
        for at, size in places[25:27] + places[60:61] + places[71:74]:
            data[at : at + size] = bytes(size)
        path.write_bytes(data)

    def frames(cut: Cut, resume_at: int = 0, known: tuple[int, int] | None = None) -> tuple[list, int]:
        source = FileSource(path)
        excerpt = Excerpt(source, cut, resume_at=resume_at, known=known)
        excerpt.open("s")
        out = []
        while (frame := excerpt.read()) is not None:
            out.append((frame.index, frame.pts, frame.image.tobytes()))
        excerpt.close()
        return out, 0 if source.begin is None else source.begin.seek_pts

    whole, _ = frames(Cut(every=2))
    sought = 0
    for index, pts, _ in whole[5::9]:
        rest, seek_pts = frames(Cut(every=2), resume_at=index + 1, known=(index, pts))
        assert rest == [row for row in whole if row[0] > index]
        sought += seek_pts > 0
    assert (sought > 2) == (kind not in {"no table", "avi"})
    every = frames(Cut())[0]
    with av.open(str(path)) as container:
        unit_s = container.streams.video[0].time_base
    assert frames(Cut(start_s=1.7))[0] == [r for r in every if float((r[1] - whole[0][1]) * unit_s) >= 1.7]
    # A packet that is left out is missed by its number.
    assert {round((pts - every[0][1]) * unit_s * 30) - index for index, pts, _ in every} == {0} or uneven
    assert len(every) == (84 if kind == "damaged" else 90)


def test_what_is_not_there_is_told(tmp_path: Path):
    with pytest.raises(SourceNotFound, match="no file or folder"):
        find_inputs([str(tmp_path / "a.mp4")])
    (tmp_path / "notes.txt").touch()
    with pytest.raises(SourceNotFound, match=r"has no videos .*looked for \.264, .*\.mp4.*\.png.* is named itself"):
        find_inputs([str(tmp_path)])
    with pytest.raises(SourceNotFound, match="matches no videos"):
        find_inputs([str(tmp_path / "*.mp4")])


@pytest.mark.skipif(sys.platform == "win32", reason="has no FIFOs in folders")
def test_what_can_be_read_only_once_is_told(command, tmp_path: Path):  # noqa: F811
    os.mkfifo(fifo := tmp_path / "fifo.mp4")
    code, err = command("process", fifo, "-o", tmp_path / "out")
    assert (code, err) == (
        1,
        f"error: {fifo} is no file, and recordings are read more than once: save it as one, or use run\n",
    )


def test_a_folder_gives_every_kind_of_video(tmp_path: Path):
    """Read are those that can be made here."""
    kinds = {"vob": "libx264", "asf": "wmv2", "h264": "libx264", "3g2": "libx264", "f4v": "libx264", "hevc": "libx265"}
    others = {"m2v", "mjpg", "265", "dv", "divx", "apng"}
    for suffix, codec in kinds.items():
        video(tmp_path / f"{suffix}.{suffix}", count=3, codec=codec)
    for suffix in others:
        (tmp_path / f"{suffix}.{suffix}").touch()
    found = find_inputs([str(tmp_path)])
    assert {one.name for one in found} == {*kinds, *others}
    for one in found:
        if one.name in kinds:
            with contextlib.closing(one.source()) as source:
                source.open("s")
                assert len(list(iter(source.read, None))) == 3, one.name


def test_what_a_shell_makes_of_a_glob_is_one_row(tmp_path: Path):
    for i in range(12):
        (tmp_path / f"f{i}.png").touch()
    (one,) = find_inputs([str(tmp_path / f"f{i}.png") for i in range(12)])
    assert [p.stem for p in one.paths] == [f"f{i}" for i in range(12)]
    assert one.name == tmp_path.name


def test_many_images_are_gathered_in_no_time(tmp_path: Path):
    names = [str(tmp_path / f"f{i}.png") for i in range(3000)]
    for name in names:
        Path(name).touch()
    began = time.process_time()
    (one,) = find_inputs([*names, names[0]])
    # Sorting the row anew at each name took minutes.
    assert time.process_time() - began < 5
    assert [str(p) for p in one.paths] == names


def test_what_macos_leaves_beside_files_is_no_input(tmp_path: Path):
    for name in ("dance.mp4", "f0.png", "f1.png"):
        (tmp_path / name).touch()
        (tmp_path / f"._{name}").write_bytes(b"\0\5\x16\7" + bytes(4092))
    for texts in ([tmp_path], [tmp_path / "*.mp4", tmp_path / "*.png"], [tmp_path / "*.mp4", tmp_path / "f%d.png"]):
        dance, row = find_inputs([str(text) for text in texts])
        assert (dance.name, dance.paths) == ("dance", (tmp_path / "dance.mp4",))
        assert row.paths == (tmp_path / "f0.png", tmp_path / "f1.png")
    assert find_inputs([str(tmp_path / "._dance.mp4")])[0].paths == (tmp_path / "._dance.mp4",)


def test_a_numbered_name_takes_nothing_but_numbers(tmp_path: Path):
    folder = tmp_path / "shoot [1]"
    folder.mkdir()
    for name in ("frame_0001.png", "frame_0002.png", "frame_10000.png", "frame_3.png", "frame_0001_mask.png", "1.png"):
        (folder / name).touch()

    def found(pattern: str) -> list[list[str]]:
        return [[path.name for path in one.paths] for one in find_inputs([str(tmp_path / pattern)])]

    wide = ["frame_0001.png", "frame_0002.png", "frame_10000.png"]
    assert found("shoot [1]/frame_%04d.png") == found("shoot*/frame_%04d.png") == found("**/frame_%04d.png") == [wide]
    assert found("shoot [%d]/frame_%d.png") == found("shoot [1]/frame_%d.png") == [[*wide[:2], "frame_3.png", wide[2]]]
    assert found("shoot [1]/[0-9].png") == [["1.png"]]
    assert found("shoot [1]/*_mask.png") == [["frame_0001_mask.png"]]
    with pytest.raises(SourceNotFound, match="matches no videos"):
        found("shoot [1]/frame_%06d.png")


def test_signs_beside_a_number_are_signs(tmp_path: Path):
    folder = tmp_path / "shoot [1]"
    folder.mkdir()
    for name in (
        "cam_a_0001",
        "cam_a_0002",
        "cam_a_1",
        "cam_b_0001",
        "cam_b_0001_mask",
        "cam_[b]_0001",
        "cam_[b]_0002",
    ):
        (folder / f"{name}.png").touch()

    def found(pattern: str) -> list[str]:
        (one,) = find_inputs([str(tmp_path / pattern)])
        return [path.stem.removeprefix("cam_") for path in one.paths]

    every = ["[b]_0001", "[b]_0002", "a_0001", "a_0002", "b_0001"]
    assert sorted(found("shoot [1]/cam_*_%04d.png")) == sorted(found("*/cam_*_%04d.*")) == sorted(every)
    assert found("shoot [1]/cam_?_%04d.png") == ["a_0001", "a_0002", "b_0001"]
    assert found("shoot [1]/cam_[b]_%d.png") == ["[b]_0001", "[b]_0002"]  # there as it is written
    assert found("shoot [1]/cam_[!b]_%04d.png") == found("shoot [1]/cam_[a-a]_%04d.png") == ["a_0001", "a_0002"]
    with pytest.raises(SourceNotFound, match="matches no videos"):
        found("shoot [1]/cam_*_%09999999999d.png")
    rows = [str(folder / f"cam_{sign}_%04d.png") for sign in ("[b]", "[a]", "?")]
    assert [one.name for one in find_inputs(rows)] == ["cam_[b]", "cam", "cam-2"]


def test_each_pattern_is_a_row_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shots").mkdir()
    for take in "AB":
        for i in range(3):
            (tmp_path / "shots" / f"shot{take}_{i:04d}.png").touch()
    numbered = ["shots/shotA_%04d.png", "shots/shotB_%04d.png"]
    for texts in (
        numbered,
        ["shots/shotA_*.png", "shots/shotB_*"],
        [str(Path("shots/shotA_%d.png").absolute()), numbered[1]],
    ):
        found = find_inputs(texts)
        assert [(one.name, [path.name[4] for path in one.paths]) for one in found] == [
            ("shotA", ["A"] * 3), ("shotB", ["B"] * 3),
        ]  # fmt: skip
    assert [one.name for one in find_inputs(numbered[:1])] == ["shots"]
    assert [one.name for one in find_inputs(["shots", *numbered])] == ["shots", "shotA", "shotB"]
    # A shell has made many names of one glob, or of two: these are one row.
    (one,) = find_inputs(sorted(str(path) for path in Path("shots").iterdir()))
    assert (one.name, len(one.paths)) == ("shots", 6)


def test_rows_of_numbered_takes_keep_the_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for take in range(1, 4):
        for i in range(3):
            (tmp_path / f"take{take}_{i:04d}.png").touch()
    texts = ["take1_%04d.png", "take2_*.png", *(f"take3_{i:04d}.png" for i in range(3))]
    assert [one.name for one in find_inputs(texts)] == ["take1", "take2", "take3"]


def test_the_same_recording_is_not_done_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.mp4").touch()
    (tmp_path / "i.png").touch()
    (tmp_path / "link.mp4").symlink_to("a.mp4")
    (tmp_path / "j.png").symlink_to("i.png")
    texts = ["a.mp4", str(tmp_path), str(tmp_path / "a.mp4"), f"../{tmp_path.name}/a.mp4", "link.mp4", "*.png"]
    assert [(i.name, len(i.paths)) for i in find_inputs(texts)] == [("a", 1), (tmp_path.name, 2)]


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        ("x/a.mp4 y/a.mp4", "x_a y_a"),
        ("x/A.mp4 y/a.mp4", "x_A y_a"),
        ("p/x/a.mp4 q/x/a.mp4 q/y/a.mp4", "p_x_a q_x_a q_y_a"),
        ("x/a.mp4 x/a.MOV x/b.mp4", "a_mp4 a_mov b"),
        ("x/a.mp4 x/a.mov y/a.mp4", "x_a_mp4 x_a_mov y_a"),
        ("x/a.mp4 x/A.mp4", "a A-2"),
        ("x/a.mp4 x/a.png", "a_mp4 a_png"),
        ("x/a.mp4 y/a.mp4 z/x_a.mp4", "x_a y_a x_a-2"),
        ("synthetic:?seed=1 synthetic:?seed=2", "synthetic synthetic-2"),
    ],
)
def test_names_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paths: str, names: str):
    monkeypatch.chdir(tmp_path)
    for path in map(Path, paths.split()):
        if "synthetic" not in path.name:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    assert [one.name for one in find_inputs(paths.split())] == names.split()


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("clip (final)", "clip (final)"),
        ("हिन्दी", "हिन्दी"),
        ("ภาษาไทย", "ภาษาไทย"),
        (unicodedata.normalize("NFD", "Tänzérin"), unicodedata.normalize("NFC", "Tänzérin")),
        ("it's [1] 100%, #2 & {x} $y", "it's [1] 100%, #2 & {x} $y"),
        ("_a_", "_a_"),
        ("12:30 a?\n", "12_30 a_"),
        ("...", "recording"),
        ("con", "con_"),
        ("LPT1.take .2", "LPT1_.take .2"),
        ("nul .x", "nul_ .x"),
        ("console", "console"),
        ("x" * 250, "x" * 200),
        (os.fsdecode(b"caf\xe9"), "caf_"),
    ],
)
def test_names_are_kept_but_for_what_no_file_system_takes(tmp_path: Path, stem: str, name: str):
    (tmp_path / f"{stem}.mp4").touch()
    (one,) = find_inputs([str(tmp_path / f"{stem}.mp4")])
    assert one.name == name


def test_such_a_name_goes_all_the_way(command, tmp_path: Path, capfd):  # noqa: F811
    name = "it's [bold] 100%d हिन्दी (1)"
    path, out = video(tmp_path / f"{name}.mp4", count=3), tmp_path / "out [1]"
    options = ["--format", "jsonl,openpose,csv", "--draw", "coco,animate", "--background", "video"]
    for words in ("done, 3 frames", "there already"):
        code, err = command("process", path, "-o", out, *FAST, *options)
        assert code == 0
        assert f"{name}: {words}" in err
        assert f"in {out}" in err
    assert times(out / f"{name}.coco.mp4") == times(path)
    assert json.loads((out / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()[0])["stream"] == name
    assert len(list((out / f"{name}.openpose").glob("*हिन्दी*"))) == 3


def test_a_file_that_comes_later_renames_no_other(command, tmp_path: Path):  # noqa: F811
    folder, out = tmp_path / "fold", tmp_path / "out"
    folder.mkdir()
    names = []
    for suffix in ("mp4", "mov", "mkv"):
        video(folder / f"clip.{suffix}", count=3)
        code, err = command("process", folder, "-o", out, *FAST)
        assert code == 0
        assert err.count("there already") == len(names)
        names.append(f"clip_{suffix}.jsonl" if names else "clip.jsonl")
        assert {path.name for path in out.glob("*.jsonl")} == set(names)
    # Named alone, it is still the same.
    code, err = command("process", folder / "clip.mkv", "-o", out, *FAST)
    assert (code, "clip_mkv: there already" in err) == (0, True)


def test_what_an_earlier_version_has_begun_goes_on_under_its_name(command, tmp_path: Path):  # noqa: F811
    out = tmp_path / "out"
    path = video(tmp_path / "clip (final).mp4", count=3)
    assert command("process", path, "-o", out, *FAST)[0] == 0
    (out / ".streampose" / "clip (final)").rename(out / ".streampose" / "clip_final")
    (out / "clip (final).jsonl").rename(out / "clip_final.jsonl")
    state = out / ".streampose" / "clip_final" / "state.json"
    state.write_text(state.read_text().replace("clip (final).jsonl", "clip_final.jsonl"))
    code, err = command("process", path, "-o", out, *FAST)
    assert (code, "clip_final: there already" in err) == (0, True)
    assert [p.name for p in out.glob("*.jsonl")] == ["clip_final.jsonl"]
    # Another recording in its place is no reason for such a name.
    video(path, count=4)
    assert command("process", path, "-o", out, *FAST)[0] == 0
    assert (out / "clip (final).jsonl").exists()


def test_only_what_is_read_in_another_way_than_before_is_done_anew(tmp_path: Path):
    video(tmp_path / "a.mp4", count=2)
    video(tmp_path / "b.ts", count=2)
    video(tmp_path / "c.mp4", count=2, pixel_aspect=Fraction(4, 3))
    video(tmp_path / "d.mp4", count=2, matrix=(-(1 << 16), 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30))
    turned(tmp_path / "e.mp4")
    video(tmp_path / "f.mp4", count=2, options={"x264-params": "transfer=arib-std-b67"})
    video(tmp_path / "g.mp4", count=2, options={"x264-params": "tff=1"})
    video(tmp_path / "h.mp4", count=2, options={"x264-params": "colorprim=bt2020"})
    anew = [one.read_anew for one in find_inputs([str(tmp_path)])]
    assert anew == [(), ("spliced",), ("square",), ("mirrored",), (), ("hdr",), ("fields",), ("wide",)]


def test_rows_that_begin_with_one_image_keep_a_name_each(command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    Path("shots").mkdir()
    picture = cv2.imencode(".png", np.zeros((48, 64, 3), np.uint8))[1].tobytes()
    for name in ("frame_0001", "frame_0001_mask", "frame_0002", "z"):
        Path("shots", f"{name}.png").write_bytes(picture)
    all_of_it, globbed, numbered = "shots", "shots/frame_*.png", "shots/frame_%04d.png"

    def run(*texts: str) -> dict[str, int]:
        assert command("process", *texts, "-o", "out", *FAST)[0] == 0
        return {path.stem: len(path.read_text().splitlines()) for path in Path("out").glob("*.jsonl")}

    # It is called so alone, and keeps the name also beside the folder whose name it is.
    assert run(numbered) == {"shots": 2}
    both = {"shots": 2, "shots-2": 4}
    assert run(all_of_it, numbered) == both
    assert run(globbed, numbered, all_of_it) == {**both, "frame": 3}
    for texts in ([globbed, numbered, all_of_it], [all_of_it], [numbered, globbed], [globbed], [numbered]):
        code, err = command("process", *texts, "-o", "out", *FAST)
        assert (code, err.count("there already")) == (0, len(texts)), err
    # Also where all of them have changed, no two get one.
    Path("shots/frame_0003.png").write_bytes(picture)
    assert len({one.name for one in find_inputs([globbed, numbered, all_of_it], Path("out"))}) == 3


def test_rows_of_one_name_keep_their_numbers(command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    picture = cv2.imencode(".png", np.zeros((48, 64, 3), np.uint8))[1].tobytes()
    for name in ("frame_0001", "frame_0001_mask", "frame_0002"):
        Path(f"{name}.png").write_bytes(picture)
    texts = ["frame_*.png", "frame_%04d.png"]
    for again in (False, True):
        for order in (texts, texts[::-1]):
            code, err = command("process", *order, "-o", "out", *FAST)
            assert (code, err.count("there already")) == (0, 2 * (again or order != texts)), err
            lines = {path.name: len(path.read_text().splitlines()) for path in Path("out").glob("*.jsonl")}
            assert lines == {"frame.jsonl": 3, "frame-2.jsonl": 2}


@pytest.mark.parametrize("written", ["5", '"a.mp4"', "[[1]]", "null"])
def test_a_state_that_somebody_has_edited_is_no_hindrance(command, tmp_path: Path, written: str):  # noqa: F811
    video(tmp_path / "a.mp4", count=3)
    arguments = ["process", tmp_path, "-o", tmp_path, *FAST]
    assert command(*arguments)[0] == 0
    state = tmp_path / ".streampose" / "a" / "state.json"
    data = json.loads(state.read_text())
    data["state"] |= {"written": json.loads(written), "outputs": json.loads(written)}
    state.write_text(json.dumps(data))
    assert command(*arguments)[0] == 0
    assert "a: there already" in command(*arguments)[1]


def test_a_state_that_goes_while_it_is_looked_for_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    state = tmp_path / ".streampose" / "a" / "state.json"
    state.parent.mkdir(parents=True)
    state.write_text('{"state": {"written": ["b.mp4"]}}')
    (tmp_path / "a.mp4").touch()
    read = Path.read_text

    def once(path: Path, **options: str) -> str:
        text = read(path, **options)
        path.unlink()
        return text

    monkeypatch.setattr(Path, "read_text", once)
    assert [one.name for one in find_inputs([str(tmp_path)], tmp_path)] == ["a"]


def test_one_image_of_a_row_is_not_taken_for_the_row(command, tmp_path: Path):  # noqa: F811
    (tmp_path / "shots").mkdir()
    picture = cv2.imencode(".png", np.zeros((48, 64, 3), np.uint8))[1].tobytes()
    for i in range(3):
        (tmp_path / "shots" / f"{i}.png").write_bytes(picture)
    out = tmp_path / "out"
    for text in ("shots", "shots/0.png", "shots/%d.png"):
        assert command("process", tmp_path / text, "-o", out, *FAST)[0] == 0
    assert {p.name: len(p.read_text().splitlines()) for p in out.glob("*.jsonl")} == {"shots.jsonl": 3, "0.jsonl": 1}


def test_what_was_written_is_no_input(command, tmp_path: Path):  # noqa: F811
    video(tmp_path / "a.mp4", count=3)
    drawn = ["--draw", "coco", "--quiet"]
    assert command("process", tmp_path, "-o", tmp_path, *FAST, *drawn)[0] == 0
    assert command("process", tmp_path, "-o", tmp_path, *FAST, *drawn, "--png")[0] == 0
    assert (tmp_path / "a.coco.mp4").exists()
    (tmp_path / "a.coco.png.part").mkdir()  # as a kill leaves it
    (tmp_path / "a.coco.png.part" / "000000000000.png").touch()
    for text in (tmp_path, tmp_path / "*.mp4", tmp_path / "**" / "*"):
        (one,) = find_inputs([str(text)])
        assert one.paths == (tmp_path / "a.mp4",)
    assert len(find_inputs([str(tmp_path / "a.coco.mp4"), str(tmp_path / "a.coco.png")])) == 2
    # Also when the recording has changed since, and all is to be done again.
    video(tmp_path / "a.mp4", count=4)
    assert command("process", tmp_path, "-o", tmp_path, *FAST, "--quiet")[0] == 0
    assert len(find_inputs([str(tmp_path)])) == 1


def test_a_recording_is_never_written_over(command, tmp_path: Path):  # noqa: F811
    before = video(tmp_path / "a.mp4", count=3).read_bytes()
    (tmp_path / "a.coco.mp4").write_bytes(before)
    inputs = [tmp_path / "a.mp4", tmp_path / "a.coco.mp4"]
    code, err = command("process", *inputs, "-o", tmp_path, *FAST, "--draw", "coco")
    assert (code, "would be written over" in err, err.count("\n")) == (1, True, 1)
    assert (tmp_path / "a.coco.mp4").read_bytes() == before
    (tmp_path / "a.coco.png").mkdir()
    (tmp_path / "a.coco.png" / "000000000000.png").touch()
    code, err = command("process", inputs[0], tmp_path / "a.coco.png", "-o", tmp_path, "--draw", "coco", "--png")
    assert (code, "would be written over" in err) == (1, True)


def test_another_recording_of_one_name_does_not_replace_it(command, tmp_path: Path):  # noqa: F811
    for folder, count in (("x", 3), ("y", 4)):
        (tmp_path / folder).mkdir()
        video(tmp_path / folder / "a.mp4", count=count)
    out = tmp_path / "out"
    assert command("process", tmp_path / "x" / "a.mp4", "-o", out, *FAST, "--quiet")[0] == 0
    before = (out / "a.jsonl").read_bytes()
    code, err = command("process", tmp_path / "y" / "a.mp4", "-o", out, *FAST, "--quiet")
    assert (code, "under the name of a" in err, err.count("\n")) == (1, True, 1)
    assert (out / "a.jsonl").read_bytes() == before
    # Where it has only been moved, it is the same.
    (tmp_path / "x").rename(tmp_path / "z")
    code, err = command("process", tmp_path / "z" / "a.mp4", "-o", out, *FAST)
    assert (code, "there already" in err) == (0, True)


@pytest.mark.skipif(sys.platform != "linux", reason="macOS and Windows have only names of Unicode")
def test_a_name_that_is_not_utf8_is_one_among_others(tmp_path: Path):
    for name in (b"good.mp4", b"caf\xe9.mp4"):
        video(tmp_path / os.fsdecode(name), count=4)
    (tmp_path / os.fsdecode(b"bad\xff.mp4")).write_text("no video")
    out = tmp_path / os.fsdecode(b"out\xfc")
    # A process of its own: what is logged here goes into reports, which have to be UTF-8.
    words = ["process", tmp_path, "-o", out, *FAST, "--format", "jsonl,parquet", "--draw", "openpose-18"]
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-m", "streampose", *words], capture_output=True, encoding="utf-8", timeout=60, check=False
        )
        errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert (done.returncode, len(errors), "cannot be opened as video" in errors[0]) == (1, 1, True), done.stderr
    made = {path.name for path in out.iterdir() if path.is_file()}
    assert made == {
        f"{name}{suffix}" for name in ("good", "caf_") for suffix in (".jsonl", ".parquet", ".openpose-18.mp4")
    }
