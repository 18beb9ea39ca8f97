"""The laws of retargeting: what stays, what becomes the reference's, and that left and right are alike."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streampose import Poses, Skeleton
from streampose.clip import Moment
from streampose.errors import ConfigError
from streampose.motion import Retargeting, retargeted
from streampose.motion.bones import BONES, body_of
from streampose.skeletons import COCO_17, COCO_WHOLEBODY_133, HALPE_26, LEFT_HAND, RIGHT_HAND

SKELETONS = st.sampled_from([COCO_17, HALPE_26, COCO_WHOLEBODY_133])
SIZE = (640, 480)


@st.composite
def people(draw, skeleton: Skeleton, *, symmetric: bool = False) -> Poses:
    """Somebody in a random pose: a tree of bones, each of random length and direction; hands and face around joints."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    lengths: dict[str, float] = {}
    places = {"neck": rng.uniform(150, 300, 2)}
    for bone in BONES:
        other = bone.child.replace("left_", "right_") if bone.child.startswith("left_") else None
        length = float(rng.uniform(5, 10) if bone.group == "feet" else rng.uniform(20, 80))
        if bone.group in {"shoulders", "hips"} or symmetric:  # the neck is the middle of the shoulders
            length = lengths.get(bone.child.replace("right_", "left_"), length)
        lengths[bone.child] = length
        angle = rng.uniform(0, 2 * np.pi)
        step = length * np.array([np.cos(angle), np.sin(angle)])
        if bone.group in {"shoulders", "hips"} and other is None:
            mate = bone.child.replace("right_", "left_")
            step = places[bone.parent] - places[mate]
        places[bone.child] = places[bone.parent] + step
    points = np.zeros((1, len(skeleton), 2), np.float32)
    for i, name in enumerate(skeleton.points):
        side = "left" if name.startswith("left_") else "right"
        near = places[f"{side}_wrist"] if "hand_" in name else places["nose"] if "face_" in name else places[name]
        points[0, i] = near + (rng.normal(0, 10, 2) if "hand_" in name or "face_" in name else 0)
    low, high = points[0].min(axis=0), points[0].max(axis=0)
    return Poses(
        skeleton=skeleton,
        points=points,
        scores=np.ones((1, len(skeleton)), np.float32),
        boxes=np.array([[*(low - 5), *(high + 5)]], np.float32),
        box_scores=np.ones(1, np.float32),
        ids=np.ones(1, np.int64),
    )


def clip(*frames: Poses) -> list[Moment]:
    return [
        Moment(stream="s", index=i, pts=i, time_base=Fraction(1, 30), size_px=SIZE, poses=poses)
        for i, poses in enumerate(frames)
    ]


def run(driving: list[Poses], reference: Poses, **options) -> list[Moment]:
    moments = clip(*driving)
    return list(retargeted(lambda: iter(moments), reference, (800, 600), Retargeting(**options)))


def directions(poses: Poses) -> np.ndarray:
    body = body_of(poses, 0, 0.3)
    vectors = [body.places[b.child] - body.places[b.parent] for b in BONES if body.length(b) is not None]
    return np.array([v / np.linalg.norm(v) for v in vectors])


OPTIONS = st.fixed_dictionaries(
    {
        "align": st.sampled_from(["reference", "driving"]),
        "anchor": st.sampled_from(["auto", "neck", "hip", "ground"]),
        "scale": st.sampled_from(["auto", "height", "torso", "shoulders"]),
        "pairs": st.sampled_from(["larger", "own"]),
    }
)
ALIGN = st.sampled_from(["reference", "driving"])
ANCHOR = st.sampled_from(["auto", "neck", "hip", "ground"])


@given(data=st.data(), skeleton=SKELETONS, options=OPTIONS)
def test_who_is_their_own_reference_is_not_changed(data, skeleton, options):
    driving = [data.draw(people(skeleton)) for _ in range(2)]
    out = run(driving, driving[0], **options)
    for before, after in zip(driving, out, strict=True):
        assert np.allclose(after.poses.points, before.points, atol=0.01)
        assert np.allclose(after.poses.boxes, before.boxes, atol=0.05)
        assert np.array_equal(after.poses.scores, before.scores)


@given(data=st.data(), skeleton=SKELETONS, anchor=ANCHOR)
def test_lengths_are_the_references(data, skeleton, anchor):
    driving, reference = data.draw(people(skeleton)), data.draw(people(skeleton))
    (out,) = run([driving], reference, anchor=anchor, pairs="own")
    new, wanted = body_of(out.poses, 0, 0.3), body_of(reference, 0, 0.3)
    for bone in BONES:
        if bone.group == "head":  # one ratio for all of it
            continue
        if (length := wanted.length(bone)) is not None:
            assert new.length(bone) == pytest.approx(length, rel=0.01)
    assert out.size_px == (800, 600)


@given(data=st.data(), skeleton=SKELETONS, anchor=ANCHOR)
def test_of_symmetric_people_lengths_are_the_references_in_every_frame(data, skeleton, anchor):
    first, reference = (data.draw(people(skeleton, symmetric=True)) for _ in range(2))
    moved = first.points + 30  # the whole person walks on
    out = run([first, replace(first, points=moved, boxes=first.boxes + 30)], reference, anchor=anchor)
    for moment in out:
        new, wanted = body_of(moment.poses, 0, 0.3), body_of(reference, 0, 0.3)
        for bone in BONES:
            if bone.group != "head" and (length := wanted.length(bone)) is not None:
                assert new.length(bone) == pytest.approx(length, rel=0.01)


@given(data=st.data(), skeleton=SKELETONS, options=OPTIONS)
def test_directions_stay_and_so_do_joint_angles(data, skeleton, options):
    driving, reference = [data.draw(people(skeleton)) for _ in range(2)], data.draw(people(skeleton))
    for before, after in zip(driving, run(driving, reference, **options), strict=True):
        assert np.allclose(directions(after.poses), directions(before), atol=0.01)


def mirrored(poses: Poses, width: int) -> Poses:
    flip = list(poses.skeleton.flip)
    points = poses.points[:, flip].copy()
    points[..., 0] = width - 1 - points[..., 0]
    boxes = poses.boxes[:, [2, 1, 0, 3]].copy()
    boxes[:, [0, 2]] = width - 1 - boxes[:, [0, 2]]
    return replace(poses, points=points, boxes=boxes, scores=poses.scores[:, flip])


@given(data=st.data(), skeleton=SKELETONS, options=OPTIONS)
def test_mirrored_people_give_the_mirror_image(data, skeleton, options):
    driving, reference = [data.draw(people(skeleton)) for _ in range(2)], data.draw(people(skeleton))
    out = run(driving, reference, **options)
    width = 800 if options["align"] == "reference" else SIZE[0]
    turned = run([mirrored(p, SIZE[0]) for p in driving], mirrored(reference, 800), **options)
    for a, b in zip(out, turned, strict=True):
        # What is drawn much larger is rounded as much more coarsely.
        assert np.allclose(mirrored(a.poses, width).points, b.poses.points, rtol=1e-4, atol=0.02)


@given(data=st.data(), skeleton=SKELETONS)
def test_the_references_scale_and_place_are_taken(data, skeleton):
    driving = data.draw(people(skeleton))
    reference = replace(driving, points=driving.points * 2 + 50, boxes=driving.boxes * 2 + 50)
    (out,) = run([driving], reference)
    assert np.allclose(out.poses.points, reference.points, atol=0.02)
    (out,) = run([driving], reference, align="driving")
    assert np.allclose(out.poses.points, driving.points, atol=0.02)


@given(data=st.data(), skeleton=SKELETONS, gone=st.sets(st.integers(0, 16), max_size=12), align=ALIGN)
def test_missing_joints_stay_missing_and_hurt_nobody(data, skeleton, gone, align):
    driving, reference = data.draw(people(skeleton)), data.draw(people(skeleton))
    rows = sorted(gone)
    driving.scores[0, rows] = 0
    (out,) = run([driving], reference, align=align)
    assert np.isfinite(out.poses.points).all()
    assert np.array_equal(out.poses.scores, driving.scores)
    reference.scores[0, rows] = 0
    (out,) = run([driving], reference, align=align)
    assert np.isfinite(out.poses.points).all()


@given(data=st.data(), skeleton=SKELETONS, gone=st.integers(0, 16), options=OPTIONS)
def test_a_point_that_flickers_moves_no_other(data, skeleton, gone, options):
    first, reference = data.draw(people(skeleton)), data.draw(people(skeleton))
    driving = [replace(first, points=first.points + 20 * i, boxes=first.boxes + 20 * i) for i in range(4)]
    whole = run(driving, reference, **options)
    scores = first.scores.copy()
    scores[0, gone] = 0
    for i in (1, 3):
        driving[i] = replace(driving[i], scores=scores)
    others = np.arange(len(skeleton)) != gone
    for a, b in zip(whole, run(driving, reference, **options), strict=True):
        assert np.allclose(a.poses.points[0, others], b.poses.points[0, others], atol=0.02)


def test_half_a_reference_leaves_out_what_it_does_not_show():
    driving, reference = _two()
    knees = [COCO_17.points.index(n) for n in ("left_knee", "right_knee", "left_ankle", "right_ankle")]
    reference.scores[0, knees] = 0
    (whole,), (half,) = run([driving], reference), run([driving], reference, drop_unseen=True)
    assert (whole.poses.scores[0, knees] == 1).all()
    assert (half.poses.scores[0, knees] == 0).all()
    assert half.poses.scores.sum() == 13


def test_half_a_reference_leaves_out_hands_on_wrists_that_it_does_not_show():
    driving, reference = _two(COCO_WHOLEBODY_133)
    reference.scores[0, COCO_WHOLEBODY_133.points.index("left_wrist")] = 0
    (out,) = run([driving], reference, drop_unseen=True)
    assert (out.poses.scores[0, LEFT_HAND] == 0).all()
    assert (out.poses.scores[0, RIGHT_HAND] == 1).all()


def test_hands_and_face_are_optional_and_go_with_their_joints():
    driving, reference = _two(COCO_WHOLEBODY_133)
    (out,) = run([driving], reference)
    names = COCO_WHOLEBODY_133.points
    wrist, hand = names.index("left_wrist"), names.index("left_hand_index_4")
    ratio = body_of(reference, 0, 0.3).measure("shoulders") / body_of(driving, 0, 0.3).measure("shoulders")
    moved = out.poses.points[0, hand] - out.poses.points[0, wrist]
    assert np.allclose(moved, ratio * (driving.points[0, hand] - driving.points[0, wrist]), atol=0.02)
    (out,) = run([driving], reference, hands=False, face=False)
    assert (out.poses.scores[0, 23:] == 0).all()
    assert (out.poses.scores[0, :23] == 1).all()


def _two(skeleton: Skeleton = COCO_17) -> tuple[Poses, Poses]:
    a, b = _drawn(skeleton)
    return replace(a, scores=a.scores.copy()), replace(b, scores=b.scores.copy())


@cache
def _drawn(skeleton: Skeleton) -> tuple[Poses, Poses]:
    found: list[Poses] = []

    @given(a=people(skeleton), b=people(skeleton))
    def keep(a: Poses, b: Poses) -> None:
        found[:] = [a, b]

    keep()
    return found[0], found[1]


def test_whoever_shows_but_their_feet_still_stands_where_they_stood():
    driving, reference = _two()
    ankles = [COCO_17.points.index(f"{side}_ankle") for side in ("left", "right")]
    feet = replace(driving, scores=np.where(np.isin(np.arange(17), ankles), driving.scores, 0))
    whole, out = run([driving, feet], reference)
    assert np.allclose(out.poses.points[0, ankles], whole.poses.points[0, ankles], atol=0.01)


def test_without_a_measure_that_both_show_boxes_say_how_far_somebody_goes():
    one, _ = _two()
    head = replace(one, scores=np.where(np.arange(17) < 5, one.scores, 0))
    half = replace(head, points=head.points / 2, boxes=head.boxes / 2)
    first, then = run([half, replace(half, points=half.points + 10, boxes=half.boxes + 10)], head)
    assert np.allclose(then.poses.points[0, :5] - first.poses.points[0, :5], 20, atol=0.1)


def test_nobody_to_take_from():
    one, _ = _two()
    with pytest.raises(ConfigError, match="nobody is in the reference"):
        run([one], Poses.empty(COCO_17))
    with pytest.raises(ConfigError, match="nobody is in the clip"):
        run([Poses.empty(COCO_17)], one)


@given(poses=people(COCO_17))
def test_what_is_not_known_has_no_place_even_where_every_score_will_do(poses: Poses):
    scores, points = poses.scores.copy(), poses.points.copy()
    wrist = poses.skeleton.points.index("left_wrist")
    scores[0, wrist] = points[0, wrist] = 0
    body = body_of(replace(poses, scores=scores, points=points), 0, 0.0)
    assert "left_wrist" not in body.places
    assert "left_elbow" in body.places


@given(data=st.data())
def test_who_stands_in_for_a_moment_is_not_who_is_measured(data):
    """The one who dances keeps the reference's lengths, whoever passed by before."""
    dancer, other = data.draw(people(COCO_17)), replace(data.draw(people(COCO_17)), ids=np.full(1, 2))
    out = run([other, dancer, dancer], dancer)
    assert np.allclose(out[1].poses.points, dancer.points, atol=0.01)
