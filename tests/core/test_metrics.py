from __future__ import annotations

import itertools
import sys
from types import FrameType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import streampose.metrics
from streampose.metrics import Cause, Histogram, Place, StreamMetrics
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
