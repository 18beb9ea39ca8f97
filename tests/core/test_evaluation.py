"""How right poses are said to be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from streampose import Poses
from streampose.evaluation import Pck, pck
from streampose.skeletons import COCO_17


def people(*lefts: float, score: float = 1.0) -> Poses:
    """Some of one shape, 100 pixels tall, from these places on."""
    figure = np.random.default_rng(0).uniform(0, 100, (17, 2))
    corners = np.array([(left, 0.0) for left in lefts]).reshape(-1, 2)
    return Poses(
        skeleton=COCO_17,
        points=(figure + corners[:, None]).astype(np.float32),
        scores=np.full((len(lefts), 17), score, np.float32),
        boxes=np.concatenate([corners, corners + 100], axis=1).astype(np.float32),
        box_scores=np.ones(len(lefts), np.float32),
    )


def test_a_point_that_is_not_known_is_not_right():
    truth, found = people(0), people(0, score=0.01)
    assert pck(truth, found).share == 1
    found.scores[0, :5] = 0
    assert pck(truth, found) == Pck(right=12, total=17, people=1, found=1)


def test_a_point_of_the_truth_that_is_out_of_sight_is_not_asked_for():
    truth = people(0)
    truth.scores[0, :5] = 0.5
    assert pck(truth, people(0)) == Pck(right=12, total=12, people=1, found=1)


def test_a_point_is_right_within_a_share_of_the_height():
    moved = people(0)
    moved = replace(moved, points=moved.points + np.float32([9, 0]))
    assert pck(people(0), moved, within=0.1).share == 1
    assert pck(people(0), moved, within=0.08).share == 0


def test_people_are_paired_so_that_most_points_are_right():
    truth, found = people(0, 30), people(0)
    # Nearer to the second, of whom no point is within 10 pixels; two are exactly the first's.
    found.points[0, 2:, 0] += 19
    assert pck(truth, found) == Pck(right=2, total=34, people=2, found=1)


def test_who_is_missing_has_nothing_right():
    assert pck(people(0, 200), people(200)) == Pck(right=17, total=34, people=2, found=1)
    assert pck(people(0), people()) == Pck(total=17, people=1)
    assert pck(people(), people()).share is None
