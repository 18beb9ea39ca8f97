"""The policy of a run whose streams change: recordings as ever, live streams within their budget."""

from __future__ import annotations

import math
from pathlib import Path

from streampose.batching import FixedBatch, LatencyBatch, Load, Take, Wait, Waiting
from streampose.cli.config import Config
from streampose.cli.mixture import Mixture
from streampose.cli.roster import Roster
from streampose.cli.session import Session
from streampose.inference.engine import EngineOptions
from streampose.inference.loading import ModelChoice
from streampose.sources import SyntheticSource
from streampose.streams import Stream


def waiting(stream: str, at: float, budget_s: float = math.inf) -> Waiting:
    return Waiting(stream=stream, captured_at=at, deadline=at + budget_s, people=1.0)


def test_recordings_alone_are_batched_as_ever():
    mixture, fixed = Mixture(0.1, 4), FixedBatch(4)
    for now in (0.0, 1.0):
        for count in range(7):
            for more in (True, False):
                offer = [waiting("clip", i) for i in range(count)]
                assert mixture.decide(now, offer, more) == fixed.decide(now, offer, more)
        mixture.observe(Load(frames=4, people=4), 0.02)
    assert mixture.expected_s(Load(frames=4, people=4)) < 0.1


def test_a_live_frame_waits_for_no_full_batch():
    mixture = Mixture(0.1, 4)
    recording = [waiting("clip", 0), waiting("clip", 1)]
    assert isinstance(mixture.decide(0.0, recording, True), Wait)
    live = waiting("door", 0.0, 0.1)
    taken = mixture.decide(0.0, [live, *recording], True)
    assert isinstance(taken, Take)
    assert taken.frames[0] is live
    # Between its frames, too, nothing is held back for longer than they may be.
    assert isinstance(mixture.decide(0.5, recording, True), Take)
    # It is gone.
    assert isinstance(mixture.decide(1.5, recording, True), Wait)


def test_what_may_change_is_ready_for_live_streams():
    def session(*, live: bool, roster: Roster | None) -> Session:
        stream = Stream(name="a", source=SyntheticSource(live=live))
        return Session(streams=[stream], choice=ModelChoice(), options=EngineOptions(), budget_s=0.05, roster=roster)

    roster = Roster(Path("cameras.toml"), Config(options={}, streams={}), lambda entries, names: [])
    policies = [session(live=live, roster=r).policy(4) for live, r in ((True, roster), (False, roster), (False, None))]
    assert [type(policy) for policy in policies] == [LatencyBatch, Mixture, FixedBatch]
    assert [policy.budget_s for policy in policies] == [0.05, 0.05, math.inf]
