"""Drawing people: what is touched, what is not, and what can be told apart."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streampose.pose import Poses, Skeleton
from streampose.render import Style, draw_poses
from streampose.render.anatomy import anatomy
from streampose.render.tile import Canvas
from streampose.skeletons import COCO_17, COCO_WHOLEBODY_133, SKELETONS

BONES = Style(boxes=False, ids=False)


def canvas(width: int = 320, height: int = 240, grey: int = 127) -> np.ndarray:
    return np.full((height, width, 3), grey, np.uint8)


def crowd(seed: int, n: int, skeleton: Skeleton = COCO_17, size: tuple[int, int] = (320, 240), out: float = 0) -> Poses:
    """n random people; `out` = how far they may lie outside, in pictures."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(-out, 1 + out, (n, len(skeleton), 2)) * size
    return Poses(
        skeleton=skeleton,
        points=points.astype(np.float32),
        scores=rng.uniform(0, 1, (n, len(skeleton))).astype(np.float32),
        boxes=np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1).astype(np.float32),
        box_scores=np.ones(n, np.float32),
        ids=np.arange(1, n + 1),
    )


def touched(picture: np.ndarray, grey: int = 127) -> np.ndarray:
    return (picture != grey).any(axis=2)


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(0, 4), st.sampled_from(sorted(SKELETONS)), st.floats(0, 2))
def test_draws_near_the_bones_only(seed, n, name, out):
    skeleton, picture, near = SKELETONS[name], canvas(), np.zeros((240, 320), np.uint8)
    poses = crowd(seed, n, skeleton, out=out)
    draw_poses(picture, poses, replace(BONES, line_px=3))
    for points, scores in zip(poses.points, poses.scores, strict=True):
        seen = scores >= BONES.min_score
        for i, j in [*skeleton.edges, *((k, k) for k in range(len(skeleton)))]:
            if seen[i] and seen[j]:
                ends = np.rint(points[[i, j]]).astype(int).tolist()
                cv2.line(near, *ends, 255, 13)
    assert not (touched(picture) & (near == 0)).any()


@given(st.integers(0, 10**6))
def test_boxes_and_labels_stay_at_the_box(seed):
    poses, picture = crowd(seed, 1), canvas()
    draw_poses(picture, replace(poses, scores=poses.scores * 0), Style())
    ys, xs = np.nonzero(touched(picture))
    x1, y1, x2, y2 = poses.boxes[0]
    assert len(ys)
    assert xs.min() >= x1 - 4
    assert xs.max() <= max(x2 + 4, x1 + 30)
    assert ys.min() >= y1 - 30
    assert ys.max() <= y2 + 4


@pytest.mark.parametrize("box", [(40, 0, 140, 200), (240, 120, 340, 230), (-50, 120, 140, 230)])
def test_ids_are_shown_whole_wherever_somebody_is(box: tuple[int, ...]):
    def shown(box: tuple[int, ...]) -> int:
        picture, poses = canvas(), crowd(0, 1)
        poses = replace(poses, scores=poses.scores * 0, boxes=np.array([box], np.float32))
        draw_poses(picture, poses, Style(boxes=False))
        return int(touched(picture).sum())

    assert shown(box) == shown((40, 120, 140, 230)) > 100


def test_what_is_drawn_over_something_covers_it_by_its_opacity():
    canvas = Canvas(9, 9)
    canvas.panel((10, 20, 30), 1.0, 0)
    canvas.panel((50, 60, 70), 0.5, 0)
    tile = canvas.tile()
    assert (tile.colour == (30, 40, 50)).all()
    assert not tile.keep.any()


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.sampled_from(sorted(SKELETONS)))
def test_the_same_every_time_and_in_any_order_of_people(seed, name):
    poses = crowd(seed, 3, SKELETONS[name])
    pictures = [canvas() for _ in range(3)]
    draw_poses(pictures[0], poses, Style())
    draw_poses(pictures[1], poses, Style())
    draw_poses(pictures[2], poses.take(np.array([2, 0, 1])), Style())
    np.testing.assert_array_equal(pictures[0], pictures[1])
    np.testing.assert_array_equal(pictures[0], pictures[2])


def test_nobody_and_nothing_to_see():
    for poses in (Poses.empty(COCO_17), replace(crowd(0, 2), scores=np.zeros((2, 17), np.float32))):
        picture = canvas()
        draw_poses(picture, poses, BONES)
        assert not touched(picture).any()


@pytest.mark.parametrize("flag", ["bones", "points", "boxes", "ids"])
def test_each_part_can_be_drawn_alone(flag):
    none = Style(bones=False, points=False, boxes=False, ids=False)
    picture = canvas()
    draw_poses(picture, crowd(1, 2), none)
    assert not touched(picture).any()
    draw_poses(picture, crowd(1, 2), replace(none, **{flag: True}))
    assert touched(picture).any()


def test_left_right_and_middle_have_their_colours():
    names = ("left_wrist", "right_wrist", "nose")
    poses = crowd(0, 1, COCO_17)
    points = np.zeros((1, 17, 2), np.float32)
    scores = np.zeros((1, 17), np.float32)
    for i, name in enumerate(names):
        points[0, COCO_17.points.index(name)], scores[0, COCO_17.points.index(name)] = (60 + 80 * i, 100), 1
    picture = canvas()
    draw_poses(picture, replace(poses, points=points, scores=scores), replace(BONES, line_px=8))
    colours = [tuple(picture[100, 60 + 80 * i].tolist()) for i in range(3)]
    assert colours == [BONES.left, BONES.right, BONES.middle]


@given(st.floats(0.3, 1), st.floats(0.3, 1))
def test_the_surer_the_more_solid(a, b):
    def contrast(score):
        picture, poses = canvas(), crowd(0, 1)
        points = np.full((1, 17, 2), 100, np.float32)
        scores = np.zeros((1, 17), np.float32)
        scores[0, 5] = np.float32(score)
        draw_poses(picture, replace(poses, points=points, scores=scores), replace(BONES, line_px=8, min_score=0.25))
        return int(np.abs(picture[100, 100].astype(int) - 127).sum())

    assert contrast(max(a, b)) >= contrast(min(a, b)) > 0


def test_moves_by_less_than_a_pixel():
    """A dot at x + 1/4 has its weight there: no jumping from pixel to pixel."""

    def middle(x):
        picture, poses = canvas(grey=0), crowd(0, 1)
        scores = np.zeros((1, 17), np.float32)
        scores[0, 0] = 1
        style = replace(BONES, line_px=10, middle=(255, 255, 255), outline=(0, 0, 0))
        draw_poses(picture, replace(poses, points=np.full((1, 17, 2), x, np.float32), scores=scores), style)
        weight = picture[..., 0].astype(float)
        return (weight.sum(axis=0) * np.arange(320)).sum() / weight.sum()

    for x in (100, 100.25, 100.5, 100.75):
        assert middle(x) == pytest.approx(x, abs=0.15)


def test_wild_numbers_do_no_harm():
    poses = crowd(3, 4, COCO_WHOLEBODY_133)
    points, boxes = poses.points.copy(), poses.boxes.copy()
    points[0], points[1, ::2], points[2] = np.nan, np.inf, 1e30
    boxes[0], boxes[1], boxes[2] = np.nan, -1e30, (-1e9, -1e9, 1e9, 1e9)
    picture = canvas()
    draw_poses(picture, replace(poses, points=points, boxes=boxes), Style())
    assert touched(picture).any()


def test_a_point_far_outside_draws_no_bone_across_the_picture():
    poses, pictures = crowd(3, 1), [canvas(), canvas()]
    wrist = COCO_17.points.index("left_wrist")
    for picture, place, score in zip(pictures, (1e6, 0), (1, 0), strict=True):
        points, scores = poses.points.copy(), np.ones_like(poses.scores)
        points[0, wrist], scores[0, wrist] = place, score
        draw_poses(picture, replace(poses, points=points, scores=scores), BONES)
    np.testing.assert_array_equal(*pictures)


def test_what_joins_left_and_right_is_of_neither_side():
    sides = dict(zip(COCO_17.edges, anatomy(COCO_17).edge_sides, strict=True))
    for name in ("shoulder", "hip"):
        left, right = (COCO_17.points.index(f"{side}_{name}") for side in ("left", "right"))
        assert sides.get((left, right), sides.get((right, left))) == "middle"


def test_the_same_points_may_be_joined_in_another_way():
    for edges in (((0, 1),), ((1, 2), (0, 2)), ()):
        of = anatomy(Skeleton(name="leg", points=("hip", "knee", "ankle"), edges=edges))
        assert tuple(zip(of.starts, of.ends, strict=True)) == edges


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (16, 400), (3840, 2160)])
def test_any_size_of_picture(size):
    picture = canvas(*size)
    draw_poses(picture, crowd(5, 3, COCO_WHOLEBODY_133, size), Style())
    assert touched(picture).any()
