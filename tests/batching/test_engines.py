"""Several engines, and engines that are given a second batch."""

from __future__ import annotations

import math

import pytest

from streampose.batching import LatencyBatch, Load, Take, Waiting
from streampose.batching.gate import Gated
from streampose.batching.station import Station


def test_an_engine_with_two_batches_is_free_after_both():
    station = Station(lambda images: None)
    station.take(10.0, 0.5)
    station.take(10.1, 0.25)
    assert station.free_at(10.2) == 10.75


@pytest.mark.parametrize(("live", "opens_at"), [(True, math.inf), (False, -math.inf)])
def test_an_engine_that_needs_no_time_ahead_is_given_live_frames_when_it_is_free(live: bool, opens_at: float):
    station = Station(lambda images: None)
    station.take(10.0, 0.5)
    assert station.opens_at(10.2, live=live) == opens_at


def test_a_policy_that_waits_for_models_is_told_how_many_engines_there_are():
    policy = LatencyBatch()
    Gated(policy, lambda: True).engines = 3
    assert policy.engines == 3


def test_a_policy_that_waits_for_models_learns_from_what_then_runs():
    policy = LatencyBatch()
    gated = Gated(policy, lambda: True)
    gated.observe(Load(frames=1), 0.5)
    assert gated.expected_s(Load(frames=1)) == policy.expected_s(Load(frames=1)) == pytest.approx(0.5, rel=0.2)
    assert gated.depth == policy.depth


@pytest.mark.parametrize(("engines", "old_is_taken"), [(1, False), (2, True)])
def test_an_old_frame_that_forces_a_small_batch_is_passed_over_only_where_engines_are_busy(
    engines: int, old_is_taken: bool
):
    """Four streams bring 120 frames a second: more than one engine can do (90), and less than two."""
    policy = LatencyBatch(0.1)
    for i in range(200):
        n = i % 8 + 1
        policy.observe(Load(frames=n), 0.005 + 0.01 * n)
    policy.engines = engines
    captured = {"old": 9.925} | {f"s{i}": 10 - 0.001 * i for i in range(1, 4)}
    waiting = [
        Waiting(stream=s, captured_at=at, deadline=at + 0.1, people=1, period_s=1 / 30) for s, at in captured.items()
    ]
    decision = policy.decide(10.0, waiting, True)
    assert isinstance(decision, Take)
    assert ("old" in {frame.stream for frame in decision.frames}) is old_is_taken
