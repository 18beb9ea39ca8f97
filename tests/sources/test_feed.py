"""The thread that listens: how what comes in bulk is given its time back."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from types import SimpleNamespace

import av
import pytest

from streampose.sources import feed


class Segments:
    """HLS, whose packets are all there at once, up to where its list is loaded again."""

    format = SimpleNamespace(name="hls")

    def __init__(self, times_s: list[float], *, reload_at: int = -1, reload_s: float = 0.0) -> None:
        self._times_s = times_s
        self._reload_at, self._reload_s = reload_at, reload_s

    def demux(self, _: object) -> Iterator[av.Packet]:
        for i, time_s in enumerate(self._times_s):
            if i == self._reload_at:
                time.sleep(self._reload_s)
            packet = av.Packet(f"picture {i}".encode())
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


def fed(segments: Segments, given: deque[feed.Mark]) -> list[float]:
    """The times of all packets that are not left out."""
    listener = feed.Feed(lambda: segments, "test", given)
    assert listener.container(1.0) is not None
    listener.start(SimpleNamespace())
    times_s = []
    while isinstance(packet := listener.take(time.monotonic() + 3.0), av.Packet):
        times_s.append(float(packet.dts * packet.time_base))
    assert packet is feed.Silence.ENDED
    listener.close()
    return times_s


def test_a_clip_that_a_live_encoder_plays_again_is_shown_again_after_a_reconnect(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(feed, "_RELOAD_S", 0.05)
    given: deque[feed.Mark] = deque(maxlen=feed.GIVEN)
    clip_s = [0.0, 0.01, 0.02, 0.03, 0.04, 0.05]
    assert fed(Segments(clip_s), given) == clip_s
    assert fed(Segments(clip_s), given) == [], "an encoder that stopped"
    # The parser holds the one before the wait back until after it.
    assert fed(Segments(clip_s, reload_at=2, reload_s=0.1), given) == clip_s[3:]


def test_three_long_segments_are_known_again():
    given: deque[feed.Mark] = deque(maxlen=feed.GIVEN)
    window_s = [0.0] * (3 * 30 * 60)  # of 30 s at 60 fps
    fed(Segments(window_s), given)
    assert fed(Segments(window_s), given) == []
