"""What the second pass may and may not change."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import islice, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from motion.clips import moment, person, walk

from streampose import Poses
from streampose.clip import Moment
from streampose.errors import ConfigError
from streampose.motion import Choice, calm, fill, link, only, parse_choice, pick, renamed, survey
from streampose.motion.sightings import Sighting
from streampose.skeletons import COCO_17, OPENPOSE_18

times_ms = st.lists(st.integers(0, 1500), min_size=2, max_size=30, unique=True).map(sorted)


def points_of(clip: list[Moment]) -> np.ndarray:
    return np.stack([m.poses.points[0] for m in clip])


@given(times=times_ms, speed=st.floats(-300, 300))
def test_even_movement_is_not_changed_at_any_frame_rate(times: list[int], speed: float):
    clip = walk(times, speed=speed)
    assert np.allclose(points_of(list(calm(clip))), points_of(clip), atol=0.01)


@given(times=times_ms, seed=st.integers(0, 99))
def test_played_backwards_smoothing_gives_the_same(times: list[int], seed: int):
    clip = walk(times, noise=3.0, seed=seed)
    back = [replace(m, pts=2000 - m.pts) for m in reversed(clip)]
    there, again = list(calm(clip)), list(calm(back))
    assert np.allclose(points_of(there), points_of(again)[::-1], atol=0.01)


def test_smoothing_gives_out_an_epoch_when_the_next_begins_whose_times_begin_anew():
    epochs = [*walk(list(range(0, 200, 20))), *(replace(m, epoch=1) for m in walk([0, 20]))]
    begun = iter(epochs)
    assert [m.epoch for m in islice(calm(begun), 10)] == [0] * 10
    assert len(list(begun)) == 1


def test_smoothing_calms_and_does_not_lag():
    times = list(range(0, 4000, 16))
    true = points_of(walk(times, speed=200))
    noisy = walk(times, speed=200, noise=3.0)
    smooth = points_of(list(calm(noisy)))
    assert np.std(smooth - true) < 0.5 * np.std(points_of(noisy) - true)
    assert abs(np.mean(smooth - true)) < 0.2  # a lag of one frame would be 3.2 pixels


def test_smoothing_leaves_doubtful_points_alone_and_unused():
    clip = walk(list(range(0, 500, 20)))
    for i in range(0, len(clip), 2):
        clip[i].poses.points[0, 3] += 500
        clip[i].poses.scores[0, 3] = 0.1
    for before, after in zip(clip, calm(clip), strict=True):
        assert np.allclose(after.poses.points, before.poses.points, atol=0.01)


def test_nothing_is_smoothed_across_epochs():
    clip = walk(list(range(0, 200, 20)))
    clip += [replace(moment(ms, {1: person(500)}), epoch=1) for ms in range(200, 400, 20)]
    assert np.allclose(points_of(list(calm(clip))), points_of(clip), atol=0.01)


@given(times=times_ms, gone=st.sets(st.integers(0, 29), max_size=20))
def test_filling_puts_people_on_straight_lines_and_changes_nobody(times: list[int], gone: set[int]):
    whole = walk(times)
    holed = [m.having(m.poses.take(np.array([], np.intp))) if i in gone else m for i, m in enumerate(whole)]
    filled = list(fill(holed, max_gap_s=0.3))
    assert [m.pts for m in filled] == times
    seen = [i for i in range(len(whole)) if i not in gone]
    for a, b in pairwise(seen):
        short = times[b] - times[a] <= 300
        for i in range(a + 1, b):
            assert len(filled[i].poses) == short
            if short:
                assert np.allclose(filled[i].poses.points, whole[i].poses.points, atol=0.02)
                assert np.allclose(filled[i].poses.boxes, whole[i].poses.boxes, atol=0.02)
    for i in seen:
        assert np.array_equal(filled[i].poses.points, whole[i].poses.points)
    if seen:  # nothing before the first or after the last
        assert all(not len(filled[i].poses) for i in range(len(whole)) if not seen[0] <= i <= seen[-1])


def test_a_gap_of_just_the_longest_time_is_filled():
    for start in range(0, 1000, 7):
        clip = walk([start, start + 100, start + 200, start + 300])
        holed = [m.having(m.poses.take(np.array([], np.intp))) if 0 < i < 3 else m for i, m in enumerate(clip)]
        assert [len(m.poses) for m in fill(holed, max_gap_s=0.3)] == [1] * 4


def test_filling_puts_in_single_points():
    clip = walk(list(range(0, 400, 20)))
    for one in clip[9:]:
        one.poses.points[0, 9] += 50  # where it goes once it has been seen again says nothing
    true = points_of(clip).copy()
    for i in (5, 6, 7):
        clip[i].poses.points[0, 9] = -1
        clip[i].poses.scores[0, 9] = 0.0
    filled = list(fill(clip))
    assert np.allclose(points_of(filled), true, atol=0.01)
    assert filled[6].poses.scores[0, 9] == pytest.approx(1.0)


def test_somebody_is_put_in_where_nobody_is_at_all():
    clip = walk([0, 20, 40])
    clip[1] = clip[1].having(Poses.empty(COCO_17))  # nobody has no ids
    assert [len(m.poses) for m in fill(clip)] == [1, 1, 1]


def test_nothing_is_filled_in_across_epochs():
    """The same id before and after a reconnect is two people: neither walks to the other, nor lends a point."""
    clip = walk(list(range(0, 400, 20)))
    for i in (9, 10):
        clip[i] = moment(20 * i, {})
    for i in (8, 11):
        clip[i].poses.scores[0, 9] = 0.0
    epochs = [replace(m, epoch=int(i >= 10)) for i, m in enumerate(clip)]
    assert [len(m.poses) for m in fill(clip)] == [1] * 20
    filled = list(fill(iter(epochs)))
    assert [len(m.poses) for m in filled] == [1] * 9 + [0, 0] + [1] * 9
    assert [m.poses.scores[0, 9] for m in (filled[8], filled[11])] == [0, 0]
    assert [m.epoch for m in filled] == [m.epoch for m in epochs]


def test_somebody_who_comes_back_is_linked_but_not_somebody_else():
    clip = walk(list(range(0, 1000, 20)), who=1) + walk(list(range(1500, 2500, 20)), who=2)
    clip += [moment(ms, {3: person(600, size=40)}) for ms in range(2600, 3000, 20)]
    names = link(survey(clip))
    assert names == {(0, 1): 1, (0, 2): 1, (0, 3): 3}
    assert survey(renamed(clip, names)).keys() == {(0, 1), (0, 3)}
    assert link(survey(clip), max_gap_s=0.1) == {(0, 1): 1, (0, 2): 2, (0, 3): 3}


def test_ids_of_different_epochs_are_different_people():
    """As trackers give them that begin anew at 1; ours goes on counting."""
    times = range(0, 200, 20)
    clip = [moment(ms, {1: person(100), 2: person(400)}) for ms in times]
    clip += [replace(moment(200 + ms, {1: person(500, size=200), 3: person(100)}), epoch=1) for ms in times]
    found = survey(clip)
    assert {who: seen.frames for who, seen in found.items()} == {(0, 1): 10, (0, 2): 10, (1, 1): 10, (1, 3): 10}
    assert (found[0, 1].last_s, found[1, 1].first_s) == (0.18, 0.2)
    # Number 3 is where number 1 was; but another number 1 is there as well.
    names = link(found)
    assert names == {(0, 1): 1, (0, 2): 2, (1, 1): 1, (1, 3): 3}
    assert [len(m.poses) for m in renamed(clip, names)] == [2] * 20
    assert [(s.id, s.first_s, s.last_s) for s in pick(found, Choice(by="id", id=1))] == [(1, 0, 0.18), (1, 0.2, 0.38)]
    clicked = pick(found, parse_choice("box:450,50,550,150@0.2"), clip)
    assert [(s.id, s.first_s, s.last_s) for s in clicked] == [(1, 0.2, 0.38)]


def test_who_is_there_at_the_same_time_is_never_linked():
    clip = [moment(ms, {1: person(100), 2: person(120)}) for ms in range(0, 1000, 20)]
    assert link(survey(clip)) == {(0, 1): 1, (0, 2): 2}


def two() -> list[Moment]:
    """Somebody large at the left until 1 s, somebody small in the middle all the time, somebody large after."""
    clip = []
    for ms in range(0, 3000, 100):
        people = {2: person(320, 240, size=60)}
        if ms < 1000:
            people[1] = person(100, size=300)
        if ms > 2000:
            people[5] = person(500, size=280)
        clip.append(moment(ms, people))
    return clip


@pytest.mark.parametrize(
    ("choice", "spans"),
    [
        ("largest", [(1, 0, 0.9), (2, 0.9, 2.1), (5, 2.1, 2.9)]),
        ("centre", [(2, 0, 2.9)]),
        ("id:5", [(5, 2.1, 2.9)]),
        ("box:290,210,350,270", [(2, 0, 2.9)]),
        ("box:400,0,600,300@2.5", [(5, 2.1, 2.9)]),
    ],
)
def test_one_person_is_chosen(choice: str, spans: list[tuple[int, float, float]]):
    clip = two()
    found = pick(survey(clip), parse_choice(choice), clip)
    assert [s.id for s in found] == [s[0] for s in spans]
    assert [(s.first_s, s.last_s) for s in found] == [pytest.approx(s[1:]) for s in spans]
    for one, all_ in zip(only(clip, found), clip, strict=True):
        wanted = [s.id for s in found if s.first_s <= one.time_s <= s.last_s]
        assert one.poses.ids.tolist() == wanted
        assert one.pts == all_.pts


def test_the_next_best_stands_in_wherever_nobody_better_is():
    """Also who is there at the same time for a while; what somebody is away for is left to the next."""
    clip = []
    for ms in range(0, 4000, 100):
        people = {}
        if 1000 <= ms <= 2000:
            people[1] = person(100, size=400)
        if ms <= 1000 or 1800 <= ms <= 3000:
            people[2] = person(320, size=200)
        if ms >= 500:
            people[3] = person(500, size=100)
        if ms >= 3000:
            people[4] = person(200, size=50)
        clip.append(moment(ms, people))
    spans = pick(survey(clip), Choice(by="largest"))
    assert [s.id for s in spans] == [2, 1, 2, 3]
    assert all(a.last_s < b.first_s for a, b in pairwise(spans))
    shown = [m.poses.ids.tolist() for m in only(clip, spans)]
    assert shown == [[2]] * 10 + [[1]] * 11 + [[2]] * 10 + [[3]] * 9
    # Number 2 was away when number 1 went.
    clip = [moment(m.pts, {}) if m.pts == 2100 else m for m in clip]
    clip = [m.having(m.poses.take(m.poses.ids != 2)) if 1800 <= m.pts <= 2400 else m for m in clip]
    shown = [m.poses.ids.tolist() for m in only(clip, pick(survey(clip), Choice(by="largest")))]
    assert shown == [[2]] * 10 + [[1]] * 11 + [[]] + [[3]] * 3 + [[2]] * 6 + [[3]] * 9


@pytest.mark.parametrize("choice", ["id:9", "box:0,400,5,405", "box:290,210,350,270@99"])
def test_nobody_there_is_told(choice: str):
    with pytest.raises(ConfigError, match="nobody"):
        pick(survey(two()), parse_choice(choice), two())


def test_a_click_before_the_first_frame_is_told():
    """It took whoever was there first, in a file whose times begin late."""
    late = [replace(m, pts=m.pts + 36_000_000) for m in two()]
    with pytest.raises(ConfigError, match="the first frame is at 36000 s"):
        pick(survey(late), parse_choice("box:290,210,350,270@3"), late)


@pytest.mark.parametrize("text", ["", "tall", "id:", "id:x", "box:1,2,3", "box:5,5,1,1", "largest:1"])
def test_what_names_no_person(text: str):
    with pytest.raises(ConfigError, match="names no person"):
        parse_choice(text)


def test_breaks_are_reported():
    clip = (
        walk(list(range(0, 500, 20))) + [moment(ms, {}) for ms in range(500, 700, 20)] + walk(list(range(700, 900, 20)))
    )
    assert survey(clip)[0, 1].breaks == [(0.48, 0.7)]
    assert survey(fill(clip, max_gap_s=0.5))[0, 1].breaks == []
    assert Choice(by="largest").id is None


def test_linking_is_as_good_as_among_all_pairs_and_many_people_take_little():
    from scipy.optimize import linear_sum_assignment

    rng = np.random.default_rng(4)

    def crowd(count: int, seconds: float) -> dict[tuple[int, int], Sighting]:
        found = {}
        for i in range(count):
            first_s, corner, size = rng.uniform(0, seconds), rng.uniform(0, 800, 2), rng.uniform(80, 120)
            box = np.concatenate([corner, corner + size])
            found[0, i] = Sighting(
                id=i, first_s=first_s, last_s=first_s + rng.uniform(0.1, 1), first_box=box, last_box=box + 5
            )
        return found

    def won(a: Sighting, b: Sighting) -> float:
        gap_s = b.first_s - a.last_s
        sizes = [max(float((box[2:] - box[:2]).max()), 1) for box in (a.last_box, b.first_box)]
        middles = [(box[:2] + box[2:]) / 2 for box in (a.last_box, b.first_box)]
        away = float(np.linalg.norm(middles[0] - middles[1])) / np.sqrt(sizes[0] * sizes[1])
        scale = abs(np.log2(sizes[0] / sizes[1]))
        near = 0 < gap_s <= 2 and away <= 0.75 * (1 + gap_s) and scale <= 1
        return 2 - away / (0.75 * (1 + gap_s)) - scale / 2 if near else 0.0

    found = crowd(120, 30)
    people = list(found.values())
    table = np.array([[won(a, b) for b in people] for a in people])
    best = {j: i for i, j in zip(*linear_sum_assignment(table, maximize=True), strict=True) if table[i, j] > 0}
    roots = {}
    for _, who in found:
        root = who
        while root in best:
            root = best[root]
        roots[0, who] = root
    assert len(best) > 20
    assert link(found) == roots
    assert link(found, max_gap_s=0) == {who: who[1] for who in found}
    began = time.process_time()
    many = link(crowd(20_000, 7200))
    # Of all pairs, the table alone would have taken 3 GB.
    assert time.process_time() - began < 10
    assert len(set(many.values())) < 20_000


def test_points_of_different_skeletons_have_nothing_to_do_with_one_another():
    """As a live run's file has them, whose model was exchanged."""
    clip = walk(list(range(0, 200, 20)))
    clip[4:7] = [m.having(replace(m.poses.to(OPENPOSE_18), ids=m.poses.ids)) for m in clip[4:7]]
    clip[5] = clip[5].having(Poses.empty(OPENPOSE_18))
    done = list(calm(fill(clip)))
    assert [m.poses.skeleton for m in done] == [m.poses.skeleton for m in clip]
    assert all(np.allclose(a.poses.points, b.poses.points, atol=0.01) for a, b in zip(done[:4], clip, strict=False))


def test_people_without_ids_are_passed_on():
    clip = [m.having(replace(m.poses, ids=None)) for m in walk(list(range(0, 500, 20)))]
    assert survey(clip) == {}
    for done in (list(fill(clip)), list(calm(clip)), list(renamed(clip, {}))):
        assert [m.poses for m in done] == [m.poses for m in clip]


def test_poses_of_an_unknown_picture_are_chosen_by_size_but_not_by_place():
    moments = [moment(10 * i, {1: person(100, size=50), 2: person(300, size=90)}) for i in range(5)]
    found = survey(replace(m, size_px=(0, 0)) for m in moments)
    assert [span.id for span in pick(found, Choice(by="largest"))] == [2]
    with pytest.raises(ConfigError, match="nobody is in its centre"):
        pick(found, Choice(by="centre"))
