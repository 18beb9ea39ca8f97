"""`convert`, `render`, `retarget`: poses that were kept, without a model or with one for the reference alone."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from test_media import huge_png, large_png, little_memory
from test_run import clip, command, times  # noqa: F401 - fixtures
from test_sinks import disk

from streampose import SyntheticSource, load
from streampose.cli.render import draw_file
from streampose.clip import Moment
from streampose.errors import SinkFailed, SinkUnavailable
from streampose.formats import write
from streampose.formats.jsonl import dump, record_of
from streampose.offline.videos import figure_video
from streampose.render import Parts
from streampose.skeletons import OPENPOSE_25


@pytest.fixture
def walk(tmp_path: Path) -> Path:
    """Thirty frames of a drawn person, with the times of `clip`."""
    source = SyntheticSource(people=1, width_px=320, height_px=240, seconds=2, seed=3, live=False)
    source.open("walk")
    moments = [
        Moment(
            stream="walk",
            index=i,
            pts=i * 512,
            time_base=Fraction(1, 15360),
            size_px=(64, 48),
            poses=replace(source.truth(i), points=source.truth(i).points / 5, boxes=source.truth(i).boxes / 5),
        )
        for i in range(30)
    ]
    write(tmp_path / "walk.jsonl", moments)
    return tmp_path / "walk.jsonl"


def test_there_and_back(command, walk: Path, tmp_path: Path):  # noqa: F811
    before = walk.read_bytes()
    for name in ("a.csv", "b.parquet", "c.npz", "d.jsonl"):
        code, _, err = command("convert", walk, tmp_path / name)
        assert (code, name in err) == (0, True)
        walk = tmp_path / name
    assert walk.read_bytes() == before
    code, _, err = command("convert", walk, tmp_path / "none" / "a.csv")
    assert (code, "create it first" in err) == (1, True)
    code, _, err = command("convert", walk, tmp_path / "a.csv", "--stream", "door")
    assert (code, "no stream 'door'" in err) == (1, True)


def frames(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [
            f.to_ndarray(format="bgra" if f.format.name.startswith("yuva") else "bgr24")
            for f in container.decode(video=0)
        ]


def test_poses_are_drawn_on_black_over_the_video_and_see_through(command, walk: Path, clip: Path, tmp_path: Path):  # noqa: F811
    assert command("render", walk, "-o", tmp_path / "black.mp4", "--draw", "coco", "--size", "128x96")[0] == 0
    assert times(tmp_path / "black.mp4") == times(clip)
    assert frames(tmp_path / "black.mp4")[9].shape == (96, 128, 3)
    assert 0.005 < (frames(tmp_path / "black.mp4")[9] > 60).any(axis=2).mean() < 0.5
    assert command("render", walk, clip, "-o", tmp_path / "over.mp4", "--draw", "openpose-18", "--line-px", "2")[0] == 0
    assert times(tmp_path / "over.mp4") == times(clip)
    over, own = ([float(f[2, 2].mean()) for f in frames(path)] for path in (tmp_path / "over.mp4", clip))
    assert np.allclose(over, own, atol=7)  # each frame upon its own picture: the next is 8 brighter
    assert np.mean(np.abs(np.subtract(over, own))) < 3.5
    assert command("render", walk, "--background", "alpha", "-o", tmp_path / "clear.mov", "--draw", "animate")[0] == 0
    assert times(tmp_path / "clear.mov") == times(clip)
    assert frames(tmp_path / "clear.mov")[0][..., 3].max() == 255
    assert frames(tmp_path / "clear.mov")[0][0, 0, 3] == 0
    assert command("render", walk, "--background", "alpha", "--png", "-o", tmp_path / "png", "--draw", "coco")[0] == 0
    images = sorted((tmp_path / "png").iterdir())
    assert [p.name for p in images] == [f"{i:012d}.png" for i in range(30)]
    assert cv2.imread(str(images[0]), cv2.IMREAD_UNCHANGED).shape == (48, 64, 4)


def test_a_render_without_a_name_leaves_the_video_of_a_run(command, walk: Path, tmp_path: Path, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    (tmp_path / "poses.mp4").write_bytes(b"a run's")
    assert command("render", walk, "--size", "64x48")[0] == 0
    assert (tmp_path / "poses.mp4").read_bytes() == b"a run's"
    assert (tmp_path / "drawn.mp4").stat().st_size > 0


def test_where_nobody_looks_on_a_drawing_says_one_line(command, walk: Path, tmp_path: Path):  # noqa: F811
    code, stdout, err = command("render", walk, "-o", tmp_path / "o.mp4")
    assert (code, stdout, err) == (0, "", f"written: {tmp_path / 'o.mp4'}\n")


def test_a_folder_may_have_a_colon_in_its_name(command, walk: Path, monkeypatch, tmp_path: Path):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    Path("take:2").mkdir()
    for name, options in (("o.mp4", []), ("o.mkv", []), ("o.mov", ["--background", "alpha"])):
        code, _, err = command("render", walk, "-o", f"take:2/{name}", *options)
        assert (code, len(frames(tmp_path / "take:2" / name))) == (0, 30), err


@pytest.mark.parametrize("style", ["streampose", "coco"])
def test_every_option_of_drawing_changes_what_is_drawn(command, walk: Path, tmp_path: Path, style: str):  # noqa: F811
    def drawn(*options: object) -> list[np.ndarray]:
        code, _, err = command("render", walk, "-o", tmp_path / "o.mp4", "--draw", style, "--size", "640x480", *options)
        assert code == 0, err
        return frames(tmp_path / "o.mp4")

    usual = drawn()
    for options in (("--line-width", 3), ("--line-px", 9), ("--head", "none"), ("--point-score", 1)):
        assert any(np.abs(np.subtract(a, b, dtype=int)).max() > 90 for a, b in zip(usual, drawn(*options), strict=True))


def test_images_replace_only_images_of_ours(command, walk: Path, clip: Path, tmp_path: Path):  # noqa: F811
    out = tmp_path / "out"
    out.mkdir()
    (out / "dear.txt").write_text("dear")
    code, _, err = command("render", walk, "--png", "-o", out)
    assert (code, "which is not ours" in err, (out / "dear.txt").exists()) == (1, True, True)
    (out / "dear.txt").unlink()
    for _ in range(2):
        assert command("render", walk, "--png", "-o", out)[0] == 0
        assert len(list(out.iterdir())) == 30
    # A folder of numbered images may be the video itself.
    code, _, err = command("render", walk, out, "--png", "-o", out)
    assert (code, "would overwrite" in err, len(list(out.iterdir()))) == (1, True, 30)
    code, _, err = command("render", walk, clip, "--png", "-o", tmp_path)
    assert (code, "would overwrite" in err, clip.exists()) == (1, True, True)


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights, and FIFOs are not files there")
def test_a_render_follows_a_link_and_replaces_no_fifo(command, walk: Path, tmp_path: Path):  # noqa: F811
    (tmp_path / "link.mp4").symlink_to(tmp_path / "real.mp4")
    os.mkfifo(tmp_path / "fifo.mp4")
    assert command("render", walk, "-o", tmp_path / "link.mp4")[0] == 0
    assert len(times(tmp_path / "real.mp4")) == 30
    code, _, err = command("render", walk, "-o", tmp_path / "fifo.mp4")
    assert (code, "fifo.mp4 is not a file" in err) == (1, True), err
    assert (tmp_path / "fifo.mp4").is_fifo()
    assert (tmp_path / "link.mp4").is_symlink()


def test_a_minus_makes_no_file_called_so(command, walk: Path, monkeypatch, tmp_path: Path):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    for arguments in (["convert", walk, "-", "--format", "csv"], ["run", "synthetic:", "--coco", "-"]):
        code, _, err = command(*arguments)
        assert (code, "standard output" in err, err.count("\n")) == (1, True, 1), err
    assert [path.name for path in tmp_path.iterdir()] == [walk.name]


def test_a_render_that_was_cut_off_goes_on_only_with_the_same(
    command,  # noqa: F811
    walk: Path,
    clip: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("streampose.offline.drawing._PIECE", 5)
    before = load(walk)
    other = [replace(m, stream="nobody", poses=m.poses.take(np.array([], int))) for m in before]
    walk.write_bytes(b"".join(dump(record_of(m)) for m in [*other, *before]))

    def full(*_: object) -> None:
        raise SinkFailed("the disk is full")

    def cut_off(*arguments: object) -> None:
        with monkeypatch.context() as patch:
            patch.setattr("streampose.offline.drawing.join_videos", full)
            assert command("render", walk, *arguments)[0] == 1

    out = ["-o", tmp_path / "o.mp4", "--draw", "coco"]
    cut_off("--stream", "nobody", *out)
    assert command("render", walk, "--stream", "walk", *out)[0] == 0
    assert all((frame > 60).any() for frame in frames(tmp_path / "o.mp4"))
    # Another video of the same name is another, too.
    cut_off(clip, "--stream", "nobody", *out)
    with av.open(str(clip)) as container:
        pts = [frame.pts * frame.time_base for frame in container.decode(video=0)]
    with av.open(str(clip), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in pts:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), 200, np.uint8), "bgr24")))
        container.mux(stream.encode(None))
    assert command("render", walk, clip, "--stream", "nobody", *out)[0] == 0
    assert all(abs(int(frame.mean()) - 200) < 9 for frame in frames(tmp_path / "o.mp4"))


def test_two_do_not_draw_one_video_at_once(walk: Path, tmp_path: Path):
    tried = []

    def meanwhile(*arguments: object, **_: object) -> None:
        with pytest.raises(SinkUnavailable, match="another streampose"):
            draw_file(drawing, walk, None, tmp_path / "o.mp4")
        tried.append(arguments)

    drawing = figure_video("coco", background="black", images=False, size_px=None, parts=Parts())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("streampose.cli.render.draw", meanwhile)
        draw_file(drawing, walk, None, tmp_path / "o.mp4")
    assert len(tried) == 1
    draw_file(drawing, walk, None, tmp_path / "o.mp4")
    assert len(frames(tmp_path / "o.mp4")) == 30
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o.mp4", "walk.jsonl"]


TAKES_TURNS = """
import sys
from pathlib import Path
from streampose.errors import SinkUnavailable
from streampose.offline.lock import locked

out, done = Path(sys.argv[1]), 0
busy = out.with_name("busy")
for _ in range(40):
    try:
        with locked(out, out.parent / ".streampose" / "o.lock"):
            busy.open("x").close()  # fails, if another is in here
            busy.unlink()
            done += 1
    except SinkUnavailable:
        pass
print(done)
"""


def test_many_that_draw_one_video_at_once_are_one_and_refusals(walk: Path, tmp_path: Path):
    """Processes that come and go: each draws the whole video or is refused, and nothing of their locks stays."""
    call = [sys.executable, "-c", TAKES_TURNS, str(tmp_path / "o.mp4")]
    running = [subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    ended = [process.communicate(timeout=100) for process in running]
    assert [process.returncode for process in running] == [0] * 3, ended
    assert sum(int(out) for out, _ in ended) >= 40
    assert [path.name for path in tmp_path.iterdir()] == ["walk.jsonl"]


@pytest.mark.parametrize("images", [False, True])
def test_of_a_drawing_that_failed_only_what_it_can_go_on_with_stays(
    command,  # noqa: F811
    walk: Path,
    clip: Path,  # noqa: F811
    tmp_path: Path,
    images: bool,
):
    out = ["-o", tmp_path / ("o" if images else "o.mp4"), *(["--png"] if images else [])]
    before = sorted(path.name for path in tmp_path.iterdir())
    # The video ends before the poses do: nobody can go on.
    moments = load(walk)
    write(tmp_path / "long.jsonl", [*moments, replace(moments[-1], index=99, pts=99 * 512)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("streampose.offline.drawing._PIECE", 5)
        assert command("render", tmp_path / "long.jsonl", clip, *out)[0] == 1
    (tmp_path / "long.jsonl").unlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    # The disk was full: the same command goes on, and in the end nothing is left.
    with pytest.MonkeyPatch.context() as patch:

        def full(*_: object, **__: object) -> None:
            raise SinkFailed("the disk is full")

        patch.setattr("streampose.offline.drawing._PIECE", 5)
        patch.setattr("streampose.offline.drawing._assemble", full)
        assert command("render", walk, *out)[0] == 1
    (work,) = (tmp_path / ".streampose").iterdir()
    assert len(list(work.iterdir())) == 6
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("streampose.offline.drawing._PIECE", 5)
        assert command("render", walk, *out)[0] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*before, out[1].name])


def test_what_has_no_frames_or_no_size_is_told(command, walk: Path, tmp_path: Path):  # noqa: F811
    (tmp_path / "empty.jsonl").touch()
    write(tmp_path / "walk.openpose", load(walk))
    for name, words in (("empty.jsonl", "no frames in it"), ("walk.openpose", "say --poses-size 1280x720")):
        code, _, err = command("render", tmp_path / name, "-o", tmp_path / "o.mp4")
        assert (code, words in err, err.count("\n")) == (1, True, 1)


def test_openpose_folders_are_drawn_too(command, walk: Path, clip: Path, tmp_path: Path):  # noqa: F811
    folder, ours, theirs = tmp_path / "walk.openpose", tmp_path / "ours.mp4", tmp_path / "theirs.mp4"
    write(folder, load(walk))
    write(tmp_path / "walk25.jsonl", (m.having(m.poses.to(OPENPOSE_25)) for m in load(walk)))
    # Their numbers are a video's: its times and size are theirs.
    for poses, out in ((tmp_path / "walk25.jsonl", ours), (folder, theirs)):
        assert command("render", poses, clip, "-o", out, "--draw", "openpose-25")[0] == 0
    assert times(theirs) == times(clip)
    pairs = zip(frames(ours), frames(theirs), strict=True)
    assert all(np.abs(np.subtract(a, b, dtype=int)).mean() < 1 for a, b in pairs)
    # Without one, the size is said.
    assert (
        command("render", folder, "-o", theirs, "--draw", "openpose-25", "--poses-size", "64x48", "--size", "32x24")[0]
        == 0
    )
    assert times(theirs) == times(clip)
    assert frames(theirs)[9].shape == (24, 32, 3)
    assert 0.005 < (frames(theirs)[9] > 60).any(axis=2).mean() < 0.5
    (folder / "walk_000000000099_keypoints.json").write_text('{"people": []}')
    code, _, err = command("render", folder, clip, "-o", theirs)
    assert (code, "has 30 frames, and none for frame 99 of the poses" in err) == (1, True)


@pytest.mark.parametrize("begin", [0, 7])
def test_frames_that_were_taken_out_of_the_video_are_drawn_upon(
    command,  # noqa: F811
    walk: Path,
    clip: Path,  # noqa: F811
    tmp_path: Path,
    begin: int,
):
    taken = tmp_path / "taken"
    taken.mkdir()
    for i, image in enumerate(frames(clip)):
        cv2.imwrite(str(taken / f"{i + 1:04d}.png"), image)
    write(tmp_path / "part.jsonl", load(walk)[begin:])
    code, _, err = command("render", tmp_path / "part.jsonl", taken, "-o", tmp_path / "o.mp4", "--draw", "coco")
    assert code == 0, err
    over, own = ([float(f[2, 2].mean()) for f in frames(path)] for path in (tmp_path / "o.mp4", clip))
    assert np.allclose(over, own[begin:], atol=7)


def test_poses_of_pixels_as_they_are_stored_lie_upon_their_bodies(command, walk: Path, tmp_path: Path):  # noqa: F811
    """Earlier versions did not make pixels square: the video is wider now than the pictures of its poses."""
    with av.open(str(tmp_path / "wide.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "4"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        picture = np.full((48, 64, 3), 60, np.uint8)
        picture[:, 16:32] = 200
        for _ in range(30):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(stream.encode(None))
    nobody = [m.having(m.poses.take(np.array([], int))) for m in load(walk)]
    write(tmp_path / "nobody.jsonl", nobody)
    out = tmp_path / "o.mp4"
    assert command("render", tmp_path / "nobody.jsonl", tmp_path / "wide.mp4", "-o", out, "--draw", "coco")[0] == 0
    assert np.median(np.abs(np.subtract(frames(out)[5], picture, dtype=int))) < 6
    assert np.abs(np.subtract(frames(out)[5], picture, dtype=int))[:, [2, 8, 20, 28, 40, 61]].max() < 16


def test_pieces_of_poses_of_another_size_or_version_are_not_gone_on_with(walk: Path, tmp_path: Path):
    write(tmp_path / "walk.openpose", load(walk))
    folders = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("streampose.cli.render.draw", lambda *given, **_: folders.append(given[4]))
        drawing = figure_video("coco", background="black", images=False, size_px=(64, 48), parts=Parts())
        for size_px in ((64, 48), (128, 96), (64, 48)):
            draw_file(drawing, tmp_path / "walk.openpose", None, tmp_path / "o.mp4", size_px=size_px)
        # Nor are those of an earlier version that drew in another way.
        patch.setattr("streampose.cli.render.DRAWN", 1)
        draw_file(drawing, tmp_path / "walk.openpose", None, tmp_path / "o.mp4", size_px=(64, 48))
    assert folders[0] == folders[2] != folders[1]
    assert folders[3] not in folders[:3]


@pytest.mark.parametrize("images", [False, True])
def test_openpose_files_that_are_counted_from_one_are_of_the_first_frame(
    command,  # noqa: F811
    walk: Path,
    clip: Path,  # noqa: F811
    tmp_path: Path,
    images: bool,
):
    folder, video = tmp_path / "walk.openpose", tmp_path / "in"
    write(folder, [replace(moment, index=moment.index + 1) for moment in load(walk)])
    if images:
        video.mkdir()
        for i, picture in enumerate(frames(clip), 1):
            cv2.imwrite(str(video / f"f{i:04d}.png"), picture)
        (folder / "walk_000000000030_keypoints.json").unlink()  # nobody looked at the last
    else:
        video = clip
    assert command("render", folder, video, "-o", tmp_path / "o.mp4", "--draw", "openpose-25")[0] == 0
    shown, own = frames(tmp_path / "o.mp4"), frames(clip)
    assert len(shown) == 29 + (not images)
    assert all(abs(float(a[2, 2].mean()) - float(b[2, 2].mean())) < 4 for a, b in zip(shown, own, strict=False))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--background", "video"], "name it after the poses"),
        (["--background", "alpha"], "see-through video is .mov"),
        (["--draw", "coco,animate"], "one style here"),
        (["--size", "33x21"], "even"),
        (["--size", "3²x21"], "is not a size"),
        (["-o", "a.avi"], "video is written as"),
        (["--sound"], "--sound is that of the video: name its file after the poses"),
    ],
)
def test_what_cannot_be_drawn_is_told(command, walk: Path, arguments: list[str], words: str):  # noqa: F811
    code, _, err = command("render", walk, *arguments)
    assert (code, words in err, err.count("\n")) == (1, True, 1)


def test_no_style_is_told_as_that(command, walk: Path, clip: Path, tmp_path: Path):  # noqa: F811
    code, _, err = command("render", walk, clip, "-o", tmp_path / "o.mp4", "--draw", "")
    assert (code, err.count("\n")) == (1, 1)
    assert "--draw is one style here, of streampose, " in err
    assert "--background" not in err


def test_poses_of_another_video_are_told(command, walk: Path, tmp_path: Path):  # noqa: F811
    (tmp_path / "few").mkdir()
    for i in range(3):
        cv2.imwrite(str(tmp_path / "few" / f"{i}.png"), np.zeros((48, 64, 3), np.uint8))
    code, _, err = command("render", walk, tmp_path / "few", "-o", tmp_path / "o.mp4")
    assert (code, "is not in the video" in err) == (1, True)
    assert not (tmp_path / "o.mp4").exists()


def test_retargeting_onto_oneself_changes_nothing(command, walk: Path, tmp_path: Path):  # noqa: F811
    out = tmp_path / "same.jsonl"
    code, _, err = command("retarget", walk, walk, "-o", out, "--keep-reference", tmp_path / "ref.jsonl")
    assert (code, "arms" in err) == (0, True)
    for a, b in zip(load(walk), load(out), strict=True):
        assert np.allclose(a.poses.points, b.poses.points, atol=0.02)
        assert a.pts == b.pts
    assert len(load(tmp_path / "ref.jsonl")) == 1


@pytest.mark.assets
def test_a_picture_is_a_reference(command, walk: Path, assets: Path, tmp_path: Path):  # noqa: F811
    with av.open(str(assets / "videos" / "pose2sim_single_cam03.mp4")) as container:
        image = next(container.decode(video=0)).to_ndarray(format="bgr24")
    cv2.imwrite(str(tmp_path / "ref.jpg"), image)
    out = tmp_path / "moved.jsonl"
    code, _, _ = command("retarget", walk, tmp_path / "ref.jpg", "-o", out, "--keep-reference", tmp_path / "r.jsonl")
    assert code == 0
    assert load(out)[0].size_px == (1088, 1920)
    height = np.ptp(load(out)[0].poses.points[0, :, 1])
    assert height == pytest.approx(np.ptp(load(tmp_path / "r.jsonl")[0].poses.points[0, :, 1]), rel=0.35)
    cv2.imwrite(str(tmp_path / "empty.png"), np.zeros((64, 64, 3), np.uint8))
    code, _, err = command("retarget", walk, tmp_path / "empty.png", "-o", out)
    assert (code, "nobody was found" in err) == (1, True)
    code, _, err = command("retarget", walk, tmp_path / "ref.jpg", "-o", out, "--min-score", "1")
    assert (code, "nobody was found" in err) == (1, True)
    code, _, err = command("retarget", walk, tmp_path / "ref.jpg", "-o", out, "--skeleton", "crab")
    assert (code, "no skeleton is called 'crab'" in err) == (1, True)


def test_nothing_that_is_read_is_overwritten(command, walk: Path, tmp_path: Path):  # noqa: F811
    write(tmp_path / "walk.openpose", load(walk))
    (tmp_path / "link.jsonl").symlink_to(walk)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    new, folder, link = tmp_path / "new.jsonl", tmp_path / "walk.openpose", tmp_path / "link.jsonl"
    for arguments in (
        ("retarget", walk, folder, "-o", new, "--keep-reference", link),
        ("retarget", walk, folder, "-o", walk),
        ("retarget", walk, folder, "-o", folder),
        ("retarget", walk, walk, "-o", new, "--keep-reference", new),
        ("retarget", walk, walk, "-o", tmp_path / "o.openpose", "--keep-reference", tmp_path / "o.openpose" / "r.csv"),
        ("convert", folder, folder),
        ("convert", link, walk),
        ("render", walk, "-o", walk),
    ):
        (tmp_path / "o.openpose").mkdir(exist_ok=True)
        code, _, err = command(*arguments)
        assert (code, "would overwrite" in err, err.count("\n")) == (1, True, 1), (arguments, err)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_what_cannot_be_written_is_told_before_a_model_runs(command, walk: Path, tmp_path: Path):  # noqa: F811
    """The reference is no picture: the model, which would look at it first, would say so."""
    (tmp_path / "anna.png").write_text("no picture")
    (tmp_path / "dear").mkdir()
    for out, words in (("a.txt", "cannot be seen from its name"), ("dear", "cannot be seen from its name")):
        arguments = ("-o", tmp_path / out, "--keep-reference", tmp_path / "anna.jsonl")
        code, _, err = command("retarget", walk, tmp_path / "anna.png", *arguments)
        assert (code, words in err, err.count("\n")) == (1, True, 1), err
        assert not (tmp_path / "anna.jsonl").exists()
    code, _, err = command(
        "retarget", walk, tmp_path / "anna.png", "-o", tmp_path / "o.csv", "--keep-reference", "r.txt"
    )
    assert (code, "r.txt: what it is" in err) == (1, True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "pyarrow", None)
        code, _, err = command("retarget", walk, tmp_path / "anna.png", "-o", tmp_path / "o.parquet")
        assert (code, "Parquet needs pyarrow" in err, err.count("\n")) == (1, True, 1)
        code, _, err = command(
            "process", tmp_path, "-o", tmp_path / "out", "--format", "parquet", "--model", "none.onnx"
        )
        assert (code, "Parquet needs pyarrow" in err, err.count("\n")) == (1, True, 1)


def test_links_to_themselves_are_told(command, walk: Path, clip: Path, tmp_path: Path):  # noqa: F811
    loop = tmp_path / "loop.jsonl"
    loop.symlink_to(loop)
    for arguments, words in (
        (("convert", loop, tmp_path / "o.csv"), "no file at"),
        (("render", loop, "-o", tmp_path / "o.mp4"), "no file at"),
        (("render", walk, loop, "-o", tmp_path / "o.mp4"), "loop.jsonl"),
        (("retarget", walk, loop, "-o", tmp_path / "o.csv"), "no file at"),
        (("run", clip, "--json", loop, "--quiet"), "loop.jsonl cannot be written"),
    ):
        code, _, err = command(*arguments)
        assert (code, words in err, len(err.strip().splitlines())) == (1, True, 1), err
    # What has no end as an output is a name like any other, and is replaced.
    assert command("convert", walk, loop)[0] == 0
    assert loop.read_bytes() == walk.read_bytes()


@pytest.mark.parametrize("name", ["takes [old]", "x[/b]", "[red]a", "50% \\[b]"])
def test_names_that_look_like_markup_are_shown_as_they_are(command, walk: Path, tmp_path: Path, name: str):  # noqa: F811
    (tmp_path / name).parent.mkdir(exist_ok=True)  # one has a slash in it
    for arguments in (
        ("convert", walk, tmp_path / f"{name}.csv"),
        ("render", walk, "-o", tmp_path / f"{name}.mp4"),
        ("retarget", walk, walk, "-o", tmp_path / f"{name}.jsonl"),
    ):
        code, _, err = command(*arguments)
        assert (code, f"{name}." in err, "Traceback" in err) == (0, True, False), err


@pytest.mark.parametrize("options", ["ro", "size=12k"])
def test_a_disk_that_takes_nothing_is_told_with_the_file(command, walk: Path, tmp_path: Path, options: str):  # noqa: F811
    with disk(tmp_path / "disk", options) as there:
        if options != "ro":
            (there / "full").write_bytes(bytes(12 * 1024))
        for arguments in (
            *(
                ("convert", walk, there / f"a.{suffix}")
                for suffix in ("jsonl", "csv", "parquet", "openpose", "coco.json")
            ),
            ("retarget", walk, walk, "-o", there / "a.jsonl"),
            ("retarget", walk, walk, "-o", tmp_path / "r.jsonl", "--keep-reference", there / "r.csv"),
            ("render", walk, "-o", there / "a.mp4"),
            ("render", walk, "-o", there / "a", "--png"),
        ):
            code, _, err = command(*arguments)
            assert (code, f"error: {there}" in err, "Traceback" in err) == (1, True, False), (arguments, err)
            if arguments[0] == "convert":
                assert "cannot be written: " in err
                assert [path.name for path in there.iterdir() if path.name != "full"] == []


@pytest.mark.parametrize("who", ["largest", "box"])
def test_of_people_without_ids_one_is_followed(command, tmp_path: Path, who: str):  # noqa: F811
    source = SyntheticSource(people=3, width_px=640, height_px=480, seconds=1, seed=3, live=False)
    source.open("s")
    rng = np.random.default_rng(0)
    truth, moments = [], []
    for i in range(30):
        poses = source.truth(i)
        truth.append(poses)
        shuffled = replace(poses.take(rng.permutation(len(poses))), ids=None)
        moments.append(
            Moment(stream="s", index=i, pts=i, time_base=Fraction(1, 30), size_px=(640, 480), poses=shuffled)
        )
    write(tmp_path / "crowd.openpose", moments)
    areas = np.mean([(p.boxes[:, 2:] - p.boxes[:, :2]).prod(axis=1) for p in truth], axis=0)
    wanted = int(areas.argmax())
    if who != "largest":
        wanted = int(areas.argmin())
        who = "box:" + ",".join(f"{x:.1f}" for x in truth[0].boxes[wanted])
    alone = [m.having(replace(p.take(np.array([wanted])), ids=None)) for m, p in zip(moments, truth, strict=True)]
    write(tmp_path / "alone.openpose", alone)
    for name in ("crowd", "alone"):
        out = tmp_path / f"{name}.jsonl"
        folder = tmp_path / f"{name}.openpose"
        code, _, err = command("retarget", folder, tmp_path / "alone.openpose", "-o", out, "--person", who)
        assert code == 0, err
    for a, b in zip(load(tmp_path / "crowd.jsonl"), load(tmp_path / "alone.jsonl"), strict=True):
        assert np.array_equal(a.poses.points, b.poses.points)
    code, _, err = command("retarget", folder, folder, "-o", tmp_path / "o.csv", "--person", "id:3")
    assert (code, "nobody has the id 3; there are: none" in err) == (1, True)


def test_a_video_is_no_reference_and_not_what_is_written(command, walk: Path, clip: Path, tmp_path: Path):  # noqa: F811
    code, _, err = command("retarget", walk, clip, "-o", tmp_path / "o.jsonl")
    assert (code, "of a video take a frame, or `streampose process` it first" in err, "coco" in err) == (1, True, False)
    code, _, err = command("retarget", walk, walk, "-o", tmp_path / "o.mp4")
    assert (code, "draw them with `streampose render`" in err, err.count("\n")) == (1, True, 1), err


def test_references_that_cannot_be_read_are_told(command, walk: Path, tmp_path: Path):  # noqa: F811
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "huge.png").write_bytes(huge_png())
    (tmp_path / "folder.png").mkdir()
    for name, words in (
        ("empty.png", "is not an image that can be read"),
        ("text.png", "is not an image that can be read"),
        ("huge.png", "is not an image that can be read"),
        ("none.png", "cannot be read: No such file or directory"),
        ("n" * 300 + ".png", "cannot be read: File name too long"),
        ("folder.png", "cannot be read: Is a directory"),
    ):
        code, _, err = command("retarget", walk, tmp_path / name, "-o", tmp_path / "o.jsonl")
        assert (code, words in err, name in err, err.count("\n")) == (1, True, True, 1), err
    (tmp_path / "large.png").write_bytes(large_png())
    with little_memory():
        code, _, err = command("retarget", walk, tmp_path / "large.png", "-o", tmp_path / "o.jsonl")
    assert (code, "large.png cannot be read: Failed to allocate" in err, err.count("\n")) == (1, True, 1), err
