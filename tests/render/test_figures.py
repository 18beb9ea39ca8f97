"""Figures for models: they scale with the picture, keep their colours, and see-through ones say where they are."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streampose.clip import Moment
from streampose.pose import Poses
from streampose.render import PALETTES, FigurePainter, Parts, Style
from streampose.render.palette import HAND_COLOURS
from streampose.skeletons import COCO_17, COCO_WHOLEBODY_133


def standing(size: tuple[int, int] = (320, 240), skeleton=COCO_WHOLEBODY_133) -> Moment:
    """Somebody who fills the picture; hands and face spread out so that their colours can be seen."""
    body = {
        "nose": (50, 15), "left_eye": (53, 12), "right_eye": (47, 12), "left_ear": (56, 14), "right_ear": (44, 14),
        "left_shoulder": (60, 28), "right_shoulder": (40, 28), "left_elbow": (68, 42), "right_elbow": (32, 42),
        "left_wrist": (72, 56), "right_wrist": (28, 56), "left_hip": (56, 56), "right_hip": (44, 56),
        "left_knee": (57, 74), "right_knee": (43, 74), "left_ankle": (58, 92), "right_ankle": (42, 92),
        "left_big_toe": (61, 96), "left_small_toe": (63, 95), "left_heel": (57, 95),
        "right_big_toe": (39, 96), "right_small_toe": (37, 95), "right_heel": (43, 95),
    }  # fmt: skip
    points = np.zeros((len(skeleton), 2))
    for i, name in enumerate(skeleton.points):
        if name in body:
            points[i] = body[name]
    if len(skeleton) == 133:
        angle = np.arange(68) / 68 * 2 * np.pi
        points[23:91] = np.column_stack([50 + 5 * np.cos(angle), 14 + 9 * np.sin(angle)])
        for first, x in ((91, 78), (112, 22)):
            points[first] = (x, 58)
            for finger in range(5):
                for joint in range(4):
                    points[first + 1 + 4 * finger + joint] = (x - 8 + 4 * finger, 62 + 3 * joint)
    points = points / 100 * np.array(size)
    return Moment(
        stream="s",
        index=0,
        pts=0,
        time_base=Fraction(1, 30),
        size_px=size,
        poses=Poses(
            skeleton=skeleton,
            points=points[None].astype(np.float32),
            scores=np.ones((1, len(skeleton)), np.float32),
            boxes=np.array([[0, 0, *size]], np.float32),
            box_scores=np.ones(1, np.float32),
        ),
    )


LOOKS = {**PALETTES, "streampose": Style(boxes=False)}


@pytest.mark.parametrize("name", LOOKS)
@settings(max_examples=8)
@given(factor=st.sampled_from([0.5, 1.5, 2.0, 4.0]))
def test_a_larger_canvas_shows_the_same_larger(name: str, factor: float):
    size = (round(320 * factor), round(240 * factor))
    drawn = FigurePainter(look=LOOKS[name], size_px=size)(standing()).max(axis=2) > 0
    moment = standing()
    # The edge of the first pixel stays the edge of the picture; coordinates count from its centre.
    points = moment.poses.points * factor + (factor - 1) / 2
    there = replace(moment, size_px=size, poses=replace(moment.poses, points=points, boxes=moment.poses.boxes * factor))
    alone = FigurePainter(look=LOOKS[name])(there).max(axis=2) > 0
    assert (drawn & alone).sum() / (drawn | alone).sum() > 0.98
    rows, columns = np.nonzero(drawn)
    assert np.ptp(rows) > 0.7 * size[1]  # from head to foot, in the larger picture's pixels
    assert columns.min() > 0.1 * size[0]


@pytest.mark.parametrize("name", LOOKS)
@pytest.mark.parametrize("skeleton", [COCO_17, COCO_WHOLEBODY_133], ids=lambda s: s.name)
def test_what_is_see_through_says_where_the_figure_is(name: str, skeleton):
    moment = standing(skeleton=skeleton)
    drawn = FigurePainter(look=LOOKS[name])(moment)
    clear = FigurePainter(look=LOOKS[name], background="alpha")(moment)
    assert clear.shape == (240, 320, 4)
    # Over black, it is what is drawn on black; its own colours are not darker at the edges.
    opacity = clear[..., 3:].astype(float) / 255
    assert np.abs(clear[..., :3] * opacity - drawn).max() <= 1
    edges = (clear[..., 3] > 0) & (clear[..., 3] < 255)
    assert edges.any()
    assert clear[edges][:, :3].mean() > 1.2 * drawn[edges].mean()
    assert not drawn[clear[..., 3] == 0].any()
    assert 0.01 < (clear[..., 3] > 0).mean() < 0.3
    grey = np.full((240, 320, 3), 90, np.uint8)
    over = FigurePainter(look=LOOKS[name], background="video")(moment, grey)
    assert (over[clear[..., 3] == 0] == 90).all()


def test_the_picture_is_fitted_in_with_its_shape():
    moment = standing((320, 240))
    image = np.full((240, 320, 3), 200, np.uint8)
    out = FigurePainter(look=PALETTES["coco"], background="video", size_px=(480, 240))(moment, image)
    assert (out[:, :80] == 0).all()
    assert (out[:, 400:] == 0).all()
    assert (out[:, 80:400] > 0).any(axis=(0, 2)).all()


def colours(picture: np.ndarray) -> set[tuple[int, ...]]:
    return {tuple(c) for c in np.unique(picture.reshape(-1, 3), axis=0).tolist()}


def test_hands_have_a_colour_for_each_bone_and_faces_white_dots():
    moment = standing((1280, 960))
    drawn = FigurePainter(look=PALETTES["whole-body"], parts=Parts(hand_width=1.0, width=0.2))(moment)
    assert len(colours(drawn) & set(HAND_COLOURS)) >= 18
    assert (255, 255, 255) in colours(drawn)
    bare = FigurePainter(look=PALETTES["whole-body"], parts=Parts(hands=False, face="none"))(moment)
    assert (255, 255, 255) not in colours(bare)
    assert bare[int(0.68 * 960) :, int(0.74 * 1280) :].max() == 0  # where the left hand was
    weak = FigurePainter(look=PALETTES["whole-body"], parts=Parts(face="weak"))(moment)
    assert (102, 102, 102) in colours(weak)


def test_animate_is_drawn_by_its_numbers():
    moment = standing((832, 480))
    drawn = FigurePainter(look=PALETTES["animate"])(moment)
    # The middle of the right upper arm: limb 3 of the rainbow (255, 170, 0) at 60 %; the elbow's own colour there.
    elbow, shoulder = (moment.poses.points[0, i] for i in (8, 6))
    x, y = np.rint((elbow + shoulder) / 2).astype(int)
    assert np.allclose(drawn[y, x], (0, 102, 153), atol=12)
    x, y = np.rint(elbow).astype(int)
    assert np.allclose(drawn[y, x], (0, 255, 255), atol=12)  # point 3: (255, 255, 0)
    low = replace(moment.poses, scores=np.full_like(moment.poses.scores, 0.45))
    assert FigurePainter(look=PALETTES["animate"])(moment.having(low)).max() == 0
    assert FigurePainter(look=PALETTES["coco"])(moment.having(low)).max() > 0


def test_head_and_body_can_be_left_out():
    moment = standing((640, 480), COCO_17)
    headless = FigurePainter(look=PALETTES["openpose-18"], parts=Parts(head="none"))(moment)
    assert headless[: int(0.2 * 480)].max() == 0
    assert headless[int(0.3 * 480) :].max() > 0
    assert FigurePainter(look=PALETTES["openpose-18"], parts=Parts(width=0))(moment).max() == 0


def test_widths_can_be_said_in_pixels():
    moment, look = standing((640, 480)), PALETTES["openpose-18"]
    usual = look.width.px(480)
    assert np.array_equal(
        FigurePainter(look=look)(moment), FigurePainter(look=look, parts=Parts(width_px=max(1, round(usual))))(moment)
    )
    covered = [(FigurePainter(look=look, parts=Parts(width_px=px))(moment) > 0).mean() for px in (1, 3, 9)]
    assert covered[0] < covered[1] < covered[2]
    hands = [
        (FigurePainter(look=PALETTES["whole-body"], parts=Parts(hand_width_px=px))(moment) > 0).mean() for px in (1, 9)
    ]
    assert hands[0] < hands[1]


def test_nobody_is_an_empty_picture():
    moment = standing()
    nobody = moment.having(Poses.empty(COCO_WHOLEBODY_133))
    for look in LOOKS.values():
        assert FigurePainter(look=look)(nobody).max() == 0


@pytest.mark.parametrize("name", LOOKS)
def test_points_that_are_not_known_are_never_drawn(name: str):
    moment = standing()
    points, scores = moment.poses.points.copy(), moment.poses.scores.copy()
    wrist = moment.poses.skeleton.points.index("left_wrist")
    points[0, [wrist, 40, 100]] = scores[0, [wrist, 40, 100]] = 0  # an arm, a face and a hand, as OpenPose writes it
    poses = replace(moment.poses, points=points, scores=scores)
    look = replace(LOOKS[name], min_score=0.0)
    drawn = FigurePainter(look=look, parts=Parts(min_score=0.0))(moment.having(poses))
    assert drawn[:20, :60].max() == 0
    assert drawn.max() > 0


def test_our_own_style_is_drawn_in_parts_and_widths_too():
    moment, size = standing((640, 480)), (480, 640)

    def shown(**parts) -> np.ndarray:
        return FigurePainter(look=Style(boxes=False), parts=Parts(**parts))(moment).max(axis=2)

    everything = shown()
    thin, wide = (int((shown(width=w, hand_width=0, face="none") > 0).sum()) for w in (0.5, 3.0))
    assert 1.5 * thin < wide
    assert int((shown(width_px=2) > 0).sum()) < int((shown(width_px=12) > 0).sum())
    assert int((shown(hand_width_px=1) > 0).sum()) < int((shown(hand_width_px=9) > 0).sum())
    assert shown(width=0, hand_width=0, face="none").max() == 0
    hands, face = np.s_[int(0.63 * 480) : int(0.72 * 480), int(0.7 * 640) :], np.s_[: int(0.2 * 480)]
    assert everything[hands].max() > 200
    assert shown(hand_width=0)[hands].max() == shown(hands=False)[hands].max() == 0
    assert shown(face="none", head="none")[face].max() == 0
    weak = shown(face="weak", head="weak")[face].max()
    assert 0 < weak < everything[face].max()
    low = moment.having(replace(moment.poses, scores=np.full_like(moment.poses.scores, 0.5)))
    painter = FigurePainter(look=Style(boxes=False), parts=Parts(min_score=0.6))
    assert (painter(low).shape[:2], painter(low).max(), painter(moment).max() > 200) == (size, 0, True)


@pytest.mark.parametrize("name", LOOKS)
def test_over_white_what_is_see_through_is_what_is_drawn_on_white(name: str):
    """Labels and corners of boxes as well, in whatever colours they are."""
    look = Style() if name == "streampose" else LOOKS[name]
    for person in (1, 7, 42):
        moment = standing((640, 480))
        moment = moment.having(
            replace(moment.poses, ids=np.array([person]), boxes=np.array([[30, 60, 610, 470]], np.float32))
        )
        clear = FigurePainter(look=look, background="alpha")(moment)
        opacity = clear[..., 3:].astype(float) / 255
        over = clear[..., :3] * opacity + 255 * (1 - opacity)
        drawn = FigurePainter(look=look, background="video")(moment, np.full((480, 640, 3), 255, np.uint8))
        # OpenCV rounds at smooth edges: nearly everywhere it is the same.
        off = np.abs(over - drawn).max(axis=2)
        assert (off.max() <= 8, (off > 2).mean() < 0.001) == (True, True)
