"""The camera's own clock, when it jumps."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streampose.sources.wall import WallClock

NOW = 1.7e9


def told(offsets: list[float | None], interval_s: float = 0.1) -> list[float | None]:
    """What is believed of a clock that is off by this, frame after frame."""
    clock, out = WallClock(), []
    for i, offset in enumerate(offsets):
        at = 50 + i * interval_s
        wall = clock.believed(None if offset is None else NOW + at + offset, at)
        out.append(None if wall is None else round(wall - NOW - at, 3))
    return out


@given(st.lists(st.one_of(st.none(), st.integers(-400, 400).map(lambda ms: ms / 1000)), max_size=100))
def test_what_is_steady_is_passed_on(offsets: list[float | None]):
    assert told(offsets) == offsets


def test_a_jump_until_the_next_report_is_left_out():
    assert told([0.0] * 5 + [3600.0] * 70 + [0.0] * 5) == [0.0] * 5 + [None] * 70 + [0.0] * 5


def test_a_clock_that_was_set_is_believed_after_a_while():
    believed = told([0.0] * 5 + [3600.0] * 200)
    assert believed[5:105] == [None] * 100
    assert believed[106:] == [3600.0] * 99


def test_a_clock_that_never_stands_still_is_not_believed():
    assert told([0.0, *(10.0 * i for i in range(1, 300))]) == [0.0] + [None] * 299


def test_a_clock_that_drifts_is_followed():
    drift = [i * 0.002 for i in range(3000)]
    assert told(drift) == [round(offset, 3) for offset in drift]
