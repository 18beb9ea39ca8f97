"""What is done to a result before it goes out, and where."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import MemorySink, ScriptedSource, frame, poses_of

from streampose.finisher import Finisher
from streampose.streams import Stream
from streampose.tracking import OneEuro, Tracker


def test_a_new_epoch_makes_trackers_and_smoothers_forget():
    told = []

    class Tracks(Tracker):
        def reset(self):
            told.append("tracker")
            super().reset()

    class Smooths(OneEuro):
        def reset(self):
            told.append("smoother")
            super().reset()

    finish = Finisher(Stream(name="s", source=ScriptedSource([]), tracker=Tracks(), smoother=Smooths()))
    finish(frame(0), poses_of(0), None)
    told.clear()
    for i, epoch in enumerate([0, 1, 1], 1):
        finish(frame(i, epoch=epoch), poses_of(i), None)
    assert told == ["tracker", "smoother"]


def test_who_is_tracked_goes_out_with_an_id_and_smoothed():
    finish = Finisher(Stream(name="s", source=ScriptedSource([]), tracker=Tracker(), smoother=OneEuro()))
    tracker, smoother = Tracker(), OneEuro()
    for i in range(3):
        poses, picture = finish(frame(i), poses_of(i), None)
        expected = smoother.update(tracker.update(poses_of(i), frame(i).time_s), frame(i).time_s)
        assert (picture, list(poses.ids)) == (None, [1])
        np.testing.assert_array_equal(poses.points, expected.points)
    assert 0 < poses.points.mean() < 2


def test_what_takes_long_is_not_done_on_the_event_loop():
    class Theirs(Tracker):
        pass

    def brief(people: int, **parts) -> bool:
        return Finisher(Stream(name="s", source=ScriptedSource([]), **parts)).brief(poses_of(0, people=people))

    assert brief(100)
    assert brief(8, tracker=Tracker(), smoother=OneEuro())
    assert not brief(9, tracker=Tracker())
    assert not brief(1, tracker=Theirs())
    assert not brief(0, sinks=[MemorySink(wants_picture=True)])


@pytest.mark.parametrize("sinks", [1, 2])
def test_a_picture_that_several_outputs_share_none_of_them_draws_on(sinks: int):
    outputs = [MemorySink(wants_picture=True) for _ in range(sinks)] + [MemorySink()]
    finish = Finisher(Stream(name="s", source=ScriptedSource([]), sinks=outputs))
    _, picture = finish(frame(0), poses_of(0), None)
    assert picture.flags.writeable is (sinks == 1)
