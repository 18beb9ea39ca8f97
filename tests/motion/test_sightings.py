"""Who was seen from when to when, and who is one of them again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from motion.clips import moment, person, walk

from streampose.motion import link, renamed, shots, survey


@pytest.mark.parametrize(("size", "who"), [(60, 1), (110, 2)])
def test_who_comes_at_another_size_is_somebody_else(size: float, who: int):
    clip = [moment(0, {1: person(300, size=50)}), moment(100, {}), moment(200, {2: person(300, size=size)})]
    assert link(survey(clip)) == {(0, 1): 1, (0, 2): who}


def test_of_two_who_would_be_one_the_surer_stays():
    both = moment(0, {1: person(100), 2: person(400)})
    both = both.having(replace(both.poses, box_scores=np.array([0.5, 0.9], np.float32)))
    (one,) = renamed([both], {(0, 2): 1})
    assert one.poses.ids.tolist() == [1]
    np.testing.assert_array_equal(one.poses.points[0], both.poses.points[1])


def test_shots_are_counted_on_from_the_epochs_that_are_there():
    clip = [replace(m, epoch=int(m.index >= 4)) for m in walk([0, 20, 40, 60])]
    assert [m.epoch for m in shots(clip, {6})] == [0, 0, 1, 2]
