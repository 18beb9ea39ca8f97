from __future__ import annotations

import math
from bisect import bisect_left

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streampose.metrics import BOUNDS_S, Histogram
from streampose.observe.scrape import quantile, read_view, since

DURATIONS = st.lists(st.floats(1e-4, 30) | st.sampled_from(BOUNDS_S), min_size=1, max_size=100)


def buckets(values: list[float]) -> dict[float, float]:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    return dict(zip([*BOUNDS_S, math.inf], [*histogram.at_most(), histogram.count], strict=True))


@given(DURATIONS)
def test_public_buckets_are_exact(values: list[float]):
    assert buckets(values) == {bound: sum(v <= bound for v in values) for bound in [*BOUNDS_S, math.inf]}


@given(DURATIONS, st.floats(0.01, 0.99))
def test_a_quantile_lies_in_the_bucket_of_the_truth(values: list[float], q: float):
    truth = float(np.quantile(values, q, method="inverted_cdf"))
    i = bisect_left(BOUNDS_S, truth)
    low, high = ([0.0, *BOUNDS_S][i], BOUNDS_S[min(i, len(BOUNDS_S) - 1)])
    found = quantile(buckets(values), q)
    assert found is not None
    assert low <= found <= high * (1 + 1e-9)


@given(DURATIONS, DURATIONS)
def test_what_came_since_is_what_came(first: list[float], later: list[float]):
    assert since(buckets(first + later), buckets(first)) == buckets(later)
    # A restart between two looks: everything is new.
    assert since(buckets(later[:1]), buckets([*first, *later])) == buckets(later[:1])


def test_nothing_has_no_quantile():
    assert quantile({}, 0.5) is None
    assert quantile({0.1: 0, math.inf: 0}, 0.5) is None
    assert quantile({0.1: 0, math.inf: 3}, 0.5) == 0.1


@pytest.mark.parametrize("text", ["", "up 1\n", "<html></html>\n", "streampose_engines 1\n"])
def test_other_peoples_pages_are_no_metrics(text: str):
    with pytest.raises(ValueError):  # noqa: PT011 - the parser's own, or ours
        read_view(text)
