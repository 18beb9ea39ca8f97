"""What a window shows, without a window."""

from __future__ import annotations

import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from fakes import frame
from hypothesis import given
from hypothesis import strategies as st

from streampose.errors import SourceCorrupt
from streampose.frame import Frame, Image, StreamInfo
from streampose.pose import Poses
from streampose.preview import View
from streampose.preview.keys import Action, action_of
from streampose.preview.view import _placed
from streampose.preview.window import Watched
from streampose.render import Style
from streampose.result import Result, Timing
from streampose.skeletons import COCO_17
from streampose.sources import ImagesSource, Link, LinkState, SyntheticSource

BARE = Style(boxes=False, ids=False)


def result(image: Image, poses: Poses, index: int = 0) -> Result:
    now = time.monotonic()
    timing = Timing(captured_at=now, taken_at=now, inferred_at=now, delivered_at=now, batch_size=1)
    return Result(frame=replace(frame(index), image=image), poses=poses, timing=timing)


def drawn(view: View, width: int = 640, height: int = 360) -> Image:
    view.redraw()
    picture = view.draw(width, height)
    assert picture is not None
    return picture


@pytest.fixture(scope="module")
def person() -> tuple[Frame, Poses]:
    """A drawn figure of 640 × 360 with its true pose and an id."""
    source = SyntheticSource(width_px=640, height_px=360, live=False)
    source.open("s")
    one, poses = source.read(), source.truth(0)
    source.close()
    assert one is not None
    return one, replace(poses, ids=np.array([7]))


@pytest.fixture
def view(person: tuple[Frame, Poses]) -> View:
    view = View("t", "cam", style=BARE, hud=False)
    view.show(result(person[0].image, person[1]))
    return view


def test_a_mirrored_view_is_the_mirror_image(view: View):
    plain = drawn(view)
    view.do(Action.MIRROR)
    mirrored = drawn(view)
    # Anti-aliasing rounds its sixteenths of a pixel the other way.
    assert np.abs(mirrored[:, ::-1].astype(int) - plain).mean() < 0.2
    assert np.abs(mirrored.astype(int) - plain).mean() > 5, "it is no mirror image at all"


@pytest.mark.parametrize(
    ("size", "window"), [((1920, 1080), (1209, 680)), ((640, 480), (640, 480)), ((3000, 1000), (1280, 427))]
)
def test_a_window_begins_no_larger_than_a_laptops_screen(size: tuple[int, int], window: tuple[int, int]):
    view = View("t", "cam")
    view.fit(StreamInfo(width_px=size[0], height_px=size[1], time_base=Fraction(1, 30)))
    assert view.window_size == window


def test_a_source_that_failed_for_good_is_said_to_have_failed(tmp_path: Path):
    (tmp_path / "t.png").write_text("hello")
    view = View("t", "b")
    source = Watched(ImagesSource(tmp_path / "t.png"), view)
    assert view.waits_for == {"source": "opening b"}
    with pytest.raises(SourceCorrupt):
        source.open("b")
    assert view.waits_for == {"source": f"failed: {tmp_path / 't.png'} is not an image that can be read"}
    assert view.over
    # A link that is closed tries nothing again, whatever it was last lost by.
    view.link = Link(state=LinkState.LOST, cause="lost")
    assert not view.over
    trying = drawn(view)
    view.link.state = LinkState.CLOSED
    assert view.over
    failed = drawn(view)
    view.link = None
    assert (drawn(view) == failed).all()
    assert (trying != failed).any()
    cv2.imwrite(str(tmp_path / "t.png"), np.zeros((9, 9, 3), np.uint8))
    source.open("b")
    assert view.waits_for == {}
    assert not view.over


def test_texts_are_not_mirrored(view: View):
    view.do(Action.IDS)
    view.do(Action.HUD)
    plain = drawn(view)
    view.do(Action.MIRROR)
    mirrored = drawn(view)
    height = 40  # the figures stand in the lower left corner
    assert np.abs(plain[-height:, :200].astype(int) - mirrored[-height:, :200]).mean() < 30
    assert np.abs(plain[-height:, :200].astype(int) - mirrored[-height:, :-201:-1]).mean() > 30


def test_left_stays_the_persons_own_left(view: View):
    """The left arm is orange, in the mirror, too, where it is on the other side of the picture."""
    points = np.zeros((1, 17, 2), np.float32)
    left, right = COCO_17.points.index("left_wrist"), COCO_17.points.index("right_wrist")
    points[0, left], points[0, right] = (500, 100), (100, 100)
    scores = np.zeros((1, 17), np.float32)
    scores[0, [left, right]] = 1
    poses = Poses(
        skeleton=COCO_17, points=points, scores=scores, boxes=np.array([[50, 50, 550, 300]], np.float32),
        box_scores=np.ones(1, np.float32),
    )  # fmt: skip
    view.show(result(np.zeros((360, 640, 3), np.uint8), poses))
    assert tuple(drawn(view)[100, 500]) == BARE.left
    view.do(Action.MIRROR)
    mirrored = drawn(view)
    assert tuple(mirrored[100, 639 - 500]) == BARE.left
    assert tuple(mirrored[100, 639 - 100]) == BARE.right


@given(
    st.tuples(st.floats(0, 1000), st.floats(0, 1000)), st.floats(0.25, 4), st.integers(2, 2000)
)  # fmt: skip
def test_mirrored_twice_is_where_it_was(point: tuple[float, float], scale: float, width: int):
    x, y = point
    poses = Poses(
        skeleton=COCO_17, points=np.full((1, 17, 2), point, np.float32), scores=np.ones((1, 17), np.float32),
        boxes=np.array([[x, y, x + 20, y + 30]], np.float32), box_scores=np.ones(1, np.float32),
    )  # fmt: skip
    once = _placed(poses, scale, scale, width)
    twice = _placed(once, 1, 1, width)
    plain = _placed(poses, scale, scale, None)
    np.testing.assert_allclose(twice.points, plain.points, atol=1e-2)
    np.testing.assert_allclose(twice.boxes, plain.boxes, atol=1e-2)
    assert (once.boxes[:, 0] < once.boxes[:, 2]).all()


@pytest.mark.parametrize(("width", "height"), [(640, 360), (1000, 400), (300, 800), (37, 11), (1, 1)])
def test_the_shape_of_the_picture_is_kept(width: int, height: int):
    view = View("t", "cam", hud=False)
    view.show(result(np.full((360, 640, 3), 255, np.uint8), Poses.empty(COCO_17)))
    picture = drawn(view, width, height)
    assert picture.shape == (height, width, 3)
    rows, columns = np.flatnonzero(picture.max(axis=(1, 2))), np.flatnonzero(picture.max(axis=(0, 2)))
    scale = min(width / 640, height / 360)
    assert abs(len(columns) - 640 * scale) <= 1
    assert abs(len(rows) - 360 * scale) <= 1
    assert abs(rows[0] - (height - 1 - rows[-1])) <= 1, "it is not in the middle"


def test_huge_windows_are_stretched_by_the_toolkit(view: View):
    picture = drawn(view, 3840, 2160)
    assert picture.shape == (1080, 1920, 3)


@pytest.mark.parametrize("action", [Action.BOXES, Action.IDS, Action.HUD, Action.HELP, Action.MIRROR])
def test_a_toggle_shows_at_once_and_goes_away_again(view: View, action: Action):
    before = drawn(view)
    view.do(action)
    changed = view.draw(640, 360)
    assert changed is not None
    assert (changed != before).any()
    view.do(action)
    assert (drawn(view) == before).all()


def test_nothing_is_drawn_twice(view: View):
    assert view.draw(640, 360) is not None
    assert view.draw(640, 360) is None
    assert view.draw(641, 360) is not None, "another size is another picture"


def test_a_pause_holds_the_picture_and_toggles_still_work(view: View, person: tuple[Frame, Poses]):
    view.do(Action.PAUSE)
    held = drawn(view)
    view.show(result(np.full_like(person[0].image, 9), Poses.empty(COCO_17), index=1))
    assert (drawn(view) == held).all()
    view.do(Action.BOXES)
    assert (drawn(view) != held).any()
    view.do(Action.PAUSE)
    assert (drawn(view)[180, 320] == 9).all()


def test_a_snapshot_is_what_the_camera_sees(tmp_path: Path, person: tuple[Frame, Poses]):
    view = View("t", "cam", style=BARE, mirror=True, hud=True, snapshots=tmp_path)
    view.do(Action.SNAPSHOT)
    assert list(tmp_path.iterdir()) == [], "there was no picture yet"
    view.show(result(person[0].image, person[1]))
    drawn(view, 320, 180)
    view.do(Action.SNAPSHOT)
    (path,) = tmp_path.iterdir()
    assert path.name.startswith("cam-20")
    assert path.suffix == ".png"
    plain = View("t", "cam", style=BARE, hud=False)
    plain.show(result(person[0].image, person[1]))
    assert (cv2.imread(str(path)) == drawn(plain)).all(), "full size, not mirrored, without figures"
    assert view._notice == f"saved {path}"


def test_a_snapshot_stays_in_its_folder_whatever_its_stream_is_called(tmp_path: Path, person: tuple[Frame, Poses]):
    (folder := tmp_path / "in").mkdir()
    view = View("t", "../hall/1", style=BARE, snapshots=folder)
    view.show(result(person[0].image, person[1]))
    view.do(Action.SNAPSHOT)
    assert [path.name[:10] for path in folder.iterdir()] == ["_hall_1-20"]


def test_a_snapshot_that_cannot_be_written_is_said(tmp_path: Path, view: View):
    view._folder = tmp_path / "none"
    view.do(Action.SNAPSHOT)
    assert view._notice.startswith("no snapshot: ")
    assert view._notice.endswith("No such file or directory")


def test_before_there_is_a_picture_a_card_says_what_is_awaited():
    view = View("t", "cam")
    view.wait_for("camera", "opening cam")
    first = drawn(view)
    assert first.std() > 3, "it is blank"
    view.wait_for("model", "loading m")
    assert (drawn(view) != first).any()


def test_the_cameras_picture_is_shown_until_there_are_results(person: tuple[Frame, Poses]):
    view = View("t", "cam", hud=False)
    view.wait_for("model", "loading m")
    blue = replace(frame(0), image=np.full((360, 640, 3), (200, 0, 0), np.uint8))
    view.show_frame(blue)
    waiting = drawn(view)
    assert tuple(waiting[300, 320]) == (200, 0, 0)
    assert (waiting[:60] != (200, 0, 0)).any(), "nothing says that a model is being loaded"
    view.show(result(person[0].image, person[1]))
    view.show_frame(blue)
    assert tuple(drawn(view)[300, 320]) != (200, 0, 0)


def test_a_camera_that_is_away_is_said(view: View):
    view.link = Link(state=LinkState.UP)
    there = drawn(view)
    view.link.state, view.link.cause = LinkState.LOST, "lost"
    assert (drawn(view)[:60] != there[:60]).any()
    view.link.state, view.link.cause = LinkState.UP, None
    assert (drawn(view) == there).all()


def test_figures_count_gaps_as_drops(person: tuple[Frame, Poses]):
    view = View("t", "cam")
    for index in (5, 6, 9, 10):  # what came before the first result does not count
        view.show(result(person[0].image, person[1], index))
    assert (view._figures().dropped, view._figures().people) == (2, 1)


def test_every_key_means_one_thing():
    assert {action_of(ord(action.key)) for action in Action} == set(Action)
    assert action_of(ord("Q")) is action_of(27) is Action.QUIT
    assert action_of(ord("?")) is Action.HELP
    assert action_of(ord("z")) is None
    assert action_of(0xFF51) is None, "the left arrow, whose lower byte is Q"


def test_the_documentation_has_every_key():
    text = (Path(__file__).parents[2] / "docs" / "preview.md").read_text()
    for action in Action:
        keys = ", ".join(f"`{key}`" for key in action.written.split(", "))
        assert f"| {keys} | {action.meaning} |" in text
