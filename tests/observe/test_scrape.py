from __future__ import annotations

import io
import math
from bisect import bisect_left

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from streampose.cli.top import _Board
from streampose.metrics import BOUNDS_S, Histogram
from streampose.observe.scrape import EngineView, StreamView, View, quantile, read_view, since

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


def test_a_narrow_terminal_cuts_no_figures():
    latency = {0.25: 50.0, 1.0: 100.0, float("inf"): 100.0}
    stream = StreamView(
        state="running", fault="no answer from the camera within 5 s", fps_in=123.4, fps_out=118.7, age_s=0.123,
        latency=latency, dropped=123456, late_sinks=789, reconnects=42,
    )  # fmt: skip
    engine = EngineView(engines=1, batches=1, frames=1, busy_s=1.0, seconds=latency, queued=0)
    view = View(version="1", uptime_s=1.0, memory_bytes=None, engine=engine, streams={"a-camera-at-the-gate": stream})
    pictures = []
    for width in (80, 200):
        console = Console(file=(page := io.StringIO()), width=width)
        console.print(_Board().draw(view))
        pictures.append(page.getvalue().splitlines()[-1])
    narrow, wide = pictures
    assert "camera within 5 s" in wide, wide
    assert "…" in narrow
    figures = [word for word in wide.split() if word[0].isdigit()][1:]  # without the 5 of the fault
    assert len(figures) >= 8
    assert [word for word in narrow.split() if word[0].isdigit()] == figures


def test_a_camera_that_is_away_has_no_rates():
    def row(state: str) -> list[str]:
        stream = StreamView(
            state=state, fault=None, fps_in=9.9, fps_out=8.8, age_s=7.0,
            latency={}, dropped=3, late_sinks=0, reconnects=2,
        )  # fmt: skip
        engine = EngineView(engines=1, batches=0, frames=0, busy_s=0.0, seconds={}, queued=0)
        view = View(version="1", uptime_s=1.0, memory_bytes=None, engine=engine, streams={"door": stream})
        Console(file=(page := io.StringIO()), width=200).print(_Board().draw(view))
        return page.getvalue().splitlines()[-1].split()[1:5]

    assert row("running") == ["running", "9.9", "8.8", "7.0"]
    assert row("lost") == ["lost", "-", "-", "7.0"]
