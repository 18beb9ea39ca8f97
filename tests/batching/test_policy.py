from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streampose.batching import BatchCost, BatchPolicy, FixedBatch, LatencyBatch, Load, Take, Wait, Waiting

BUDGET_S = 0.1


def waiting(captured_at: float, *, stream: str = "s", people: float = 1.0, budget_s: float = BUDGET_S) -> Waiting:
    return Waiting(stream=stream, captured_at=captured_at, deadline=captured_at + budget_s, people=people)


def latency_batch(base_s: float, per_frame_s: float, *, max_frames: int = 16) -> LatencyBatch:
    """One that has learned this cost."""
    policy = LatencyBatch(BUDGET_S, max_frames=max_frames)
    for i in range(200):
        n = i % 8 + 1
        policy.observe(Load(frames=n, people=0), base_s + per_frame_s * n)
    return policy


@st.composite
def offers(draw: st.DrawFn) -> tuple[float, list[Waiting]]:
    now = draw(st.floats(0, 100))
    ages = draw(st.lists(st.floats(0, 0.5), max_size=40))
    budget_s = st.sampled_from([0.033, 0.1, 0.5, math.inf])
    return now, [waiting(now - age, stream=f"s{i % 5}", budget_s=draw(budget_s)) for i, age in enumerate(ages)]


POLICIES = [
    lambda: FixedBatch(1),
    lambda: FixedBatch(4),
    lambda: LatencyBatch(BUDGET_S),
    lambda: latency_batch(0.005, 0.01, max_frames=5),
]


@pytest.mark.parametrize("make", POLICIES)
@given(offer=offers(), more=st.booleans())
def test_laws_of_every_policy(make, offer: tuple[float, list[Waiting]], more: bool):
    now, frames = offer
    policy: BatchPolicy = make()
    decision = policy.decide(now, frames, more)
    again = make().decide(now, frames, more)
    if isinstance(decision, Wait):
        assert again == decision
        assert more or not frames, "it would wait for ever"
        assert decision.until is None or decision.until > now
        return
    chosen = (*decision.frames, *decision.drop)
    assert len(decision.frames) <= policy.max_frames
    assert len(set(chosen)) == len(chosen)
    assert all(frame in frames for frame in chosen)
    assert isinstance(again, Take)
    assert (again.frames, again.drop) == (decision.frames, decision.drop)
    # Within a stream only a prefix of what remains is taken: order is kept.
    for stream in {f.stream for f in frames}:
        rest = [f for f in frames if f.stream == stream and f not in decision.drop]
        took = [f for f in decision.frames if f.stream == stream]
        assert took == rest[: len(took)]


def test_fixed_waits_until_full_or_until_nothing_can_come():
    policy = FixedBatch(3)
    two = [waiting(0.0), waiting(0.0)]
    assert policy.decide(0.0, two, True) == Wait(until=0.25)
    assert policy.decide(0.0, two, False) == Take(frames=tuple(two))
    three = [*two, waiting(0.0)]
    assert policy.decide(0.0, [*three, waiting(0.0)], True) == Take(frames=tuple(three))


def test_idle_takes_one_at_once():
    frame = waiting(0.0)
    assert latency_batch(0.005, 0.01).decide(0.001, [frame], True) == Take(frames=(frame,))


def test_busy_takes_as_many_as_all_deadlines_allow():
    # 10 ms a frame, none for the batch: 100 ms of budget, 42 ms gone, leave time for five.
    frames = [waiting(0.0, stream=str(i), people=0.0) for i in range(12)]
    decision = latency_batch(0.0, 0.01).decide(0.042, frames, True)
    assert isinstance(decision, Take)
    assert len(decision.frames) == 5
    assert decision.drop == ()


def test_overload_drops_what_is_lost_and_takes_the_rest():
    old, fresh = waiting(0.0), waiting(0.09)
    decision = latency_batch(0.02, 0.01).decide(0.095, [old, fresh], True)
    assert decision == Take(frames=(fresh,), drop=(old,))


def test_a_model_slower_than_the_budget_still_delivers():
    frame = waiting(0.0)
    assert latency_batch(0.5, 0.1).decide(0.3, [frame], True) == Take(frames=(frame,))


def test_offline_frames_are_never_dropped():
    frame = waiting(0.0, budget_s=math.inf)
    assert latency_batch(0.02, 0.01).decide(1e6, [frame], True) == Take(frames=(frame,))


@given(a=st.floats(0, 0.05), b=st.floats(0.001, 0.02), c=st.floats(0, 0.01))
def test_the_cost_is_learned(a: float, b: float, c: float):
    cost = BatchCost()
    for i in range(300):
        frames, people = i % 8 + 1, i % 5
        cost.observe(Load(frames=frames, people=people), a + b * frames + c * people)
    assert cost.predict(Load(frames=4, people=3)) == pytest.approx(a + 4 * b + 3 * c, rel=0.05)


def test_one_hiccup_does_not_spoil_the_cost():
    cost = BatchCost()
    for _ in range(50):
        cost.observe(Load(frames=1, people=1), 0.02)
    cost.observe(Load(frames=1, people=1), 5.0)
    assert cost.predict(Load(frames=1, people=1)) < 0.03


@given(st.lists(st.tuples(st.integers(1, 16), st.floats(0, 50), st.floats(0, 10)), max_size=100))
def test_a_prediction_is_always_positive_and_finite(history: list[tuple[int, float, float]]):
    cost = BatchCost()
    for frames, people, seconds in history:
        cost.observe(Load(frames=frames, people=people), seconds)
    assert 0 < cost.predict(Load(frames=3, people=2)) < math.inf


@pytest.mark.parametrize(
    "make", [lambda: FixedBatch(0), lambda: LatencyBatch(0.0), lambda: LatencyBatch(0.1, max_frames=0)]
)
def test_senseless_sizes_are_refused(make):
    with pytest.raises(ValueError, match=r"at least 1|positive"):
        make()
