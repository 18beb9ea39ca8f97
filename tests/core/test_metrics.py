from __future__ import annotations

import itertools
import sys
from types import FrameType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streampose.metrics
from streampose.metrics import BOUNDS_S, Cause, EngineMetrics, Histogram, Place, StreamMetrics
from streampose.result import Timing


@given(st.lists(st.floats(2e-4, 90), min_size=1, max_size=200), st.floats(0, 1))
def test_a_quantile_is_within_a_bucket_of_the_truth(values: list[float], q: float):
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    estimate = histogram.quantile(q)
    truth = float(np.quantile(values, q, method="inverted_cdf"))
    assert estimate == pytest.approx(truth, rel=0.05)


def test_nothing_counted_has_no_quantile():
    assert Histogram().quantile(0.5) is None


def test_out_of_range_durations_are_kept_at_the_ends():
    histogram = Histogram()
    histogram.add(0.0)
    histogram.add(1e9)
    assert histogram.quantile(0.1) < 2e-4
    assert histogram.quantile(1.0) > 90


def test_frames_add_up():
    metrics = StreamMetrics()
    metrics.captured = 10
    metrics.drop(Place.INGRESS, Cause.OVERFLOW, 3)
    metrics.drop(Place.SINK, Cause.OVERFLOW, 5)  # after delivery: not part of the sum
    for i in range(4):
        metrics.deliver(Timing(captured_at=0, taken_at=0, inferred_at=0, delivered_at=i, batch_size=2), people=1)
    snapshot = metrics.snapshot(now=4.0)
    assert (snapshot.in_flight, snapshot.dropped_total, snapshot.fps) == (3, 3, 1.0)


def test_rates_in_and_out_and_the_age_of_what_is_seen():
    metrics = StreamMetrics()
    assert metrics.snapshot(now=1.0).age_s is None
    for i in range(11):
        metrics.capture(captured_at=i / 10)
    for i in range(0, 11, 2):
        timing = Timing(captured_at=i / 10, taken_at=0, inferred_at=0, delivered_at=i / 10 + 0.25, batch_size=1)
        metrics.deliver(timing, people=0)
    snapshot = metrics.snapshot(now=1.25, queued=2)
    assert (snapshot.fps_in, snapshot.fps, snapshot.age_s) == pytest.approx((10 / 1.25, 5, 0.25))  # none for 0.25 s
    assert snapshot.queued == 2
    assert metrics.snapshot(now=1.1).fps_in == pytest.approx(10)
    assert metrics.snapshot(now=21).age_s == pytest.approx(20)


def of_hundred() -> StreamMetrics:
    """Frames of 0.8, 1.8 … 99.8 ms, a tenth of a second apart."""
    metrics = StreamMetrics()
    for i in range(1, 101):
        at = 50 + i / 10
        metrics.capture(at)
        timing = Timing(captured_at=at, taken_at=at, inferred_at=at, delivered_at=at + i / 1000 - 2e-4, batch_size=i)
        metrics.deliver(timing, people=(i + 1) % 4)
    return metrics


def test_latencies_and_people_are_those_of_the_frames():
    figures = of_hundred().snapshot(now=60.0)
    assert (figures.captured, figures.delivered, figures.in_flight, figures.batch_size) == (100, 100, 0, 100)
    assert (figures.people, figures.people_total) == (1, 150)
    assert (figures.recent_p50_s, figures.recent_p95_s) == pytest.approx((0.0688, 0.0958))  # of the last 64
    assert (figures.latency_p50_s, figures.latency_p99_s) == pytest.approx((0.05, 0.099), rel=0.05)
    assert figures.latency_at_most == tuple(min(100, int(bound * 1000 + 0.2)) for bound in BOUNDS_S)
    assert figures.latency_total_s == pytest.approx(5.03)
    assert figures.fps_in == pytest.approx(10)


def test_what_was_removed_is_added_up():
    whole, other = of_hundred(), of_hundred()
    for metrics, late in ((whole, 1), (other, 2)):
        metrics.drop(Place.INGRESS, Cause.LATE, late)
    other.drop(Place.SINK, Cause.UNSENT)
    other.drop(Place.BATCH, Cause.FAILED, 0)
    whole.merge(other)
    figures = whole.snapshot(now=60.0)
    assert (figures.captured, figures.delivered, figures.people_total) == (200, 200, 300)
    assert figures.dropped == {(Place.INGRESS, Cause.LATE): 3, (Place.SINK, Cause.UNSENT): 1}
    assert figures.latency_at_most[BOUNDS_S.index(0.05)] == 100
    assert (figures.latency_total_s, figures.latency_p50_s) == (pytest.approx(10.06), pytest.approx(0.05, rel=0.05))


def test_the_engine_s_batches_are_counted():
    metrics = EngineMetrics()
    for i in range(1, 101):
        metrics.observe(frames=1 + i % 2, people=3, seconds=i / 1000 - 2e-4)
    figures = metrics.snapshot()
    assert (figures.batches, figures.frames, figures.people) == (100, 150, 300)
    assert figures.batch_sizes == {1: 50, 2: 50}
    assert figures.busy_s == pytest.approx(5.03)
    assert (figures.batch_p50_s, figures.batch_p99_s) == pytest.approx((0.05, 0.099), rel=0.05)
    assert figures.batch_at_most[BOUNDS_S.index(0.05)] == 50


def test_a_rate_needs_two_moments():
    metrics = StreamMetrics()
    rates = []
    for captured_at in (7.0, 7.0, 7.1):
        metrics.capture(captured_at)
        rates.append(metrics.snapshot(now=captured_at).fps_in)
    assert rates == [None, None, pytest.approx(20)]
    assert metrics.snapshot(now=7.19).fps_in == pytest.approx(20), "the next one may still be on its way"


def test_figures_may_be_asked_for_on_another_thread():
    """Whatever comes between two steps of it."""
    metrics, causes = StreamMetrics(), itertools.cycle((place, cause) for place in Place for cause in Cause)
    timing = Timing(captured_at=0.0, taken_at=0.0, inferred_at=0.0, delivered_at=0.1, batch_size=1)

    def counts() -> None:
        metrics.capture(0.0)
        metrics.deliver(timing, people=1)
        metrics.drop(*next(causes))

    def between(frame: FrameType, event: str, _: object) -> object:
        if frame.f_code.co_filename == streampose.metrics.__file__ and event == "line":
            sys.settrace(None)
            counts()
            sys.settrace(between)
        return between

    counts()
    before = sys.gettrace()
    sys.settrace(between)
    try:
        snapshot = metrics.snapshot(1.0)
    finally:
        sys.settrace(before)
    assert snapshot.captured < metrics.captured
