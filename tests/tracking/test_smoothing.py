"""The One Euro filter: its laws."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from streampose.errors import ConfigError
from streampose.pose import Poses, Skeleton
from streampose.skeletons import COCO_17
from streampose.tracking import OneEuro, OneEuroOptions

_BOX = np.array([100, 100, 200, 400], np.float32)
walks = st.lists(
    st.tuples(arrays(np.float32, (17, 2), elements=st.floats(-100, 2000, width=32)), st.floats(0, 0.4)),
    min_size=1,
    max_size=6,
)


def person(points: np.ndarray, score: float | np.ndarray = 0.9, who: int = 1) -> Poses:
    return Poses(
        skeleton=COCO_17,
        points=np.asarray(points, np.float32)[None],
        scores=np.broadcast_to(np.float32(score), (1, 17)).copy(),
        boxes=_BOX[None].copy(),
        box_scores=np.ones(1, np.float32),
        ids=np.array([who]),
    )


@given(walks)
def test_stays_finite_and_within_what_was_seen(walk):
    smoother, time_s, seen = OneEuro(), 0.0, []
    for points, dt_s in walk:
        time_s += dt_s
        seen.append(points)
        out = smoother.update(person(points), time_s)
        assert out.points.dtype == np.float32
        assert (out.points[0] >= np.min(seen, axis=0) - 1e-2).all()
        assert (out.points[0] <= np.max(seen, axis=0) + 1e-2).all()


def test_two_frames_of_one_time_are_no_new_beginning():
    smoother = OneEuro()
    for i in range(3):
        before = smoother.update(person(np.full((17, 2), 100 + 10 * i)), i / 30)
    again = smoother.update(person(np.full((17, 2), 200)), 2 / 30)
    np.testing.assert_array_equal(again.points, before.points)


@given(walks, st.sampled_from([0.25, 2, 8]))
def test_near_and_far_are_smoothed_alike(walk, scale):
    near, far, time_s = OneEuro(), OneEuro(), 0.0
    for points, dt_s in walk:
        time_s += dt_s
        small = person(points)
        large = replace(small, points=small.points * np.float32(scale), boxes=small.boxes * np.float32(scale))
        a, b = far.update(small, time_s), near.update(large, time_s)
        np.testing.assert_allclose(a.points * scale, b.points, rtol=1e-5, atol=1e-3)


def test_lying_and_standing_people_are_smoothed_alike_wherever_they_are():
    standing, lying = OneEuro(), OneEuro()
    for i in range(4):
        up = person(np.arange(34).reshape(17, 2) + 9 * i * i)
        down = replace(
            up, points=up.points[..., ::-1] + (50, 900), boxes=up.boxes[:, [1, 0, 3, 2]] + (50, 900, 50, 900)
        )
        a, b = standing.update(up, i / 30), lying.update(down, i / 30)
        np.testing.assert_allclose(a.points[..., ::-1] + (50, 900), b.points, rtol=1e-4)


@given(arrays(np.float32, (17, 2), elements=st.floats(-100, 2000, width=32)), st.lists(st.floats(0, 1), max_size=8))
def test_who_stands_still_stays_as_they_are(points, steps):
    smoother, time_s = OneEuro(), 0.0
    for dt_s in [0, *steps]:
        time_s += dt_s
        out = smoother.update(person(points), time_s)
        np.testing.assert_array_equal(out.points[0], points)
        np.testing.assert_array_equal(out.boxes[0], _BOX)


def test_a_bad_point_neither_moves_the_filter_nor_is_moved():
    smoother = OneEuro()
    still = np.full((17, 2), 150)
    scores = np.full(17, 0.9)
    for i in range(10):
        smoother.update(person(still), i / 30)
    wild, scores[3] = still.copy(), 0.1
    wild[3] = 900
    np.testing.assert_array_equal(smoother.update(person(wild, scores), 10 / 30).points[0], wild)
    np.testing.assert_array_equal(smoother.update(person(still), 11 / 30).points[0], still)


def test_lag_is_what_the_options_say():
    smoother, options, size = OneEuro(), OneEuroOptions(), 300
    for i in range(240):
        x = 600 * i / 60  # two sizes a second
        out = smoother.update(person(np.full((17, 2), [x, 200])), i / 60)
    lag = x - out.points[0, 0, 0]
    most = size / (2 * np.pi * options.beta)
    assert most / 2 < lag < most


def test_the_frame_rate_matters_little():
    def after_a_step(rate):
        smoother = OneEuro(OneEuroOptions(beta=0))
        smoother.update(person(np.zeros((17, 2))), 0)
        for i in range(1, rate // 5 + 1):
            out = smoother.update(person(np.full((17, 2), 100)), i / rate)
        return out.points[0, 0, 0]

    assert after_a_step(30) == pytest.approx(after_a_step(240), rel=0.06)


def test_each_person_has_their_own_and_is_forgotten():
    smoother = OneEuro(OneEuroOptions(forget_s=0.5))
    here, there = np.full((17, 2), 100), np.full((17, 2), 800)
    smoother.update(person(here, who=1), 0)
    np.testing.assert_array_equal(smoother.update(person(there, who=2), 0.1).points[0], there)
    assert smoother.update(person(there, who=1), 0.2).points[0, 0, 0] < 800  # still known
    np.testing.assert_array_equal(smoother.update(person(here, who=1), 0.8).points[0], here)  # not any more
    for i in range(100):
        smoother.update(person(here, who=i), 1 + i)
    assert len(smoother._people) == 1


@pytest.mark.parametrize("restart", ["reset", "backwards"])
def test_a_new_epoch_starts_anew(restart):
    smoother = OneEuro()
    smoother.update(person(np.zeros((17, 2))), 5)
    if restart == "reset":
        smoother.reset()
    out = smoother.update(person(np.full((17, 2), 100)), 5.03 if restart == "reset" else 4)
    assert (out.points == 100).all()


def test_a_point_that_was_not_seen_for_long_starts_anew():
    smoother, scores = OneEuro(OneEuroOptions(forget_s=0.5)), np.full(17, 0.9)
    here, there = np.zeros((17, 2)), np.full((17, 2), 500)
    smoother.update(person(here), 0)
    scores[3] = 0.1
    for step in range(1, 8):
        smoother.update(person(here, scores), step / 10)
    points = smoother.update(person(there), 0.8).points[0]
    assert points[3].tolist() == [500, 500]
    assert (np.delete(points, 3, axis=0) < 500).all()  # the others were there all the time


def test_another_skeleton_of_the_same_name_starts_anew():
    smoothing = OneEuro()
    for time_s, names in enumerate((("hip", "knee", "ankle"), ("hip", "knee", "heel", "toe"), ("toe", "heel"))):
        leg = Skeleton(name="leg", points=names, edges=())
        at = np.full((1, len(names), 2), 10.0 * time_s, np.float32)
        box = np.array([[0, 0, 9, 9]], np.float32)
        one, ids = np.ones((1, len(names)), np.float32), np.array([1])
        poses = Poses(skeleton=leg, points=at, scores=one, boxes=box, box_scores=one[:, 0], ids=ids)
        np.testing.assert_array_equal(smoothing.update(poses, float(time_s)).points, at)


def test_after_a_new_epoch_it_smooths_again():
    smoother = OneEuro()
    for time_s in (10, 0):
        smoother.update(person(np.zeros((17, 2))), time_s)
    assert (smoother.update(person(np.full((17, 2), 500)), 0.04).points < 500).all()


def test_somebody_without_a_size_stays_finite():
    smoother = OneEuro()
    for step in range(3):
        flat = replace(person(np.full((17, 2), step)), boxes=np.zeros((1, 4), np.float32))
        assert np.isfinite(smoother.update(flat, step / 25).points).all()


def test_needs_ids_and_a_time():
    with pytest.raises(ValueError, match="Tracker"):
        OneEuro().update(Poses.empty(COCO_17), 0)
    with pytest.raises(ValueError, match="finite"):
        OneEuro().update(person(np.zeros((17, 2))), float("inf"))


def test_nobody():
    nobody = replace(Poses.empty(COCO_17), ids=np.zeros(0, np.int64))
    assert len(OneEuro().update(nobody, 0)) == 0


@pytest.mark.parametrize("name", ["min_cutoff_hz", "beta", "speed_cutoff_hz", "min_score", "forget_s"])
def test_options_that_make_no_sense_are_refused(name: str):
    for value in (-1.0, math.nan) + ((math.inf,) if name.endswith(("_hz", "beta")) else ()):
        with pytest.raises(ConfigError, match=f"^{name} is at least 0.*, not {value}$"):
            OneEuroOptions(**{name: value})
    OneEuroOptions(**{name: 0.0})
