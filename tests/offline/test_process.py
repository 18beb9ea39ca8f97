"""`streampose process` on real footage: what is cut off goes on, and nothing is lost, twice or different."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from itertools import count, pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import onnx
import pytest
from fakes import FakeEstimator
from test_graphs import fixed
from test_sinks import disk

from streampose.cli.main import main
from streampose.errors import SourceCorrupt, SourceUnsupported
from streampose.formats import load
from streampose.frame import Frame
from streampose.inference.engine import EngineOptions
from streampose.inference.loading import ModelChoice
from streampose.offline.inputs import find_inputs
from streampose.offline.plan import Plan
from streampose.offline.process import Progress, Stage, process
from streampose.sources import Cut, Excerpt, FileSource, ImagesSource

Command = Callable[..., tuple[int, str]]
FAST = ["--device", "cpu", "--sessions", "2", "--threads", "1"]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    def run(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["streampose", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "300")
        with pytest.raises(SystemExit) as caught:
            main()
        return int(caught.value.code or 0), capfd.readouterr().err

    return run


def clip(path: Path, frames: int = 30, *, size: tuple[int, int] = (64, 48), pts: list[int] | None = None) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 600)
        for i in range(frames):
            picture = np.full((size[1], size[0], 3), 8 * i % 256, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            frame.pts, frame.time_base = (pts[i] if pts else 20 * i), Fraction(1, 600)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def times(path: Path) -> list[Fraction]:
    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]


def indices(path: Path) -> list[int]:
    return [json.loads(line)["frame"] for line in path.read_text().splitlines()]


def assert_same(one: Path, other: Path) -> None:
    """Poses byte for byte, videos frame by frame."""
    names = sorted(path.name for path in one.iterdir() if path.is_file())
    assert names == sorted(path.name for path in other.iterdir() if path.is_file())
    for name in names:
        if name.endswith(".mp4"):
            assert times(one / name) == times(other / name)
        elif name.endswith(".npz"):  # a ZIP has the time of day in it
            with np.load(one / name) as a, np.load(other / name) as b:
                assert a.files == b.files
                assert all(np.array_equal(a[key], b[key]) for key in a.files), name
        else:
            assert (one / name).read_bytes() == (other / name).read_bytes(), name


@pytest.mark.assets
@pytest.mark.timeout(300)
def test_killed_at_random_moments_it_gives_what_one_run_gives(assets: Path, tmp_path: Path):
    videos = [assets / "videos" / f"{name}.mp4" for name in ("intel_one_by_one_person", "pose2sim_multi_cam02")]
    options = [*FAST, "--start", "0.5", "--end", "3.5", "--resize", "640", "--quiet", "--format", "jsonl,npz"]
    options += [
        "--clean",
        "--person",
        "largest",
        "--draw",
        "animate,coco",
        "--background",
        "video",
        "--size",
        "160x120",
        "--face-video",
        "96",
    ]
    script = Path(__file__).with_name("kills.py")

    def run(kills: int, seconds: float, out: Path, seed: int = 1) -> tuple[int, int]:
        command = [sys.executable, script, seed, kills, seconds, "--", "process", *videos, "-o", out, *options]
        told = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=280, check=True).stdout
        had, code = map(int, told.split()[-2:])
        return had, code

    began = time.monotonic()
    assert run(0, 0, tmp_path / "one") == (0, 0)
    once = time.monotonic() - began
    kills = rounds = 0
    while kills < 6:  # a run that comes through sooner is looked at, and another begun
        had, code = run(6 - kills, once / 4, out := tmp_path / f"many{rounds}", seed=rounds)
        assert code == 0
        assert_same(tmp_path / "one", out)
        kills, rounds = kills + had, rounds + 1
    assert len(indices(tmp_path / "one" / "intel_one_by_one_person.jsonl")) == 30
    people = [len(moment.poses) for moment in load(tmp_path / "one" / "pose2sim_multi_cam02.jsonl")]
    assert sum(people) > len(people) / 2


def test_what_is_done_is_not_done_again(command: Command, tmp_path: Path):
    out = tmp_path / "out"
    clip(tmp_path / "a.mp4")
    assert command("process", tmp_path / "a.mp4", "-o", out, *FAST)[0] == 0
    before = (out / "a.jsonl").stat().st_mtime_ns
    code, err = command("process", tmp_path / "a.mp4", "-o", out, *FAST)
    assert code == 0
    assert "a: there already" in err
    assert (out / "a.jsonl").stat().st_mtime_ns == before
    # Another second pass needs no model, another input does.
    code, err = command("process", tmp_path / "a.mp4", "-o", out, *FAST, "--no-track")
    assert (code, "30 of them before" in err) == (0, True)
    clip(tmp_path / "a.mp4", 20)
    code, err = command("process", tmp_path / "a.mp4", "-o", out, *FAST)
    assert (code, "before" in err) == (0, False)
    assert indices(out / "a.jsonl") == list(range(20))


def test_a_model_s_own_skeleton_is_that_of_all_that_is_made_of_it(command: Command, tmp_path: Path):
    columns = np.zeros((14, 300), np.float32)
    columns[:, 0] = 32, 24, 40, 40, 0.9, 20, 10, 0.9, 30, 20, 0.9, 40, 40, 0.9
    model = fixed(tmp_path / "m.onnx", {"output0": columns}, (64, 64))
    leg = {"name": "leg", "points": ["hip", "knee", "ankle"], "edges": [[0, 1], [1, 2]]}
    proto = onnx.load(model)
    onnx.helper.set_model_props(proto, {"streampose.card": json.dumps({"family": "yolo-pose", "skeleton": leg})})
    onnx.save(proto, model)
    out, film = tmp_path / "out", clip(tmp_path / "a.mp4", 3)
    again = ["process", film, "-o", out, *FAST, "--model", model]
    for words in (again, [*again, "--no-track"], [*again, "--draw", "streampose"]):  # the first alone loads the model
        code, err = command(*words)
        assert code == 0, err
        made = load(out / "a.jsonl")
        assert [(m.poses.skeleton.points, m.poses.skeleton.edges, len(m.poses)) for m in made] == [
            (("hip", "knee", "ankle"), ((0, 1), (1, 2)), 1)
        ] * 3
    assert command("convert", out / "a.jsonl", tmp_path / "a.npz")[0] == 0
    assert load(tmp_path / "a.npz")[0].poses.skeleton.edges == ((0, 1), (1, 2))
    assert command("render", out / "a.jsonl", film, "-o", tmp_path / "drawn.mp4", "--draw", "streampose")[0] == 0
    for drawn in (out / "a.streampose.mp4", tmp_path / "drawn.mp4"):
        assert pictures(drawn)[0].max() > 100  # over black
    for kind, whose in (("coco", "COCO's 17"), ("openpose", "OpenPose's 25")):
        code, err = command(*again, "--format", kind, "-o", tmp_path / kind)
        assert (code, f"leg has none of {whose} points: write another format" in err) == (1, True), err
        assert [path.name for path in (tmp_path / kind).iterdir()] == [".streampose"], "it is told before any work"


def test_an_output_that_was_taken_away_is_made_again(command: Command, tmp_path: Path):
    clip(tmp_path / "a.mp4")
    arguments = ["process", tmp_path / "a.mp4", "-o", tmp_path / "out", *FAST, "--format", "jsonl,csv"]
    assert command(*arguments)[0] == 0
    text = (tmp_path / "out" / "a.csv").read_text()
    (tmp_path / "out" / "a.csv").unlink()
    assert command(*arguments)[0] == 0
    assert (tmp_path / "out" / "a.csv").read_text() == text


def test_pieces_of_a_drawing_that_is_wanted_no_more_are_removed(command: Command, tmp_path: Path):
    arguments = ["process", clip(tmp_path / "a.mp4", 3), "-o", tmp_path / "out", *FAST]
    for rounds in range(2):  # something is made, and all is there already
        pieces = tmp_path / "out" / ".streampose" / "a" / "video"
        (pieces / "another").mkdir(parents=True)
        (pieces / "another" / "000000.mp4").touch()
        code, err = command(*arguments)
        assert (code, "a: there already" in err, pieces.exists()) == (0, rounds == 1, False)


def test_parts_keep_their_frames_numbers_and_times(command: Command, tmp_path: Path):
    clip(tmp_path / "a.mp4", 40, pts=[i * 20 + i * i for i in range(40)])
    arguments = ["--start", "0.2", "--end", "1", "--every", "3", "--draw", "coco"]
    assert command("process", tmp_path / "a.mp4", "-o", tmp_path / "out", *FAST, *arguments)[0] == 0
    kept = [i for i, t in enumerate(times(tmp_path / "a.mp4")) if 0.2 <= t < 1][::3]
    assert indices(tmp_path / "out" / "a.jsonl") == kept
    assert times(tmp_path / "out" / "a.coco.mp4") == [times(tmp_path / "a.mp4")[i] for i in kept]


def test_the_second_half_of_joined_recordings_keeps_its_pace(command: Command, tmp_path: Path, caplog):
    takes = [clip(tmp_path / f"{name}.ts", 30).read_bytes() for name in "ab"]
    (tmp_path / "joined.ts").write_bytes(b"".join(takes))
    out = tmp_path / "out"
    options = ["--clean", "--draw", "animate", "--background", "video"]  # so it is read twice
    assert command("process", tmp_path / "joined.ts", "-o", out, *FAST, *options)[0] == 0
    assert caplog.text.count("its times begin anew") == 1
    drawn = times(out / "joined.animate.mp4")
    steps = [b - a for a, b in pairwise(drawn)]
    assert steps[:29] == steps[30:] == [Fraction(1, 30)] * 29
    assert Fraction(1, 1000) < steps[29] <= Fraction(1, 30)  # by what the codec says of its rate


def test_folders_globs_and_images_in_a_row(command: Command, tmp_path: Path):
    (tmp_path / "in" / "row").mkdir(parents=True)
    for name in ("b", "a10", "a9"):
        clip(tmp_path / "in" / f"{name}.mp4", 5)
    for i in range(12):
        (tmp_path / "in" / "row" / f"f{i}.png").write_bytes(_png(i))
    out = tmp_path / "out"
    pattern = tmp_path / "in" / "row" / "f%d.png"
    assert command("process", tmp_path / "in", pattern, "-o", out, *FAST, "--quiet")[0] == 0
    assert {p.name: len(indices(p)) for p in out.glob("*.jsonl")} == {
        "a9.jsonl": 5, "a10.jsonl": 5, "b.jsonl": 5, "row.jsonl": 12,
    }  # fmt: skip


def test_each_frame_of_a_row_says_which_image_it_is(command: Command, tmp_path: Path, caplog):
    (tmp_path / "row").mkdir()
    for i in range(9, 13):  # by name alone, 10 comes before 9
        (tmp_path / "row" / f"f{i}.png").write_bytes(_png(i) if i != 11 else b"no png")
    code, err = command("process", tmp_path / "row", "-o", tmp_path / "out", *FAST, "--clean")
    assert (code, "row: done, 3 frames" in err) == (0, True)
    assert caplog.text.count("1 damaged image was left out, the first is f11.png") == 1
    names = json.loads((tmp_path / "out" / "row.images.json").read_text())
    assert [names[i] for i in indices(tmp_path / "out" / "row.jsonl")] == ["f9.png", "f10.png", "f12.png"]
    command("process", tmp_path / "row" / "f9.png", "-o", tmp_path / "out", *FAST)
    assert not (tmp_path / "out" / "f9.images.json").exists()  # it is called so


def _png(value: int, height: int = 48) -> bytes:
    import cv2

    return cv2.imencode(".png", np.full((height, 64, 3), value, np.uint8))[1].tobytes()


@pytest.mark.parametrize("background", ["video", "alpha"])
def test_images_of_several_sizes_make_one_video(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, background: str
):
    monkeypatch.setattr("streampose.offline.drawing._PIECE", 3)
    (tmp_path / "row").mkdir()
    for i in range(8):
        (tmp_path / "row" / f"{i}.png").write_bytes(_png(100, 48 + 8 * i))
    drawn = ["--draw", "coco", "--background", background]
    assert command("process", tmp_path / "row", "-o", tmp_path / "out", *FAST, *drawn)[0] == 0
    with av.open(str(next((tmp_path / "out").glob("row.coco.*")))) as container:
        assert [(f.width, f.height) for f in container.decode(video=0)] == [(64, 48)] * 8


def test_of_an_image_that_cannot_be_read_our_warning_alone_tells(command: Command, tmp_path: Path, caplog):
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_WARNING)  # as it is at first
    (row := tmp_path / "row").mkdir()
    for i in range(2):
        cv2.imwrite(str(row / f"{i}.tif"), np.zeros((48, 64, 3), np.float32 if i else np.uint8))
    code, err = command("process", row, "-o", tmp_path / "out", *FAST)
    assert (code, caplog.text.count("1 damaged image was left out"), "TIFF" in err) == (0, 1, False)


def test_images_stand_for_as_many_frames_a_second_as_is_said(command: Command, tmp_path: Path):
    (tmp_path / "row").mkdir()
    for i in range(6):
        (tmp_path / "row" / f"{i}.png").write_bytes(_png(10 * i))
    out = tmp_path / "out"
    arguments = ["process", tmp_path / "row", "-o", out, *FAST, "--draw", "coco", "--background", "video"]
    for options, rate in (
        ([], 30),
        (["--images-fps", "24"], 24),
        (["--images-fps", "24000/1001"], Fraction(24000, 1001)),
        (["--images-fps", "29.97002997"], Fraction(30000, 1001)),
    ):
        code, err = command(*arguments, *options)
        assert (code, "before" in err) == (0, False)
        assert times(out / "row.coco.mp4") == [i / Fraction(rate) for i in range(6)]
        assert command("render", out / "row.jsonl", tmp_path / "row", "-o", tmp_path / "again.mp4")[0] == 0
        assert times(tmp_path / "again.mp4") == times(out / "row.coco.mp4")
    code, err = command(*arguments, "--images-fps", "0")
    assert (code, "is no rate" in err, err.count("\n")) == (1, True, 1)
    clip(tmp_path / "a.mp4", 3)
    for fps, words in (("24", 1), ("30", 0)):
        code, err = command("process", tmp_path / "a.mp4", "-o", out, *FAST, "--images-fps", fps)
        assert (code, err.count("--images-fps is for images in a row, and none are named")) == (0, words)


def test_files_of_one_name_do_not_meet(command: Command, tmp_path: Path):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        clip(tmp_path / folder / "a.mp4", 4)
    out = tmp_path / "out"
    assert command("process", tmp_path / "x/a.mp4", tmp_path / "y/a.mp4", "-o", out, *FAST)[0] == 0
    assert sorted(p.name for p in out.glob("*.jsonl")) == ["x_a.jsonl", "y_a.jsonl"]


def test_one_of_which_nothing_was_made_keeps_its_name_from_no_other(command: Command, tmp_path: Path):
    out, whole = tmp_path / "out", clip(tmp_path / "a.mp4", 4)
    (tmp_path / "a.mkv").write_bytes(clip(tmp_path / "b.mkv", 4).read_bytes()[:400])
    code, err = command("process", tmp_path / "a.mkv", "-o", out, *FAST)
    assert (code, "a.mkv" in err, (out / "a.jsonl").exists()) == (1, True, False)
    assert command("process", whole, "-o", out, *FAST)[0] == 0
    assert indices(out / "a.jsonl") == [0, 1, 2, 3]
    (tmp_path / "b.mkv").replace(tmp_path / "a.mkv")
    code, err = command("process", tmp_path / "a.mkv", "-o", out, *FAST)
    assert (code, "under the name of a" in err) == (1, True)


def test_who_reads_no_more_of_what_is_said_ends_no_work(tmp_path: Path):
    """As of `streampose process … 2>&1 | head -1`."""
    clips = [clip(tmp_path / f"{name}.mp4", 3) for name in "ab"]
    reader, writer = os.pipe()
    os.close(reader)
    words = [sys.executable, "-m", "streampose", "process", *clips, "-o", tmp_path / "out", *FAST]
    code = subprocess.run(words, stderr=writer, check=False, timeout=60).returncode
    os.close(writer)
    assert (code, [indices(tmp_path / "out" / f"{name}.jsonl") for name in "ab"]) == (0, [[0, 1, 2]] * 2)


async def test_one_that_breaks_off_is_never_called_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (row := tmp_path / "row").mkdir()
    for i in range(3):
        cv2.imwrite(str(row / f"{i}.png"), np.zeros((48, 64, 3), np.uint8))
    inputs = find_inputs([str(row)])
    (row / "2.png").unlink()
    (row / "2.png").mkdir()  # it cannot be read any more
    watched: list[Progress] = []
    stages: list[Stage] = []
    last_work = "streampose.offline.process.shutil.rmtree"
    monkeypatch.setattr(last_work, lambda *_, **__: stages.append(watched[0].stage))
    plan = Plan(choice=ModelChoice(), engine=EngineOptions(device="cpu"))
    out = tmp_path / "out"
    await process(inputs, out, plan, lambda: [FakeEstimator()], stop=asyncio.Event(), watch=watched.extend)
    assert (watched[0].stage, type(watched[0].error)) == (Stage.FAILED, SourceCorrupt)
    assert indices(out / "row.jsonl") == [0, 1]
    assert stages[-1] is Stage.FINISHING


async def test_what_came_before_any_error_of_a_recording_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    read, calls = FileSource.read, count()

    def fails(self: FileSource) -> Frame | None:
        if next(calls) == 3:
            raise SourceUnsupported("of no kind that was thought of")
        return read(self)

    monkeypatch.setattr(FileSource, "read", fails)
    plan = Plan(choice=ModelChoice(), engine=EngineOptions(device="cpu"))
    inputs = find_inputs([str(clip(tmp_path / "a.mp4", 10))])
    (ended,) = await process(inputs, tmp_path / "out", plan, lambda: [FakeEstimator()], stop=asyncio.Event())
    assert (ended.stage, type(ended.error)) == (Stage.FAILED, SourceUnsupported)
    assert indices(tmp_path / "out" / "a.jsonl") == [0, 1, 2]


def test_one_that_is_broken_does_not_hold_up_the_others(command: Command, tmp_path: Path):
    clip(tmp_path / "good.mp4", 5)
    (tmp_path / "bad.mp4").write_text("no video")
    whole = clip(tmp_path / "whole.mkv", 200, size=(320, 240)).read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    out = tmp_path / "out"
    code, err = command("process", tmp_path / "bad.mp4", tmp_path / "good.mp4", tmp_path / "cut.mkv", "-o", out, *FAST)
    assert code == 1
    assert "bad: " in err
    assert "cut.mkv breaks off" in err
    assert indices(out / "good.jsonl") == list(range(5))
    assert 0 < len(indices(out / "cut.jsonl")) < 200
    assert command("process", tmp_path / "cut.mkv", "-o", out, *FAST)[0] == 1  # and not "there already"
    assert not (out / "bad.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--person", "tallest"], "names no person"),
        (["--draw", "cubist"], "no style is called"),
        (["--format", "xml"], "no format is called"),
        (["--start", "soon"], "not a place in a recording"),
        (["--start", "9", "--end", "3"], "the part from 9 s to 3 s is empty"),
        (["--start", "9"], "no frame of a lies in the part"),
        (["--clean", "--no-track"], "need tracking"),
        (["--device", "cuda"], "cuda"),
        (["--draw", "coco", "--size", "833x481"], "a video's size is even"),
        (["--face-video", "65"], "a video's size is even"),
        (["--draw", "coco", "--size", "64x100000"], "at most 16384 pixels a side, not 100000"),
        (["--draw", "coco", "--size", "64x16385", "--png"], "error: what is drawn has at most 16384 pixels a side"),
        (["--face-video", "100000"], "at most 16384 pixels a side, not 100000"),
        (["--png", "--background", "alpha"], "--background, --png are for --draw: name a style"),
        (["--size", "640x360", "--face-video", "64"], "--size is for --draw"),
        (["--line-px", "2", "--head", "weak", "--point-score", "0"], "--line-px, --head, --point-score are for --draw"),
        (["--draw", "coco", "--face-padding", "1"], "--face-padding is for --face-video"),
        (["--draw", "coco", "--png", "--sound"], "--sound is for videos: name a style to --draw, without --png"),
        (["--format", ""], "nothing would be written"),
        ([""], "an input is empty"),
        (["-o", ""], "-o is empty"),
    ],
)
def test_slips_of_the_pen_are_told_in_a_line(command: Command, tmp_path: Path, arguments: list[str], words: str):
    clip(tmp_path / "a.mp4", 3)
    code, err = command("process", tmp_path / "a.mp4", "-o", tmp_path / "out", *arguments)
    assert code == 1
    assert words in err
    assert [line for line in err.splitlines() if line.startswith("error: ")] == err.splitlines()[-1:]


def test_a_device_that_does_not_decode_is_told_once_and_first(command: Command, tmp_path: Path):
    videos = [clip(tmp_path / "a.mp4", 3), clip(tmp_path / "b.mp4", 3)]
    code, err = command("process", *videos, "-o", tmp_path / "out", "--hwaccel", "abacus")
    assert (code, "no device called 'abacus'" in err, err.count("\n")) == (1, True, 1), err
    assert not (tmp_path / "out").exists()


def test_a_part_of_the_second_pass_can_be_switched_off(command: Command, tmp_path: Path, monkeypatch):
    plans = []
    monkeypatch.setattr("streampose.cli.process.start_process", lambda _, __, plan, **___: plans.append(plan) or 0)
    for options in (["--clean"], ["--clean", "--fill", "0s"], ["--clean", "--link", "0", "--calm", "0.1s"]):
        assert command("process", "a.mp4", "-o", tmp_path, *FAST, *options)[0] == 0
    times = [(p.refinement.link_s, p.refinement.fill_s, p.refinement.sigma_s) for p in plans]
    assert times == [(2, 0.5, 0.04), (2, 0, 0.04), (0, 0.5, 0.1)]


def test_two_at_once_do_not_write_into_one_folder(command: Command, tmp_path: Path):
    from filelock import FileLock

    clip(tmp_path / "a.mp4", 3)
    (tmp_path / "out" / ".streampose").mkdir(parents=True)
    with FileLock(tmp_path / "out" / ".streampose" / ".lock"):
        code, err = command("process", tmp_path / "a.mp4", "-o", tmp_path / "out", *FAST)
    assert (code, "another streampose" in err) == (1, True)


def test_a_recording_may_be_called_lock(command: Command, tmp_path: Path):
    clip(tmp_path / "lock.mp4", 3)
    for earlier in (False, True):
        out = tmp_path / f"out{earlier}"
        if earlier:  # versions before left their lock there
            (out / ".streampose").mkdir(parents=True)
            (out / ".streampose" / "lock").touch()
        code, err = command("process", tmp_path / "lock.mp4", "-o", out, *FAST)
        assert (code, indices(out / "lock.jsonl")) == (0, [0, 1, 2]), err


def test_ctrl_c_keeps_what_is_done(tmp_path: Path):
    import signal

    video = "synthetic:?people=1&size=320x240&seconds=12"
    command = [sys.executable, "-m", "streampose", "process", video, "-o", str(tmp_path / "out"), *FAST]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    spool = tmp_path / "out" / ".streampose" / "synthetic" / "found.spool"
    deadline = time.monotonic() + 60
    while not (spool.exists() and spool.stat().st_size > 20_000) and time.monotonic() < deadline:
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    err = running.communicate(timeout=60)[1]
    assert running.returncode == 130
    assert "the same command goes on from here" in err
    assert not (tmp_path / "out" / "synthetic.jsonl").exists()
    again = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert again.returncode == 0
    assert "of them before" in again.stderr
    assert indices(tmp_path / "out" / "synthetic.jsonl") == list(range(360))


@pytest.mark.assets
def test_face_video_prompts_and_report_are_made_and_made_again(command: Command, assets: Path, tmp_path: Path):
    out, video = tmp_path / "out", assets / "videos" / "pose2sim_single_cam03.mp4"
    arguments = ["process", video, "-o", out, *FAST, "--end", "0.5", "--face-video", "96", "--prompts", "--quiet"]
    name = "pose2sim_single_cam03"
    assert command(*arguments, "--clean")[0] == 0
    frames = len(indices(out / f"{name}.jsonl"))
    face = pictures(out / f"{name}.face.mp4")
    assert {picture.shape for picture in face} == {(96, 96, 3)}
    assert times(out / f"{name}.face.mp4") == times(video)[:frames]
    assert np.std([picture.mean() for picture in face]) < 25  # calm: one person's head, not the room
    assert len(json.loads((out / f"{name}.prompts.json").read_text())) > 0
    report = (out / f"{name}.report.json").read_bytes()
    for made in (f"{name}.report.json", f"{name}.prompts.json"):
        (out / made).unlink()
    assert command(*arguments, "--clean")[0] == 0
    assert (out / f"{name}.report.json").read_bytes() == report
    assert (out / f"{name}.prompts.json").exists()
    # With room around it, it is smaller: other pictures, as many.
    assert command(*arguments, "--clean", "--face-padding", "0.5")[0] == 0
    assert np.mean(np.abs(np.subtract(face[5], pictures(out / f"{name}.face.mp4")[5], dtype=int))) > 3
    # Also without ids there is a face.
    assert command(*arguments, "--no-track")[0] == 0
    untracked = pictures(out / f"{name}.face.mp4")
    assert np.mean([np.abs(a.astype(int) - b).mean() for a, b in zip(face, untracked, strict=True)]) < 30


def pictures(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]


def test_contrast_is_for_the_models_alone(command: Command, tmp_path: Path):
    dark = np.tile(np.linspace(10, 30, 64).astype(np.uint8)[None, :, None], (48, 1, 3))
    (tmp_path / "in").mkdir()
    for i in range(3):
        cv2.imwrite(str(tmp_path / "in" / f"{i}.png"), dark)
    looked = Excerpt(ImagesSource(tmp_path / "in"), Cut(contrast=4.0))
    looked.open("in")
    frame = looked.read()
    assert frame is not None
    assert frame.image.mean() > 1.3 * dark.mean()
    looked.close()
    arguments = ["--contrast", "4", "--draw", "coco", "--background", "video", "--quiet"]
    assert command("process", tmp_path / "in", "-o", tmp_path / "out", *FAST, *arguments)[0] == 0
    (drawn, *_) = pictures(tmp_path / "out" / "in.coco.mp4")
    assert np.abs(drawn.astype(int) - dark).max() < 12
    assert command("process", tmp_path / "in", "-o", tmp_path / "out", *FAST, "--contrast", "90")[0] == 1


def test_a_disk_that_is_full_from_the_beginning_is_told_with_the_file(command: Command, tmp_path: Path):
    film = clip(tmp_path / "film.mp4")
    with disk(tmp_path / "disk", "size=16k") as there:
        (there / "fill").write_bytes(bytes(8192))
        code, err = command("process", film, "-o", there / "out", *FAST, "--quiet")
    assert (code, err.count("\n")) == (1, 1), err
    assert f"error: {there}/out/.streampose/film/" in err
