"""Who is who: laws, small stories, and real footage."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streampose.errors import ConfigError
from streampose.pose import Poses
from streampose.skeletons import COCO_17, OPENPOSE_18
from streampose.tracking import OneEuro, Tracker, TrackerOptions
from streampose.tracking.motion import Motion

DATA = Path(__file__).parent / "data"
_FIGURE = np.random.default_rng(0).uniform(0.1, 0.9, (17, 2))


def people(*places: tuple[float, float, float], score: float = 0.9) -> Poses:
    """People at x, y of a height, all of one shape."""
    x, y, height = np.array(places, np.float32).reshape(-1, 3).T
    boxes = np.stack([x, y, x + height / 2, y + height], axis=1)
    corner, size = boxes[:, None, :2], boxes[:, None, 2:] - boxes[:, None, :2]
    return Poses(
        skeleton=COCO_17,
        points=(corner + size * _FIGURE).astype(np.float32),
        scores=np.full((len(places), 17), 0.8, np.float32),
        boxes=boxes,
        box_scores=np.full(len(places), score, np.float32),
    )


def ids(poses: Poses) -> list[int]:
    assert poses.ids is not None
    return list(poses.ids.tolist())


def footage(name: str, min_score: float, every: int = 1) -> Iterator[tuple[float, Poses]]:
    """What RTMDet-nano at 320 pixels and PP-TinyPose saw, quarter-pixel exact, box scores from 0.2 on."""
    with np.load(DATA / f"{name}.npz") as data:
        points, scores, boxes, box_scores = (
            (data[key] / np.float32(unit)).astype(np.float32)
            for key, unit in (("points", 4), ("scores", 255), ("boxes", 4), ("box_scores", 255))
        )
        ends, times = np.cumsum(data["counts"].astype(np.intp)), data["times_s"]
    for i in range(0, len(ends), every):
        rows = np.arange(ends[i - 1] if i else 0, ends[i])
        rows = rows[box_scores[rows] >= min_score]
        yield (
            float(times[i]),
            Poses(
                skeleton=COCO_17,
                points=points[rows],
                scores=scores[rows],
                boxes=boxes[rows],
                box_scores=box_scores[rows],
            ),
        )


places = st.tuples(st.floats(0, 1000), st.floats(0, 500), st.floats(20, 400))
clips = st.lists(
    st.tuples(st.lists(st.tuples(places, st.floats(0.2, 1)), max_size=5), st.floats(0.001, 2)), min_size=1, max_size=6
)


def frames(clip: list[tuple[list[tuple[tuple[float, float, float], float]], float]]) -> Iterator[tuple[float, Poses]]:
    time_s = 0.0
    for crowd, dt_s in clip:
        time_s += dt_s
        poses = people(*(place for place, _ in crowd))
        yield time_s, replace(poses, box_scores=np.array([score for _, score in crowd], np.float32))


@given(clips, st.randoms(use_true_random=False))
def test_the_order_of_people_does_not_matter(clip, random):
    one, other = Tracker(), Tracker()
    for time_s, poses in frames(clip):
        order = np.arange(len(poses))
        random.shuffle(order)
        a, b = one.update(poses, time_s), other.update(poses.take(order), time_s)
        # Two people who are the same in everything may swap.
        assert sorted(zip(a.boxes.tolist(), ids(a), strict=True)) == sorted(zip(b.boxes.tolist(), ids(b), strict=True))


@given(clips)
def test_ids_are_unique_and_count_from_one(clip):
    tracker, seen = Tracker(), set()
    for time_s, poses in frames(clip):
        out = tracker.update(poses, time_s)
        assert out.ids is not None
        assert out.ids.dtype == np.int64
        assert len(set(ids(out))) == len(out)
        assert (poses.box_scores >= 0.5).sum() <= len(out) <= len(poses)  # nobody who is sure to be there is hidden
        seen |= set(ids(out))
    assert seen <= set(range(1, max(seen, default=0) + 1))


@given(clips, st.sampled_from([0.25, 0.5, 2, 16]))
def test_the_scale_of_the_picture_does_not_matter(clip, scale):
    one, other = Tracker(), Tracker()
    for time_s, poses in frames(clip):
        large = replace(poses, points=poses.points * np.float32(scale), boxes=poses.boxes * np.float32(scale))
        assert ids(one.update(poses, time_s)) == ids(other.update(large, time_s))


def test_nobody():
    tracker = Tracker()
    assert ids(tracker.update(Poses.empty(COCO_17), 0)) == []
    assert ids(tracker.update(people((0, 0, 100)), 0.1)) == [1]
    assert ids(tracker.update(Poses.empty(COCO_17), 0.2)) == []
    assert ids(tracker.update(people((1, 0, 100)), 0.3)) == [1]


def test_newcomers_are_numbered_from_left_to_right():
    assert ids(Tracker().update(people((500, 0, 100), (0, 600, 100), (250, 0, 100)), 0)) == [3, 1, 2]


@pytest.mark.parametrize("step_s", [1 / 60, 1 / 25, 0.1, 0.3])
def test_two_who_cross_keep_their_ids(step_s):
    tracker = Tracker()
    for time_s in np.arange(0, 4, step_s):
        x = 200 * time_s
        assert ids(tracker.update(people((x, 100, 300), (800 - x, 140, 320)), time_s)) == [1, 2]


def test_the_lost_are_looked_for_where_they_should_be():
    tracker = Tracker()
    for i in range(20):
        tracker.update(people((20 * i, 0, 200)), i / 10)
    # Seven tenths of a second behind a pillar: 140 px, where the box of 100 px no longer overlaps the last one seen.
    assert ids(tracker.update(people((20 * 26, 0, 200)), 2.6)) == [1]


def test_who_is_lost_too_long_is_somebody_new():
    for gap_s, person in ((0.9, 1), (1.1, 2)):
        tracker = Tracker(TrackerOptions(keep_lost_s=1.0))
        for time_s in (4.9, 5):
            tracker.update(people((0, 0, 100)), time_s)
        assert ids(tracker.update(people((0, 0, 100)), 5 + gap_s)) == [person]


@pytest.mark.parametrize("missed", [8, 9])
@pytest.mark.parametrize("step_s", [1.005, 2.0, 60.0])
def test_below_a_frame_a_second_people_keep_their_ids(step_s, missed):
    """Also over a frame in which one was not found, and with times that are a little off."""
    tracker = Tracker()
    for i in range(16):
        seen = people((0, 0, 100)) if i == missed else people((0, 0, 100), (300, 0, 100))
        assert ids(tracker.update(seen, i * step_s + i % 2 * 0.01)) == ([1] if i == missed else [1, 2])


@pytest.mark.parametrize(("missed", "person"), [(1, 1), (2, 2)])
def test_below_a_frame_a_second_who_is_not_found_in_two_frames_is_somebody_new(missed, person):
    tracker = Tracker()
    for i in range(4):
        tracker.update(people((0, 0, 100)), 2.0 * i)
    for i in range(missed):
        tracker.update(Poses.empty(COCO_17), 8.0 + 2.0 * i)
    assert ids(tracker.update(people((0, 0, 100)), 8.0 + 2.0 * missed)) == [person]


def test_two_frames_of_one_time_show_the_same_people():
    tracker = Tracker()
    assert [ids(tracker.update(people((0, 0, 100)), t)) for t in (0.0, 0.1, 0.1, 0.2)] == [[1]] * 4


def test_one_long_stall_does_not_make_a_stream_slow():
    tracker = Tracker()
    times_s = [0, 0.1, 5, 5.1, 5.2, 10]  # two of five steps are stalls
    assert [ids(tracker.update(people((0, 0, 100)), t)) for t in times_s] == [[1], [1], [2], [2], [2], [3]]


def test_a_weak_sighting_carries_somebody_on():
    tracker = Tracker()
    tracker.update(people((0, 0, 100)), 0)
    for i in range(1, 30):
        assert ids(tracker.update(people((i, 0, 100), score=0.25), i / 10)) == [1]


def test_furniture_stays_in_doubt_and_half_a_person_does_not():
    tracker = Tracker()
    chair = replace(people((300, 0, 100), score=0.45), scores=np.full((1, 17), 0.3, np.float32))
    assert [len(tracker.update(chair, i / 10)) for i in range(30)] == [0] * 30
    half = replace(chair, scores=np.where(np.arange(17) < 9, 0.6, 0.0)[None].astype(np.float32))
    assert [ids(tracker.update(half, 3 + i / 10)) for i in range(2)] == [[1], [1]]
    assert ids(tracker.update(chair, 3.2)) == [1]


def test_a_doubtful_newcomer_waits_and_a_flicker_costs_no_id():
    tracker = Tracker(TrackerOptions(doubt_s=0.2))
    doubtful = people((300, 0, 100), score=0.35)
    for i in range(40):
        flicker = doubtful if i % 2 else Poses.empty(COCO_17)
        assert ids(tracker.update(flicker, i / 10)) == []
    seen = [ids(tracker.update(doubtful, 4 + i / 10)) for i in range(4)]
    assert seen == [[], [], [1], [1]]


def test_who_is_unlike_everybody_is_somebody_new():
    """Overlapping a little is not enough, in either round."""
    tracker = Tracker(TrackerOptions(min_similarity=0.5))
    assert ids(tracker.update(people((0, 0, 100)), 0)) == [1]
    assert ids(tracker.update(people((25, 0, 100)), 0.1)) == [2]
    tracker = Tracker(TrackerOptions(min_weak_similarity=0.5))
    tracker.update(people((0, 0, 100)), 0)
    assert ids(tracker.update(people((25, 0, 100), score=0.3), 0.1)) == []


def test_a_weak_sighting_brings_nobody_back_who_was_lost():
    tracker = Tracker()
    tracker.update(people((0, 0, 100)), 0)
    tracker.update(Poses.empty(COCO_17), 0.1)
    assert ids(tracker.update(people((0, 0, 100), score=0.3), 0.2)) == []
    assert ids(tracker.update(people((0, 0, 100)), 0.3)) == [1]


def test_each_doubtful_newcomer_is_believed_by_their_own_pose():
    """Also where the order of the people is not from left to right."""
    tracker = Tracker()
    both = people((300, 0, 100), (0, 0, 100), score=0.35)
    both = replace(both, scores=np.array([[0.8] * 17, [0.1] * 17], np.float32))
    for i in range(4):
        seen = tracker.update(both, i / 10)
    assert ids(seen) == [1]
    assert seen.boxes[0, 0] == 300


def test_a_new_epoch_forgets_people_but_not_numbers():
    tracker = Tracker()
    tracker.update(people((0, 0, 100)), 10)
    tracker.reset()
    assert ids(tracker.update(people((0, 0, 100)), 10.1)) == [2]
    assert ids(tracker.update(people((0, 0, 100)), 3)) == [3]  # time went backwards


def test_time_must_be_finite():
    with pytest.raises(ValueError, match="finite"):
        Tracker().update(Poses.empty(COCO_17), float("nan"))


def test_other_skeletons_and_boxes_without_points():
    for skeleton in (OPENPOSE_18, COCO_17):
        tracker = Tracker()
        for i in range(5):
            poses = people((i, 0, 100), (300 - i, 0, 100))
            poses = poses.to(skeleton) if skeleton != COCO_17 else replace(poses, scores=poses.scores * 0)
            out = tracker.update(poses, i / 30)
            assert out.skeleton == skeleton
            assert ids(out) == [1, 2]


@given(st.floats(0, 3), st.floats(0, 3), st.floats(-500, 500))
def test_predicting_twice_is_predicting_once(a, b, speed):
    once, twice = Motion(0j), Motion(0j)
    for motion in (once, twice):
        motion.predict(0.1)
        motion.correct(complex(speed, 1.0))
    once.predict(a + b)
    twice.predict(a)
    twice.predict(b)
    for motion in (once, twice):
        motion.correct(0j)
    np.testing.assert_allclose(once.centre, twice.centre, atol=1e-6)


@pytest.mark.parametrize("every", [1, 2, 6])
def test_three_people_keep_their_ids(every):
    """60 fps, and 30 and 10: a man who swings his arms, a woman before him, one behind at the edge."""
    tracker = Tracker()
    for time_s, poses in footage("three_people", 0.3, every):
        out = tracker.update(poses, time_s)
        by_height = np.argsort(out.boxes[:, 1] - out.boxes[:, 3])
        assert [ids(out)[row] for row in by_height] == [3, 2, 1]


def test_as_many_ids_as_people_in_the_corridor():
    """Six people come one by one; ids are counted as a user would, at the estimators' default limit."""
    tracker, lives = Tracker(), {}
    for time_s, poses in footage("corridor", 0.3):
        for person in ids(tracker.update(poses, time_s)):
            lives.setdefault(person, []).append(time_s)
    assert list(lives) == [1, 2, 3, 4, 5, 6]
    starts = [times[0] for times in lives.values()]
    np.testing.assert_allclose(starts, [6.0, 22.7, 50.2, 74.5, 92.1, 123.5], atol=0.15)


def test_smoothing_calms_real_points_and_does_not_lag():
    tracker, smoother = Tracker(), OneEuro()
    raw, calm, sizes = [], [], []
    for time_s, poses in footage("three_people", 0.3):
        tracked = tracker.update(poses, time_s)
        row = ids(tracked).index(1)  # the one who stands still
        raw.append(tracked.points[row])
        calm.append(smoother.update(tracked, time_s).points[row])
        sizes.append(np.ptp(tracked.boxes[row, 1::2]))
    trembling = [np.abs(np.diff(points, 2, axis=0)).mean() for points in (raw, calm)]
    assert trembling[1] < trembling[0] / 3
    assert np.abs(np.subtract(raw, calm)).mean() < 0.01 * np.mean(sizes)


@pytest.mark.parametrize("name", [field.name for field in fields(TrackerOptions)])
def test_options_that_make_no_sense_are_refused(name: str):
    share = name in {"pose_weight", "min_similarity", "min_weak_similarity"}
    for value in (-1.0, math.nan) + ((5.0,) if share else ()):
        with pytest.raises(ConfigError, match=f"^{name} is .*0.*, not {value}$"):
            TrackerOptions(**{name: value})
    for value in (0.0, 1.0):
        TrackerOptions(**{name: value})
