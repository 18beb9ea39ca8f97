"""Close-ups and prompts: where the face is, however it is known, and what a segmenter is asked."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from streampose.clip import Moment
from streampose.motion import face_squares, held, key_frames, prompts, words
from streampose.offline.videos import face_video
from streampose.pose import Poses
from streampose.render import CloseUp
from streampose.skeletons import ANIMATION_20, COCO_17, COCO_WHOLEBODY_133


def head(x: float, y: float, size: float, *, whole: bool) -> Poses:
    """Somebody whose face is `size` high around a place, looking at us."""
    skeleton = COCO_WHOLEBODY_133 if whole else COCO_17
    points = np.full((1, len(skeleton), 2), (x, y + 3 * size), np.float32)
    points[0, :5] = np.array([(0, 0.05), (0.12, -0.1), (-0.12, -0.1), (0.23, -0.02), (-0.23, -0.02)]) * size + (x, y)
    if whole:
        angle = np.arange(68) / 68 * 2 * np.pi
        points[0, 23:91] = np.column_stack([0.35 * np.cos(angle), 0.4 * np.sin(angle)]) * size + (x, y)
    return Poses(
        skeleton=skeleton,
        points=points,
        scores=np.ones((1, len(skeleton)), np.float32),
        boxes=np.array([[x - size, y - size, x + size, y + 6 * size]], np.float32),
        box_scores=np.ones(1, np.float32),
        ids=np.ones(1, np.int64),
    )


def clip(poses: list[Poses]) -> list[Moment]:
    return [
        Moment(stream="s", index=i, pts=i, time_base=Fraction(1, 30), size_px=(640, 480), poses=p)
        for i, p in enumerate(poses)
    ]


@pytest.mark.parametrize("whole", [True, False])
def test_the_square_is_around_the_face_and_follows_it(whole: bool):
    frames = clip([head(100 + 3 * i, 120, 60, whole=whole) for i in range(60)])
    for i, moment in enumerate(face_squares(frames)):
        x1, y1, x2, y2 = moment.poses.boxes[0]
        assert x2 - x1 == pytest.approx(y2 - y1, abs=0.1)
        assert 45 < x2 - x1 < 90
        assert (x1 + x2) / 2 == pytest.approx(100 + 3 * i, abs=1.0)
        assert abs((y1 + y2) / 2 - 120) < 15
    padded = next(iter(face_squares(frames, padding=0.5))).poses.boxes[0]
    plain = next(iter(face_squares(frames))).poses.boxes[0]
    assert padded[2] - padded[0] == pytest.approx(2 * (plain[2] - plain[0]), rel=0.01)


def test_points_of_a_face_that_are_not_seen_do_not_count():
    poses = head(100, 120, 60, whole=True)
    (plain,) = face_squares(clip([poses]))
    points, scores = poses.points.copy(), poses.scores.copy()
    points[0, 23], scores[0, 23] = (5000, 5000), 0.1
    (square,) = face_squares(clip([replace(poses, points=points, scores=scores)]))
    assert np.ptp(square.poses.boxes[0, ::2]) == pytest.approx(np.ptp(plain.poses.boxes[0, ::2]), rel=0.1)


def test_of_several_the_first_one_has_the_square():
    one, other = head(100, 120, 60, whole=False), head(400, 120, 60, whole=False)
    arrays = {
        name: np.concatenate([getattr(one, name), getattr(other, name)])
        for name in ("points", "scores", "boxes", "box_scores")
    }
    (square,) = face_squares(clip([Poses(skeleton=COCO_17, **arrays, ids=np.array([1, 2]))]))
    assert len(square.poses) == 1
    assert square.poses.boxes[0, ::2].mean() == pytest.approx(100, abs=1)


def test_a_face_that_is_not_seen_is_filled_in_then_held():
    frames = [head(100, 120, 60, whole=False) for _ in range(200)]
    frames[20:30] = [replace(p, scores=np.zeros_like(p.scores)) for p in frames[20:30]]
    frames[120:] = [Poses.empty(COCO_17)] * 80
    squares = list(face_squares(clip(frames)))
    assert [len(m.poses) for m in squares[:120]] == [1] * 120
    assert not any(len(m.poses) for m in squares[120:])
    assert all(np.allclose(m.poses.boxes, squares[0].poses.boxes, atol=0.1) for m in held(squares))
    late = held(squares[120:], squares[0].poses)
    assert np.allclose(next(late).poses.boxes, squares[0].poses.boxes)


def test_who_stands_in_is_not_filled_in_where_another_one_looks_away():
    other = [replace(head(400, 120, 30, whole=False), ids=np.full(1, 2)) for _ in range(20)]
    largest = [head(100, 120, 60, whole=False) for _ in range(30)]
    largest[25:] = [replace(p, scores=np.zeros_like(p.scores)) for p in largest[25:]]
    moments = clip([*other[:10], *largest, *other[10:]])
    shown = face_video().prepare(lambda: iter(moments))
    assert [m.poses.ids.tolist() for m in shown] == [[2]] * 10 + [[1]] * 30 + [[2]] * 10


def test_a_close_up_shows_the_square_alone():
    image = np.zeros((480, 640, 3), np.uint8)
    image[100:160, 200:260] = (0, 200, 0)
    poses = replace(head(230, 130, 60, whole=False), boxes=np.array([[199.5, 99.5, 259.5, 159.5]], np.float32))
    (moment,) = clip([poses])
    for size in (30, 60, 240):
        picture = CloseUp(size_px=size)(moment, image)
        assert picture.shape == (size, size, 3)
        assert np.abs(picture[2:-2, 2:-2].astype(int) - (0, 200, 0)).max() <= 2
    outside = moment.having(replace(poses, boxes=np.array([[-60.5, -60.5, 59.5, 59.5]], np.float32)))
    assert CloseUp(size_px=64)(outside, np.full_like(image, 255))[:30, :30].max() == 0  # black beyond the picture
    nobody = moment.having(Poses.empty(COCO_17))
    assert CloseUp(size_px=64)(nobody, image).shape == (64, 64, 3)


def test_a_close_up_of_as_many_pixels_moves_none():
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    poses = replace(head(230, 130, 60, whole=False), boxes=np.array([[199.5, 99.5, 259.5, 159.5]], np.float32))
    (moment,) = clip([poses])
    np.testing.assert_array_equal(CloseUp(size_px=60)(moment, image), image[100:160, 200:260])


def test_prompts_are_four_frames_with_points_inside():
    frames = clip([head(100 + i, 120, 60, whole=True) for i in range(10)])
    asked = prompts(lambda: iter(frames))["frames"]
    assert [f["frame"] for f in asked] == [0, 3, 6, 9]
    (person,) = asked[1]["people"]
    assert person["names"] == [ANIMATION_20.points[i] for i in (0, 1, 2, 5, 8, 11, 10, 13)]
    assert len(person["points"]) == len(person["labels"]) == 8
    assert person["box"] == [43.0, 60.0, 163.0, 480.0]
    assert len(person["outline"]) >= 3
    assert [key_frames(n) for n in (0, 1, 2, 4, 9)] == [[], [0], [0, 1], [0, 1, 2, 3], [0, 3, 5, 8]]


@pytest.mark.parametrize("seen", range(3))
def test_who_shows_too_few_points_has_no_outline(seen: int):
    poses = head(100, 120, 60, whole=False)
    (asked, *_) = prompts(lambda: iter(clip([replace(poses, scores=np.float32([np.arange(17) < seen]))])))["frames"]
    assert asked["people"][0]["outline"] == []


def test_no_prompt_is_of_a_frame_in_which_nobody_is():
    nobody = [Poses.empty(COCO_17)]
    frames = clip(nobody * 5 + [head(100, 120, 60, whole=False)] * 3 + nobody * 90 + [head(100, 120, 60, whole=False)])
    asked = prompts(lambda: iter(frames))["frames"]
    assert [(f["frame"], len(f["people"])) for f in asked] == [(5, 1), (6, 1), (7, 1), (98, 1)]
    assert prompts(lambda: iter(clip(nobody * 9))) == {"frames": []}


def test_words_say_what_is_in_sight():
    poses = head(100, 120, 60, whole=False)
    assert words(poses) == "Both arms and both legs are in sight."
    poses.scores[0, [COCO_17.points.index(n) for n in ("left_knee", "right_ankle")]] = 0
    assert words(poses) == "In sight: right arm, left arm; not in sight: right leg, left leg."
    assert words(Poses.empty(COCO_17)) == "Nobody is in sight."
