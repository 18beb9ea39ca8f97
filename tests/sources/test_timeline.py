"""Media time over connections; test_reconnect.py has its laws."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes import frame
from test_reconnect import AT_ONCE, Script, read_all

from streampose.errors import Disconnected
from streampose.frame import Frame
from streampose.sources import Reconnecting


def arrived(ms: int, at: float) -> Frame:
    return replace(frame(0, stream="cam"), pts=ms, captured_at=at)


def test_time_goes_on_by_arrival_where_a_camera_comes_back_with_another_zero():
    """Also where that is less than a second off, which within a connection would be the camera's own step."""

    script = Script([arrived(0, 10.0), Disconnected("x")], [arrived(700, 10.3), arrived(740, 10.34)])
    frames = read_all(Reconnecting(script, backoff=AT_ONCE))
    assert [round(f.time_s * 1000) for f in frames] == [0, 300, 340]


@pytest.mark.parametrize(("step_ms", "placed_ms"), [(1100, 1100), (1400, 300)])
def test_a_step_is_the_cameras_own_where_it_is_less_than_a_second_off(step_ms: int, placed_ms: int):
    script = Script([arrived(0, 10.0), arrived(step_ms, 10.3), arrived(step_ms + 40, 10.34)])
    frames = read_all(Reconnecting(script, backoff=AT_ONCE))
    assert [round(f.time_s * 1000) for f in frames] == [0, placed_ms, placed_ms + 40]
