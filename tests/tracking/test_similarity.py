"""How alike people look, against COCO's measure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from streampose.skeletons import COCO_17
from streampose.tracking.similarity import Looks, similarity

WIDTH, HEIGHT = 50, 100


def somebody(x: float = 0.0, y: float = 0.0) -> Looks:
    figure = np.random.default_rng(0).uniform(0.1, 0.9, (1, 17, 2)) * (WIDTH, HEIGHT)
    return Looks(
        boxes=np.array([[x, y, x + WIDTH, y + HEIGHT]], float),
        points=figure + np.array((x, y)),
        scores=np.full((1, 17), 0.8),
    )


def test_poses_are_as_alike_as_coco_says():
    one = somebody()
    other = replace(one, points=one.points + 3)
    variances = (2 * np.array(COCO_17.sigmas)) ** 2
    oks = np.exp(-(3**2 + 3**2) / (2 * WIDTH * HEIGHT * variances)).mean()
    assert similarity(one, other, pose_weight=1.0)[0, 0] == pytest.approx(oks)


def test_what_only_one_of_both_shows_is_not_compared():
    one = somebody()
    points, scores = one.points.copy(), one.scores.copy()
    points[0, :8], scores[0, :8] = 9999, 0.1
    for pair in ((one, replace(one, points=points, scores=scores)), (replace(one, points=points, scores=scores), one)):
        assert similarity(*pair, pose_weight=1.0)[0, 0] == pytest.approx(1)


def test_boxes_alone_decide_where_too_few_points_are_seen_together():
    one = somebody()
    scores = np.where(np.arange(17) < 13, 0.1, 0.8)[None]
    other = replace(one, points=one.points + 50, scores=scores)
    assert similarity(one, other, pose_weight=1.0)[0, 0] == pytest.approx(1)


@pytest.mark.parametrize("place", [(500, 0), (0, 500), (500, 500)])
def test_boxes_that_lie_apart_do_not_overlap(place: tuple[float, float]):
    assert similarity(somebody(), somebody(*place), pose_weight=0.0)[0, 0] == 0


def test_who_is_expected_elsewhere_is_moved_as_a_whole():
    here, there = somebody(), somebody(30, -20)
    moved = here.moved_to(there.centres)
    np.testing.assert_allclose(moved.boxes, there.boxes)
    np.testing.assert_allclose(moved.points, there.points)
