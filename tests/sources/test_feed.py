"""The thread that listens: how what comes in bulk is given its time back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from fractions import Fraction
from types import SimpleNamespace

import av
import pytest

from streampose.sources import feed


class Segments:
    """HLS, whose packets are all there at once."""

    format = SimpleNamespace(name="hls")

    def __init__(self, times_s: list[float]) -> None:
        self._times_s = times_s

    def demux(self, _: object) -> Iterator[av.Packet]:
        for time_s in self._times_s:
            packet = av.Packet(b"picture")
            packet.time_base, packet.dts = Fraction(1, 1000), round(time_s * 1000)
            packet.pts, packet.is_keyframe = packet.dts, True
            yield packet

    def close(self) -> None:
        pass


def arrivals(times_s: list[float]) -> list[float]:
    """When packets of these times came, in monotonic seconds."""
    listener = feed.Feed(lambda: Segments(times_s), "test")
    assert listener.container(1.0) is not None
    listener.start(SimpleNamespace())
    at = []
    for _ in times_s:
        packet = listener.take(time.monotonic() + 3.0)
        assert isinstance(packet, av.Packet), packet
        assert isinstance(packet.opaque, feed.Arrival)
        at.append(packet.opaque.at)
    listener.close()
    return at


@pytest.mark.parametrize("jump_s", [-9.0, -1.5, 3.0, 15.0, 100.0])
def test_segments_keep_their_pace_where_their_clock_jumps(jump_s: float):
    at = arrivals([100 + 0.02 * i + jump_s * (i >= 5) for i in range(10)])
    assert 9 * 0.02 - 0.001 <= at[-1] - at[0] < 2


def test_a_camera_that_is_slower_than_a_jump_is_paced_too(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(feed, "_AHEAD_S", 0.05)
    at = arrivals([100, 100.2, 100.4, 100.6])
    assert at[-1] - at[1] > 0.35, "what they are apart is known from the third on"
