"""Videos in pieces: cut off at any moment, nothing is lost."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from test_sinks import disk

from streampose.clip import Moment
from streampose.errors import FormatUnreadable, SinkFailed, SourceCorrupt
from streampose.frame import Image
from streampose.offline.drawing import Drawing, draw
from streampose.offline.spool import read_spool
from streampose.offline.videos import face_video
from streampose.pose import Poses
from streampose.skeletons import COCO_17
from streampose.sources import ImagesSource

COUNT = 23


class Black:
    """Paints nothing."""

    alpha = False

    def __init__(self, *, wants_image: bool = False) -> None:
        self.wants_image = wants_image

    def sized(self, size_px: tuple[int, int]) -> Black:
        return self

    def __call__(self, moment: Moment, image: Image | None) -> Image:
        return np.zeros((32, 32, 3), np.uint8)


def again() -> Iterator[Moment]:
    for i in range(COUNT):
        yield Moment(
            stream="s", index=i, pts=i, time_base=Fraction(1, 30), size_px=(32, 32), poses=Poses.empty(COCO_17)
        )


def images(folder: Path) -> None:
    draw(Drawing(suffix=".x.png", painter=Black()), again, lambda _: None, folder / "a.x.png", folder / "w", rate=None)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streampose.offline.drawing._PIECE", 5)


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("where", ["first", "middle", "replacing", "clearing up"])
def test_a_kill_while_images_are_put_together_loses_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, links: bool
):
    real, calls = Path.hardlink_to, 0

    def hardlink(self: Path, target: Path) -> None:
        nonlocal calls
        calls += 1
        if calls == {"first": 1, "middle": 12}.get(where):
            raise KeyboardInterrupt
        if not links:
            raise OSError(errno.EPERM, "not here")
        real(self, target)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "hardlink_to", hardlink)
        if where == "replacing":
            patch.setattr("streampose.offline.drawing.appear_folder", killed)
        if where == "clearing up":
            patch.setattr("streampose.offline.drawing.shutil.rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            images(tmp_path)
    images(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["a.x.png"]
    assert sorted(p.name for p in (tmp_path / "a.x.png").iterdir()) == [f"{i:012d}.png" for i in range(COUNT)]


def test_a_piece_that_lost_images_replaces_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    images(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("streampose.offline.drawing._assemble", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            images(tmp_path)
    next((tmp_path / "w" / "000001").iterdir()).unlink()
    with pytest.raises(SinkFailed, match="22 of 23"):
        images(tmp_path)
    assert len(list((tmp_path / "a.x.png").iterdir())) == COUNT
    images(tmp_path)
    assert len(list((tmp_path / "a.x.png").iterdir())) == COUNT


def test_what_a_file_manager_leaves_beside_images_is_no_hindrance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("streampose.offline.drawing._PIECE", 10)

    def looked_into() -> Iterator[Moment]:
        for moment in again():
            for piece in (tmp_path / "w").glob("0*"):
                (piece / ".DS_Store").touch()
            yield moment

    for _ in range(2):
        (tmp_path / "w").mkdir()
        drawing = Drawing(suffix=".x.png", painter=Black())
        draw(drawing, looked_into, lambda _: None, tmp_path / "a.x.png", tmp_path / "w", rate=None)
        assert sorted(p.name for p in (tmp_path / "a.x.png").iterdir()) == [f"{i:012d}.png" for i in range(COUNT)]
        (tmp_path / "a.x.png" / ".DS_Store").touch()


@pytest.mark.parametrize("name", ["3.png", "5.png"])
def test_what_cannot_be_read_is_no_error_of_what_is_written(tmp_path: Path, name: str):
    row = tmp_path / "row"
    row.mkdir()
    for i in range(COUNT):
        cv2.imwrite(str(row / f"{i}.png"), np.zeros((32, 32, 3), np.uint8))
    (row / name).unlink()
    (row / name).symlink_to("nowhere") if name == "3.png" else (row / name).mkdir()
    drawing = Drawing(suffix=".mp4", painter=Black(wants_image=True))
    with pytest.raises(SourceCorrupt, match=rf"{name} cannot be read: (No such file|Is a directory)"):
        draw(drawing, again, lambda _: ImagesSource(row), tmp_path / "o.mp4", tmp_path / "w", rate=None)
    drawing = Drawing(suffix=".mp4", painter=Black())
    gone = tmp_path / "gone.spool"
    with pytest.raises(FormatUnreadable, match=r"gone\.spool cannot be read: No such file"):
        draw(drawing, lambda: read_spool(gone, "s", COCO_17), lambda _: None, tmp_path / "o.mp4", tmp_path, rate=None)


class Noise(Black):
    """Paints what takes much room."""

    def __call__(self, moment: Moment, image: Image | None) -> Image:
        return np.random.default_rng(moment.index).integers(0, 256, (96, 96, 3), np.uint8)


@pytest.mark.parametrize(("room", "whole"), [("80k", False), ("140k", True)])
def test_a_disk_that_gets_full_is_told_as_that(tmp_path: Path, room: str, whole: bool):
    """While a piece is written, or while all of them, which are whole, are joined."""
    drawing = Drawing(suffix=".mkv", painter=Noise())
    with disk(tmp_path / "disk", f"size={room}") as there:
        words = r"disk/o\.mkv broke off: No space left on device; the same command goes on$"
        with pytest.raises(SinkFailed, match=words):
            draw(drawing, again, lambda _: None, there / "o.mkv", there / "w", rate=None)
        left = [path.name for path in (there / "w").iterdir()]
        assert (len(left) == 5) == whole  # pieces
        assert left
        assert not [name for name in left if name.startswith("part-")]  # there is room for what else is written


def test_of_a_damaged_piece_it_is_told_what_to_do(tmp_path: Path):
    drawing = Drawing(suffix=".mp4", painter=Black())
    (tmp_path / "w").mkdir()
    for i in range(2):  # the second is made anew
        (tmp_path / "w" / f"00000{i}.mp4").write_bytes(bytes(100))
    words = r"joined from its pieces: Invalid data .*; without the folder .*/w the same command makes them anew$"
    with pytest.raises(SinkFailed, match=words):
        draw(drawing, again, lambda _: None, tmp_path / "o.mp4", tmp_path / "w", rate=None)


def test_a_piece_that_was_cut_off_takes_no_room_from_the_next_try(tmp_path: Path):
    """It is as large as nearly the whole disk; the video and its pieces need half of that."""
    drawing = Drawing(suffix=".mkv", painter=Noise())
    with disk(tmp_path / "disk", "size=400k") as there:
        (there / "w").mkdir()
        (there / "w" / "part-000004.mkv").write_bytes(bytes(350 << 10))
        draw(drawing, again, lambda _: None, there / "o.mkv", there / "w", rate=None)
        assert [path.name for path in there.iterdir()] == ["o.mkv"]


def test_an_mkv_whose_last_piece_has_seven_pictures_has_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Of an MKV with so many FFmpeg does not say when they are decoded."""
    monkeypatch.setattr("streampose.offline.drawing._PIECE", COUNT - 7)
    draw(Drawing(suffix=".mkv", painter=Black()), again, lambda _: None, tmp_path / "o.mkv", tmp_path / "w", rate=None)
    with av.open(str(tmp_path / "o.mkv")) as made:
        assert [frame.time for frame in made.decode(video=0)] == pytest.approx([i / 30 for i in range(COUNT)], abs=1e-3)


def test_shots_move_no_frame_in_time(tmp_path: Path):
    pts = [0, 1, 2, 6, 7, 8, 9, 13]
    clip = [replace(m, pts=pts[m.index], epoch=m.index // 3) for m in again() if m.index < len(pts)]
    drawing = Drawing(suffix=".mp4", painter=Black())
    draw(drawing, lambda: iter(clip), lambda _: None, tmp_path / "o.mp4", tmp_path / "w", rate=Fraction(30))
    with av.open(str(tmp_path / "o.mp4")) as made:
        assert [frame.time * 30 for frame in made.decode(video=0)] == pytest.approx(pts, abs=1e-3)


def test_without_ids_the_face_is_that_of_the_largest():
    """Whoever is found first changes from frame to frame."""

    def person(x: float, size: float) -> tuple[np.ndarray, np.ndarray]:
        points = np.full((17, 2), (x, 3 * size))
        points[:5] = np.array([(0, 0), (0.2, -0.1), (-0.2, -0.1), (0.4, 0), (-0.4, 0)]) * size + (x, size)
        return points, np.array([x - size, 0, x + size, 6 * size])

    def two() -> Iterator[Moment]:
        for moment in again():
            people = [person(30, 5), person(200, 20)][:: 1 if moment.index % 2 else -1]
            points, boxes = (np.array(each, np.float32) for each in zip(*people, strict=True))
            ones = np.ones((2, 17), np.float32)
            yield moment.having(
                Poses(skeleton=COCO_17, points=points, scores=ones, boxes=boxes, box_scores=ones[:, 0], ids=None)
            )

    squares = list(face_video(64).prepare(two))
    assert len(squares) == COUNT
    assert all(moment.poses.boxes[0][::2].mean() == pytest.approx(200, abs=3) for moment in squares)
