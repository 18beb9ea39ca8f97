"""What is done to a result before it goes out, and where."""

from __future__ import annotations

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


def test_what_takes_long_is_not_done_on_the_event_loop():
    source = ScriptedSource([])
    drawn = Finisher(Stream(name="s", source=source, sinks=[MemorySink(wants_picture=True)]))
    tracked = Finisher(Stream(name="s", source=source, tracker=Tracker()))
    assert not drawn.brief(poses_of(0))
    assert tracked.brief(poses_of(0))
    assert not tracked.brief(poses_of(0, people=100))
