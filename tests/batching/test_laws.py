"""What every batch policy keeps to, asked alone, and in the batcher that it runs in."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streampose.batching import (
    AimdBatch,
    BatchPolicy,
    DeferredBatch,
    FixedBatch,
    LatencyBatch,
    Load,
    RuleBatch,
    Take,
    TimeoutBatch,
    Wait,
    Waiting,
    WindowBatch,
    depth,
)

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from ceiling import ceiling
from grid import ARRIVALS, Cell
from oracle import OracleBatch
from simulator import Cost, Scenario, bound, simulate

MAX_FRAMES = 4
POLICIES: dict[str, Callable[[], BatchPolicy]] = {
    "fixed 1": lambda: FixedBatch(1),
    "fixed 4": lambda: FixedBatch(MAX_FRAMES),
    "timeout": lambda: TimeoutBatch(MAX_FRAMES, 0.02),
    "aimd": lambda: AimdBatch(0.1, max_frames=MAX_FRAMES),
    "deferred": lambda: DeferredBatch(0.1, max_frames=MAX_FRAMES),
    "window": lambda: WindowBatch(max_frames=MAX_FRAMES),
    "rule": RuleBatch,
    "latency": lambda: LatencyBatch(0.1, max_frames=MAX_FRAMES),
}
KNOW_DEADLINES = ("deferred", "latency")
every_policy = pytest.mark.parametrize("name", POLICIES)

Step = tuple[float, list[Waiting], bool, float]
"""The time, what waits, whether more can come, and what a batch costs for each of its frames."""


@st.composite
def histories(draw: st.DrawFn) -> list[Step]:
    """A few decisions, each with its own frames; after each a batch is observed, so that policies learn."""
    now, steps = 0.0, []
    # A stream has one budget.
    budgets_s = draw(st.lists(st.sampled_from([0.033, 0.1, 0.5, math.inf]), min_size=5, max_size=5))
    for _ in range(draw(st.integers(1, 3))):
        now += draw(st.floats(0.001, 1))
        ages = st.lists(st.integers(0, 600).map(lambda ms: ms / 1000), max_size=14, unique=True)
        waiting = [
            Waiting(
                stream=f"s{i % 5}",
                captured_at=now - age,
                deadline=now - age + budgets_s[i % 5],
                people=draw(st.sampled_from([0.0, 1.0, 7.5])),
            )
            # Frames of a stream stand in capture order.
            for i, age in enumerate(sorted(draw(ages), reverse=True))
        ]
        steps.append((now, waiting, draw(st.booleans()), draw(st.floats(0.001, 0.05))))
    return steps


def decide(policy: BatchPolicy, steps: list[Step]) -> list[Take | Wait]:
    decisions = []
    for now, waiting, more, each_s in steps:
        decisions.append(decision := policy.decide(now, waiting, more))
        if isinstance(decision, Take) and decision.frames:
            people = sum(w.people for w in decision.frames)
            policy.observe(Load(frames=len(decision.frames), people=people), 0.005 + each_s * len(decision.frames))
    return decisions


@every_policy
@given(steps=histories())
def test_only_what_was_offered_in_stream_order_and_never_too_many(name: str, steps: list[Step]):
    policy = POLICIES[name]()
    for (_, waiting, _, _), decision in zip(steps, decide(policy, steps), strict=True):
        if isinstance(decision, Wait):
            continue
        chosen = (*decision.frames, *decision.drop)
        assert len(decision.frames) <= policy.max_frames
        assert len(set(chosen)) == len(chosen)
        assert set(chosen) <= set(waiting)
        for stream in {w.stream for w in waiting}:
            rest = [w for w in waiting if w.stream == stream and w not in decision.drop]
            took = [w for w in decision.frames if w.stream == stream]
            assert took == rest[: len(took)]


@every_policy
@given(steps=histories())
def test_never_waits_for_ever_nor_for_long(name: str, steps: list[Step]):
    for (now, waiting, more, _), decision in zip(steps, decide(POLICIES[name](), steps), strict=True):
        if not waiting:
            assert decision == Wait()
        elif isinstance(decision, Wait):
            assert more, "nothing will come that ends the wait"
            assert decision.until is not None
            assert now < decision.until <= now + 0.25
        else:
            assert decision.frames or decision.drop, "neither takes, nor drops, nor waits"


@pytest.mark.parametrize("name", KNOW_DEADLINES)
@given(steps=histories())
def test_never_waits_beyond_the_first_deadline(name: str, steps: list[Step]):
    for (_, waiting, _, _), decision in zip(steps, decide(POLICIES[name](), steps), strict=True):
        if isinstance(decision, Wait) and waiting:
            assert decision.until <= min(w.deadline for w in waiting)


@every_policy
@given(steps=histories())
def test_same_calls_same_decisions(name: str, steps: list[Step]):
    first, again = (decide(POLICIES[name](), steps) for _ in range(2))
    assert first == again


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    streams = draw(st.integers(1, 6))
    seconds = 6.0
    arrivals = []
    for _ in range(streams):
        rate_hz = draw(st.sampled_from([5.0, 15.0, 30.0, 60.0]))
        arrivals.append(np.arange(draw(st.floats(0, 0.2)), seconds, 1 / rate_hz))
    cost = Cost(
        base_s=draw(st.floats(0.0, 0.02)),
        per_frame_s=draw(st.floats(0.001, 0.03)),
        per_person_s=draw(st.sampled_from([0.0, 0.003])),
        buckets=draw(st.booleans()),
    )
    people = draw(st.integers(0, 4))
    return Scenario(
        cost=cost,
        # A budget below what one frame costs, or just above, is no task for a batch policy.
        budget_s=max(draw(st.sampled_from([0.05, 0.1, 0.3])), 2.5 * cost(1, people)),
        arrivals_s=tuple(arrivals),
        people=tuple(np.full(len(a), people) for a in arrivals),
        engines=draw(st.integers(1, 2)),
    )


@every_policy
@settings(max_examples=8, deadline=None)
@given(scenario=scenarios())
def test_nobody_starves_and_credits_hold(name: str, scenario: Scenario):
    outcome = simulate(scenario, POLICIES[name]())
    assert outcome.captured == outcome.delivered + sum(outcome.drops.values())
    assert outcome.most_in_flight <= depth(POLICIES[name]()), "of one stream, as its credits allow"
    assert outcome.longest_batch <= POLICIES[name]().max_frames
    # Six seconds are enough to learn the cost, and then for everybody's turn to come often.
    assert min(outcome.served) >= 3, outcome.served


@pytest.mark.parametrize("name", KNOW_DEADLINES)
def test_a_stream_whose_frames_come_just_after_batches_of_others_began_is_served(name: str):
    """Two streams fill an engine with batches of three, 33 ms each; what a frame alone costs was never seen."""
    starts_hz = [(0.0, 30.0), (0.03125, 60.0), (0.125, 5.0)]
    arrivals = tuple(np.arange(start, 6.0, 1 / hz) for start, hz in starts_hz)
    nobody = tuple(np.zeros(len(a), int) for a in arrivals)
    scenario = Scenario(cost=Cost(per_frame_s=0.011), budget_s=0.05, arrivals_s=arrivals, people=nobody)
    assert simulate(scenario, POLICIES[name]()).served[2] >= 25, "of 30"


@every_policy
@settings(max_examples=8, deadline=None)
@given(scenario=scenarios())
def test_no_policy_exceeds_the_bound(name: str, scenario: Scenario):
    policy = POLICIES[name]()
    assert simulate(scenario, policy).goodput <= bound(scenario, policy.max_frames)


@pytest.mark.parametrize("arrivals", ARRIVALS)
@pytest.mark.parametrize("disturbance", ["none", "drift", "noise"])
def test_no_policy_exceeds_the_bound_of_a_disturbed_machine(arrivals: str, disturbance: str):
    cell = Cell(curve="gpu", load=1.2, streams=8, arrivals=arrivals, disturbance=disturbance)
    scenario = cell.scenario(300)
    for make in POLICIES.values():
        policy = make()
        assert simulate(scenario, policy).goodput <= bound(scenario, policy.max_frames)


def small_policies() -> list[BatchPolicy]:
    """Those that take no more than the ceiling is for: the rule of thumb takes eight and more."""
    return [policy for make in POLICIES.values() if (policy := make()).max_frames <= MAX_FRAMES]


@settings(max_examples=8, deadline=None)
@given(scenario=scenarios())
def test_neither_a_policy_nor_the_oracle_exceeds_the_ceiling(scenario: Scenario):
    policies = [*small_policies(), OracleBatch(scenario, max_frames=MAX_FRAMES)]
    most = max(simulate(scenario, policy).goodput for policy in policies)
    assert most <= ceiling(scenario, MAX_FRAMES, rounds=20) <= bound(scenario, MAX_FRAMES)


@pytest.mark.parametrize("disturbance", ["none", "drift", "noise"])
def test_no_policy_exceeds_the_ceiling_of_a_disturbed_machine(disturbance: str):
    cell = Cell(curve="gpu", load=1.3, streams=8, arrivals="jitter", budget_s=0.05, disturbance=disturbance)
    scenario = cell.scenario(300)
    policies = [*small_policies(), OracleBatch(scenario, max_frames=MAX_FRAMES)]
    most = max(simulate(scenario, policy).goodput for policy in policies)
    assert most <= ceiling(scenario, MAX_FRAMES, rounds=40)


def three_in_step() -> Scenario:
    """Every 100 ms three pictures of nobody within 0.2 ms, a budget of 1.5 batches, and once two crowds."""
    base = np.arange(0.05, 10, 0.1)
    return Scenario(
        cost=Cost(base_s=0.03, per_person_s=0.003, buckets=True),
        budget_s=0.045,
        arrivals_s=(base, base + 1e-4, base + 2e-4, np.array([5.0502]), np.array([5.0503])),
        people=(*[np.zeros(100, int)] * 3, np.array([10]), np.array([10])),
    )


def test_the_ceiling_of_three_in_step_with_a_crowd_once():
    """A batch of three is no batch of four that takes one of the crowd."""
    most = simulate(three_in_step(), TimeoutBatch(3, 0.001)).goodput
    assert 290 <= most <= ceiling(three_in_step(), MAX_FRAMES) <= 302


def test_cameras_in_step_wait_for_one_another():
    """Taken alone, the first one would leave no time for the others."""
    outcome = simulate(three_in_step(), LatencyBatch(0.045, max_frames=MAX_FRAMES))
    assert outcome.goodput >= 0.85 * 302
    assert max(outcome.batches, key=outcome.batches.__getitem__) == 3


def test_the_ceiling_by_hand():
    # 40 frames a second, and batches of 30 ms whatever they hold. One at a time: 100 in three seconds.
    scenario = Scenario(
        cost=Cost(base_s=0.03),
        budget_s=0.06,
        arrivals_s=(np.arange(0.0, 3.0, 0.025),),
        people=(np.zeros(120, int),),
    )
    assert ceiling(scenario, 1) == pytest.approx(100, abs=3)
    # A frame has to start 2 ms after its capture, and a batch takes 58 ms, whatever it holds. Only the first two frames
    # come together; then there is one every 50 ms, and the engine is busy for every other one. The bound lets all do
    # with half a batch, and stops and goes on with them as it likes.
    later = np.arange(0.1, 3.0, 0.1)
    scenario = Scenario(
        cost=Cost(base_s=0.058),
        budget_s=0.06,
        arrivals_s=(np.append(0.0, later), np.append(0.0, later + 0.05)),
        people=(np.zeros(30, int), np.zeros(30, int)),
    )
    assert bound(scenario, 2) == 60
    assert simulate(scenario, OracleBatch(scenario, max_frames=2)).goodput == 31
    assert ceiling(scenario, 2) == 31


@pytest.mark.parametrize("engines", [1, 2])
@pytest.mark.parametrize(("streams", "load"), [(8, 0.5), (64, 0.9)])
def test_a_cold_machine_is_soon_known(streams: int, load: float, engines: int):
    # The first batch of each size takes six times as long. A policy that takes that for its cost stays at small
    # batches, and at a third of what a GPU does.
    cell = Cell(curve="gpu", load=load, streams=streams, engines=engines)
    scenario = dataclasses.replace(cell.scenario(1000), first_times=6.0)
    outcome = simulate(scenario, LatencyBatch(cell.budget_s, max_frames=16))
    assert outcome.goodput >= 0.95 * outcome.captured


@pytest.mark.parametrize("seed", range(8))
def test_a_cold_machine_in_overload_is_known_in_the_end(seed: int):
    # Two engines, and more than they can do: what the first batches told of people had led to waiting for ever
    # (seed 4), or to a third of what can be done.
    scenario = Cell(curve="gpu", load=1.3, streams=32, engines=2, first_times=6.0).scenario(1000, seed)
    assert simulate(scenario, LatencyBatch(0.1)).goodput >= 0.55 * bound(scenario, 16)


@pytest.mark.parametrize("in_step", [False, True])
@pytest.mark.parametrize("first_times", [1.0, 3.0])
def test_sizes_that_are_filled_up_are_known_by_their_largest(in_step: bool, first_times: float):
    # As on a GPU of which only batches of 1 and 32 are prepared: two take three times as long as one, and 32 hardly
    # longer than two. Who goes on from the first sizes never gets to the largest.
    rng = np.random.default_rng(0)
    phases = np.zeros(24) if in_step else rng.uniform(0, 1 / 30, 24)
    arrivals = tuple(np.arange(phase, 6, 1 / 30) for phase in phases)
    scenario = Scenario(
        cost=Cost(measured_s=(0.007, *(0.02 + 0.00025 * n for n in range(2, 33)))),
        budget_s=0.1,
        arrivals_s=arrivals,
        people=tuple(np.zeros(len(a), int) for a in arrivals),
        warm_s=3.0,
        first_times=first_times,
    )
    outcome = simulate(scenario, LatencyBatch(0.1, max_frames=32))
    assert outcome.goodput >= 0.95 * outcome.captured


@pytest.mark.parametrize(("cost", "streams", "least"), [((0.005, 0.03), 64, 85), ((0.04, 0.005), 120, 300)])
def test_far_more_streams_than_can_be_done_do_not_take_each_other_down(
    cost: tuple[float, float], streams: int, least: int
):
    # Each gets less than a frame a second: nobody starves by that, and no batch is late for it.
    base_s, per_frame_s = cost
    rng = np.random.default_rng(0)
    arrivals = tuple(np.arange(rng.uniform(0, 0.1), 5, 0.1) for _ in range(streams))
    scenario = Scenario(
        cost=Cost(base_s=base_s, per_frame_s=per_frame_s),
        budget_s=0.1,
        arrivals_s=arrivals,
        people=tuple(np.zeros(len(a), int) for a in arrivals),
        warm_s=2.0,
    )
    assert simulate(scenario, LatencyBatch(0.1, max_frames=16)).goodput >= least


def crowd(cost: Cost, budgets_s: Sequence[float], weights: Sequence[float] = ()) -> Scenario:
    """Streams of 30 fps, each with a phase and a budget of its own."""
    rng = np.random.default_rng(0)
    phases = rng.uniform(0, 1 / 30, len(budgets_s))
    arrivals = tuple(
        np.sort(np.maximum(t + rng.normal(0, 0.002, len(t)), 0)) for t in np.arange(0, 15, 1 / 30) + phases[:, None]
    )
    return Scenario(
        cost=cost,
        budget_s=max(budgets_s),
        arrivals_s=arrivals,
        people=tuple(np.ones(len(a), int) for a in arrivals),
        warm_s=3.0,
        budgets_s=tuple(budgets_s),
        weights=tuple(weights),
    )


# Of a CPU, where a batch costs what its frames do, and of a GPU; each can do less than half of what comes.
COSTS = {"cpu": (Cost(per_frame_s=0.02), 1), "gpu": (Cost(base_s=0.03, per_frame_s=0.003), 4)}


@cache
def goodput_alike(kind: str) -> int:
    """Where all have the longer budget, and count the same: what others are compared with."""
    cost, times = COSTS[kind]
    return simulate(crowd(cost, [0.3] * 4 * times), LatencyBatch(0.1)).goodput


@pytest.mark.parametrize("kind", COSTS)
@pytest.mark.parametrize("weights", [(1, 1, 1, 0.1), (2, 1, 1, 1), (3, 3, 1, 1)])
def test_in_overload_streams_have_what_their_weights_say(kind: str, weights: tuple[float, ...]):
    cost, times = COSTS[kind]
    outcome = simulate(crowd(cost, [0.2] * 4 * times, weights * times), LatencyBatch(0.1))
    each = [sum(outcome.fresh[i::4]) for i in range(4)]
    shares = [n / weight for n, weight in zip(each, weights, strict=True)]
    assert max(shares) < 1.35 * min(shares), each


@pytest.mark.parametrize("streams", [4, 5, 6])
def test_below_full_load_a_short_budget_does_not_halve_the_others(streams: int):
    # A batch of its own for each of its frames would: lanes of the others run over meanwhile.
    outcome = simulate(crowd(COSTS["gpu"][0], [0.06] + [0.3] * (streams - 1)), LatencyBatch(0.1))
    asked, fresh = sum(outcome.asked[1:]), sum(outcome.fresh[1:])
    assert fresh > 0.75 * asked


def test_a_budget_that_nothing_can_keep_takes_from_nobody():
    cost, times = COSTS["gpu"]
    hopeless = simulate(crowd(cost, (0.005, 0.3, 0.3, 0.3) * times), LatencyBatch(0.1))
    assert hopeless.goodput > 0.8 * goodput_alike("gpu")


@pytest.mark.parametrize("kind", COSTS)
@pytest.mark.parametrize("weights", [(1, 1, 1, 1), (1, 3, 1, 1), (3, 3, 1, 1)])
@pytest.mark.parametrize("budgets_s", [(0.06, 0.3, 0.3, 0.3), (0.06, 0.06, 0.3, 0.3)])
def test_in_overload_a_short_budget_does_not_cost_a_stream_its_share(
    kind: str, budgets_s: tuple[float, ...], weights: tuple[float, ...]
):
    # The batches that pay most are longer than this budget: for long, such streams got a frame a second.
    cost, times = COSTS[kind]
    outcome = simulate(crowd(cost, budgets_s * times, weights * times), LatencyBatch(0.1))
    each = [sum(outcome.fresh[i::4]) for i in range(4)]
    assert all(each[i] > 0.3 * each[3] for i in range(3)), each
    # What that costs has its limit, for small batches only take turns with those that pay.
    assert outcome.goodput > 0.5 * goodput_alike(kind)


def test_the_oracle_is_never_late():
    cell = Cell(curve="gpu", load=1.3, streams=8, arrivals="jitter", people=10, disturbance="noise")
    outcome = simulate(scenario := cell.scenario(300), OracleBatch(scenario, max_frames=16))
    assert outcome.delivered == outcome.goodput > 0


def test_the_simulation_is_deterministic():
    scenario = Cell(curve="gpu", load=1.2, streams=8, arrivals="jitter", disturbance="noise").scenario(300)
    first, again = (simulate(scenario, LatencyBatch(0.1)) for _ in range(2))
    assert first.fresh == again.fresh
    assert np.array_equal(first.latencies_s, again.latencies_s)


def test_one_stream_on_an_idle_machine_by_hand():
    scenario = Scenario(
        cost=Cost(base_s=0.01, per_frame_s=0.002),
        budget_s=0.1,
        arrivals_s=(np.arange(0, 1, 0.1),),
        people=(np.zeros(10, int),),
    )
    outcome = simulate(scenario, FixedBatch(1))
    assert outcome.latencies_s == pytest.approx([0.012] * 10)
    assert (outcome.goodput, outcome.drops, outcome.fairness) == (10, {}, 1.0)
    assert bound(scenario, 1) == 10


def test_an_overloaded_engine_by_hand():
    # 100 frames a second, of which an engine of 25 ms can do 40; the lane drops the rest.
    scenario = Scenario(
        cost=Cost(per_frame_s=0.025),
        budget_s=0.1,
        arrivals_s=(np.arange(0.0, 2.0, 0.01),),
        people=(np.zeros(200, int),),
    )
    outcome = simulate(scenario, FixedBatch(1))
    assert outcome.goodput == outcome.delivered == pytest.approx(80, abs=3)
    assert outcome.drops == {"overflow": 200 - outcome.delivered}
    assert bound(scenario, 1) == pytest.approx(83, abs=1)
