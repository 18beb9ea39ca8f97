"""Live sources that go away and come back, by scripts; test_faults.py has the real ones."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from av.container import InputContainer
from av.video.stream import VideoStream
from fakes import FakeEstimator, frame, picture
from hypothesis import given
from hypothesis import strategies as st

from streampose import Pipeline, Stream
from streampose.errors import (
    Disconnected,
    HostNotFound,
    SourceCorrupt,
    SourceEnded,
    SourceError,
    SourceNotFound,
    SourceRefused,
    SourceStalled,
    SourceTimeout,
    SourceTruncated,
    SourceUnauthorized,
    SourceUnsupported,
)
from streampose.frame import Frame, StreamInfo
from streampose.sources import Backoff, CameraSource, LinkState, Reconnecting, reconnect
from streampose.sources.media import MediaSource
from streampose.sources.timeline import Timeline
from streampose.streams import Outcome

UNIT = Fraction(1, 90_000)
AT_ONCE = Backoff(first_s=0.001, cap_s=0.001)


# --- how long to wait -------------------------------------------------------------------------------------------------


@given(st.integers(0, 5000))
def test_waits_are_drawn_between_nothing_and_a_bound_that_doubles_up_to_a_cap(tries: int):
    backoff = Backoff(first_s=0.25, cap_s=3.0)
    assert backoff.wait_s(tries, draw=lambda low, _: low) == 0
    assert backoff.wait_s(tries, draw=lambda _, high: high) == (0.25 * 2**tries if tries < 4 else 3.0)
    assert 0 <= backoff.wait_s(tries) <= 3.0


# --- media time -------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.one_of(st.none(), st.integers(-(2**40), 2**40)), st.floats(0, 5), st.booleans())))
def test_times_only_go_forwards_whatever_comes(steps: list[tuple[int | None, float, bool]]):
    timeline, at, places = Timeline(), 1000.0, []
    for pts, passed_s, anew in steps:
        at += passed_s
        if anew:
            timeline.restart()
        places.append(timeline.place(pts, UNIT, at))
    assert all(a < b for a, b in pairwise(places))


@given(st.floats(-1e-3, 1e-3), st.integers(0, 2**32), st.lists(st.floats(0, 0.5), min_size=2, max_size=200))
def test_a_clock_that_runs_well_enough_is_taken_as_it_is(skew: float, start: int, delays_s: list[float]):
    timeline = Timeline()
    pts = [start + round(i * 3000 * (1 + skew)) for i in range(len(delays_s))]
    arrived, last = [], 0.0
    for i, delay_s in enumerate(delays_s):
        arrived.append(last := max(last, i / 30 + delay_s))
    assert [timeline.place(p, UNIT, at) for p, at in zip(pts, arrived, strict=True)] == pts


@given(st.sampled_from([-3600, -86400 * 365, 3600, 5]), st.integers(1, 60))
def test_a_clock_that_jumps_is_followed_without_the_jump(jump_s: int, at_frame: int):
    timeline = Timeline()
    places = []
    for i in range(120):
        pts = 10**12 + i * 3000 + (jump_s * 90_000 if i >= at_frame else 0)
        places.append(timeline.place(pts, UNIT, 50 + i / 30))
    assert {b - a for a, b in pairwise(places)} == {3000}


@pytest.mark.parametrize(
    "own",
    [
        lambda i: 500 if i > 9 else 500 + 3000 * i,
        lambda i: 3000 * i - i // 60 * 72_000,  # 0.8 s back every 2 s
        lambda i: 3000 * i - i // 2 * 6000,  # two steps forwards and one back: it stays where it is
    ],
)
def test_a_clock_that_does_not_go_on_holds_the_time_up_for_a_second(own: Callable[[int], int]):
    timeline = Timeline()
    placed_s = [timeline.place(own(i), UNIT, 50 + i / 30) / 90_000 for i in range(900)]
    assert placed_s[-1] - placed_s[0] == pytest.approx(899 / 30, abs=1.1)
    assert max(b - a for a, b in pairwise(placed_s)) < 0.1, "it does not go in leaps"


@given(st.lists(st.integers(-4000, 4000), min_size=120, max_size=120), st.sampled_from([0.98, 1.0, 1.02]))
def test_jitter_moves_nothing(jitter: list[int], speed: float):
    """Of 44 ms, more than a step, so that times go back again and again."""
    timeline = Timeline()
    own = [10_000 + round(i * 3000 * speed) + shift for i, shift in enumerate(jitter)]
    placed = [timeline.place(pts, UNIT, 50 + i / 30) for i, pts in enumerate(own)]
    assert max(abs(place - pts) for place, pts in zip(placed, own, strict=True)) <= 8000 + 120


def test_another_unit_after_a_restart():
    timeline = Timeline()
    assert timeline.place(9000, UNIT, 10.0) == 9000
    timeline.restart()
    assert timeline.place(500, Fraction(1, 1000), 12.0) == 9000 + 2 * 90_000
    assert timeline.place(540, Fraction(1, 1000), 12.1) == 9000 + 2 * 90_000 + 3600


# --- what is tried again ----------------------------------------------------------------------------------------------


class Script:
    """A live source: what each opening does (an error, or the frames of that connection), in turn."""

    live = True

    def __init__(self, *openings: Exception | list[int | Exception | Callable[[], None] | Frame]) -> None:
        self._openings = iter(openings)
        self.tries = self.closed = 0
        self.is_open = False

    def open(self, stream: str) -> StreamInfo:
        assert not self.is_open, "opened twice"
        self.tries += 1
        opening = next(self._openings)
        if isinstance(opening, Exception):
            raise opening
        self.is_open, self._steps = True, iter(opening)
        return StreamInfo(width_px=64, height_px=48, time_base=Fraction(1, 1000))

    def read(self) -> Frame | None:
        for step in self._steps:
            if isinstance(step, Exception):
                raise step
            if isinstance(step, Frame):
                return step
            if isinstance(step, int):
                return frame(step, stream="cam", captured_at=time.monotonic())
            step()
        return None

    def close(self) -> None:
        self.closed += 1
        self.is_open = False


def read_all(source: Reconnecting) -> list[Frame]:
    source.open("cam")
    frames = list(iter(source.read, None))
    source.close()
    return frames


RETRIED = [
    Disconnected("x"),
    SourceRefused("x"),
    SourceTimeout("x"),
    SourceStalled("x"),
    SourceEnded("x"),
    HostNotFound("x"),
    SourceNotFound("x"),
    SourceUnsupported("x"),
    SourceCorrupt("x"),
]


@pytest.mark.parametrize("error", RETRIED, ids=lambda e: e.cause)
def test_a_source_that_has_worked_is_opened_again(error: SourceError, caplog: pytest.LogCaptureFixture):
    script = Script([0, 1, 2, error], error, error, [0, 3, error], [0])
    source = Reconnecting(script, backoff=AT_ONCE)
    frames = read_all(source)
    assert [f.epoch for f in frames] == [0, 0, 0, 1, 1, 2]
    # What the source left out itself (1 and 2 of the second connection) leaves a gap.
    assert [f.index for f in frames] == [0, 1, 2, 3, 6, 7]
    assert all(a.pts < b.pts and a.time_base == b.time_base for a, b in pairwise(frames))
    assert source.link.lost == {error.cause: 2}
    assert (source.link.reconnects, source.link.tries, source.link.state) == (2, 2, LinkState.CLOSED)
    # One line at each loss and one at each return, not one for each try.
    assert [("lost" in r.message, "back after" in r.message) for r in caplog.records] == [
        (True, False),
        (False, True),
    ] * 2
    assert error.cause in caplog.records[0].message


@pytest.mark.parametrize(
    "error", [SourceUnauthorized("x"), SourceTruncated("x"), SourceError("x")], ids=lambda e: e.cause
)
def test_what_no_waiting_helps_against_ends_it_at_any_time(error: SourceError):
    for script in (Script(error), Script([0, error]), Script([0, Disconnected("x")], error)):
        source = Reconnecting(script, backoff=AT_ONCE)
        with pytest.raises(type(error)):
            read_all(source)
        assert source.link.cause == error.cause
        source.close()


def test_only_a_source_that_has_come_back_counts_as_a_return():
    gone = Disconnected("x")
    refused = Reconnecting(Script([0, gone], [0, gone], SourceUnauthorized("x")), backoff=AT_ONCE)
    with pytest.raises(SourceUnauthorized):
        read_all(refused)
    stopped = Reconnecting(Script([0, gone]), backoff=Backoff(first_s=1e9, cap_s=1e9))
    timer = threading.Timer(0.1, stopped.interrupt)
    timer.start()
    read_all(stopped)
    timer.join()
    for source, returns in ((refused, 1), (stopped, 0)):
        assert (source.link.lost, source.link.reconnects) == ({"lost": returns + 1}, returns)
        source.close()
        assert source.link.reconnects == returns


def test_damaged_pictures_that_are_shown_are_counted_over_all_connections(tmp_path: Path):
    class Camera(MediaSource):
        live = True

    noise, path = np.random.default_rng(0), tmp_path / "v.ts"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height = 320, 240
        for _ in range(8):
            one = noise.integers(0, 256, (240, 320, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(one, format="bgr24")))
        container.mux(stream.encode(None))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])  # the last picture lacks its end
    source = Reconnecting(Camera(str(path)), backoff=AT_ONCE)
    source.open("cam")
    while source.link.reconnects < 2:
        assert source.read() is not None
    source.close()
    assert (source.link.damaged_pictures, source.link.skipped_packets) == (2, 0)


def test_damaged_packets_are_counted_over_all_connections(tmp_path: Path):
    class Camera(MediaSource):
        live = True

    with av.open(str(tmp_path / "damaged.avi"), "w") as container:
        stream = container.add_stream("mjpeg", rate=10, width=64, height=48, pix_fmt="yuvj420p")
        for i in range(4):
            (packet,) = stream.encode(av.VideoFrame.from_ndarray(picture(i, 48, 64), format="bgr24"))
            if i == 2:
                damaged = av.Packet(bytes(packet)[:2])
                damaged.stream, damaged.pts, damaged.dts, damaged.time_base = (
                    stream,
                    packet.pts,
                    packet.dts,
                    packet.time_base,
                )
                packet = damaged
            container.mux(packet)
    source = Reconnecting(Camera(str(tmp_path / "damaged.avi")), backoff=AT_ONCE)
    source.open("cam")
    while source.link.reconnects < 2:
        assert source.read() is not None
        assert source.link.skipped_packets >= source.link.reconnects
    source.close()


def test_what_is_lost_behind_the_last_picture_counts():
    class Camera(Script):
        lost_packets = 0

    script = Camera([3])
    source = Reconnecting(script)
    source.open("cam")
    assert source.read() is not None
    script.lost_packets = 2
    source.close()
    assert source.link.lost_packets == 2


@pytest.mark.parametrize("opens", [True, False])
def test_what_a_lost_connection_held_is_let_go_of_before_it_is_waited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opens: bool
):
    """Without a garbage collection, which may be long in coming: a camera that comes and goes would fill the memory."""

    class Camera(MediaSource):
        live = True

        def _connect(self) -> InputContainer:
            if len(held) == 3:
                raise SourceRefused("x")
            return super()._connect()

        def _chosen(self, videos: Sequence[VideoStream]) -> VideoStream | None:
            if not opens:
                raise SourceTimeout("x")
            return super()._chosen(videos)

    def wait_s(*_: object) -> float:
        held.append(sum(type(thing) is InputContainer for thing in gc.get_objects()))
        if len(held) == 5:
            source.interrupt()
        return 0.0

    held: list[int] = []
    with av.open(str(tmp_path / "v.avi"), "w") as container:
        stream = container.add_stream("mjpeg", rate=10, width=64, height=48, pix_fmt="yuvj420p")
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(0, 48, 64), format="bgr24")))
    monkeypatch.setattr(Backoff, "wait_s", wait_s)
    source = Reconnecting(Camera(str(tmp_path / "v.avi")))
    gc.collect()
    gc.disable()
    try:
        there = sum(type(thing) is InputContainer for thing in gc.get_objects())
        with nullcontext() if opens else pytest.raises(Disconnected, match="closed before it was there"):
            read_all(source)
    finally:
        gc.enable()
    assert [count - there for count in held] == [0] * 5


@pytest.mark.parametrize("error", [HostNotFound("x"), SourceNotFound("x"), SourceUnsupported("x"), SourceCorrupt("x")])
def test_a_slip_of_the_pen_is_said_at_once(error: SourceError):
    script = Script(error)
    with pytest.raises(type(error)):
        Reconnecting(script, backoff=AT_ONCE).open("cam")
    assert script.tries == 1


@pytest.mark.parametrize("error", [SourceRefused("x"), SourceTimeout("x"), Disconnected("x")])
def test_a_camera_that_is_off_at_the_start_is_waited_for(error: SourceError, caplog: pytest.LogCaptureFixture):
    source = Reconnecting(Script(error, error, error, [0]), backoff=AT_ONCE)
    assert [f.epoch for f in read_all(source)] == [0]
    assert (source.link.lost, source.link.reconnects) == ({}, 0)
    assert ["waiting for it" in caplog.messages[0], "(try 3)" in caplog.messages[1]] == [True, True]
    assert len(caplog.messages) == 2


@pytest.mark.parametrize("error", [HostNotFound("x"), SourceNotFound("x")])
def test_with_patience_what_is_unknown_now_is_waited_for_at_the_start_and_for_longer_than_a_minute(
    error: SourceError, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(reconnect, "_NOT_FOUND_S", 0.0)
    script = Script(error, error, [0, Disconnected("x")], error, error, [1])
    source = Reconnecting(script, backoff=AT_ONCE, patient=True)
    assert [f.epoch for f in read_all(source)] == [0, 1]
    told = [getattr(r, "event", None) for r in caplog.records]
    assert told == ["away", "there", "lost", "back"]


def test_no_patience_helps_against_a_wrong_password():
    script = Script(SourceUnauthorized("x"))
    with pytest.raises(SourceUnauthorized):
        Reconnecting(script, backoff=AT_ONCE, patient=True).open("cam")
    assert script.tries == 1


def test_no_log_has_the_password_of_a_camera(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    error = SourceRefused("rtsp://me:geheim@x/ refused")
    read_all(Reconnecting(Script(error, error, [0]), backoff=AT_ONCE))
    assert caplog.text.count("rtsp://***@x/ refused") == 2
    assert "geheim" not in caplog.text


def test_a_stream_that_does_not_exist_any_more_is_given_up_after_a_minute(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reconnect, "_NOT_FOUND_S", 0.05)
    missing = [SourceNotFound("x")] * 1000
    with pytest.raises(SourceNotFound):
        read_all(Reconnecting(Script([0, Disconnected("x")], *missing), backoff=AT_ONCE))


def test_a_camera_that_comes_and_goes_does_not_fill_the_log(caplog: pytest.LogCaptureFixture):
    gone = Disconnected("x")
    stays: list = [0, lambda: time.sleep(0.55), 1, 2]
    read_all(Reconnecting(Script(*([0, gone] for _ in range(20)), stays), backoff=Backoff(cap_s=0.001, healthy_s=0.5)))
    told = [r.message.removeprefix("cam: ").split(" (")[0] for r in caplog.records if r.levelno >= logging.WARNING]
    assert [words.split(" after")[0] for words in told] == [
        *["lost, trying again", "back"] * 2,
        "comes and goes, lost 3 times in a row",
        "back, and stays",
    ]


def test_a_camera_that_is_lost_now_and_then_is_told_each_time(caplog: pytest.LogCaptureFixture):
    gone = Disconnected("x")
    short, long = [0, gone], [0, lambda: time.sleep(0.05), gone]
    read_all(Reconnecting(Script(short, short, long, short, [0]), backoff=Backoff(cap_s=0.001, healthy_s=0.04)))
    assert [r.message for r in caplog.records if "comes and goes" in r.message] == []
    assert sum("lost, trying again" in r.message for r in caplog.records) == 4


def test_a_camera_that_came_and_went_and_stays_away_is_told(caplog: pytest.LogCaptureFixture):
    gone = Disconnected("x")
    tries = [gone] * 400  # at 1 ms and more between them
    read_all(Reconnecting(Script(*[[0, gone]] * 4, *tries, [0]), backoff=Backoff(cap_s=0.002, healthy_s=0.1)))
    told = [r.message for r in caplog.records if r.levelno >= logging.WARNING]
    assert "lost, trying again" in told[-2]
    assert "back after" in told[-1]


def test_waits_grow_until_a_connection_has_lasted():
    draws: list[int] = []

    class Noted(Backoff):
        def wait_s(self, tries: int, draw: object = None) -> float:
            draws.append(tries)
            return 0.0

    gone = Disconnected("x")
    long: list = [0, lambda: time.sleep(1.1), 1, gone]
    read_all(Reconnecting(Script([0, gone], gone, [0, gone], long, [0]), backoff=Noted(healthy_s=1.0)))
    assert draws == [0, 1, 2, 0]


def test_what_a_try_took_is_part_of_the_wait(monkeypatch: pytest.MonkeyPatch):
    class Slow(Script):
        def open(self, stream: str) -> StreamInfo:
            if self.tries:
                time.sleep(0.3)
            return super().open(stream)

    monkeypatch.setattr(Backoff, "wait_s", lambda *_: 0.3)
    gone = SourceTimeout("x")
    source = Reconnecting(Slow([0, gone], gone, gone, gone, [0]))
    began = time.monotonic()
    read_all(source)
    # One wait before the first of four tries, and a tenth of one after those that were as long.
    assert 1.5 <= time.monotonic() - began < 2.4


def test_another_size_is_another_epoch():
    small = frame(1, stream="cam", captured_at=time.monotonic())
    wide = Frame(
        stream="cam", index=2, epoch=0, pts=80, time_base=Fraction(1, 1000), captured_at=time.monotonic(),
        image=picture(0, 48, 96),
    )  # fmt: skip
    frames = read_all(Reconnecting(Script([0, small, wide, Disconnected("x")], [0], [0]), backoff=AT_ONCE))
    # The second connection has the first size again: one change, one epoch.
    assert [f.epoch for f in frames] == [0, 0, 1, 2]


def test_a_wait_ends_when_it_is_interrupted():
    for script, opens in ((Script(*[SourceRefused("x")] * 9), False), (Script([0, *[Disconnected("x")] * 9]), True)):
        source = Reconnecting(script, backoff=Backoff(first_s=1e9, cap_s=1e9))
        timer = threading.Timer(0.1, source.interrupt)
        timer.start()
        began = time.monotonic()
        if opens:
            source.open("cam")
            assert source.read() is not None
            assert source.read() is None
        else:
            with pytest.raises(Disconnected):
                source.open("cam")
        assert time.monotonic() - began < 5
        timer.join()
        source.close()


class Silent(Script):
    """Says nothing until it is interrupted; then its connection is gone."""

    def __init__(self, *openings: Exception | list[int | Exception | Callable[[], None] | Frame]) -> None:
        super().__init__(*openings)
        self.over = threading.Event()

    def open(self, stream: str) -> StreamInfo:
        try:
            return super().open(stream)
        except StopIteration:
            self._wait()
        raise Disconnected("x")

    def read(self) -> Frame | None:
        if (got := super().read()) is None:
            self._wait()
            raise Disconnected("x")
        return got

    def interrupt(self) -> None:
        self.over.set()

    def close(self) -> None:
        super().close()
        self.over.clear()

    def _wait(self) -> None:
        assert self.over.wait(10), "nobody has told it"


def test_an_interrupt_reaches_the_source_and_is_no_loss(caplog: pytest.LogCaptureFixture):
    """And once closed it can be opened again, as something new."""
    script = Silent([0], [3])
    source = Reconnecting(script, backoff=AT_ONCE)
    for index in (0, 3):
        source.open("cam")
        got = source.read()
        assert got is not None
        assert (got.index, got.epoch, source.link.state) == (index, 0, LinkState.UP)
        timer = threading.Timer(0.02, source.interrupt)
        timer.start()
        assert source.read() is None
        timer.join()
        source.close()
        assert not script.is_open
    timer = threading.Timer(0.02, source.interrupt)
    timer.start()
    with pytest.raises(Disconnected):
        source.open("cam")
    timer.join()
    source.close()
    assert (source.link.lost, source.link.tries, caplog.messages) == ({}, 0, [])


async def test_stopping_a_pipeline_does_not_wait_for_a_camera_that_is_away():
    away = Reconnecting(Script(*[SourceRefused("x")] * 9), backoff=Backoff(first_s=1e9, cap_s=1e9))
    lost = Reconnecting(Script([0, *[Disconnected("x")] * 9]), backoff=Backoff(first_s=1e9, cap_s=1e9))
    async with Pipeline(
        [Stream(name="away", source=away), Stream(name="cam", source=lost)], FakeEstimator()
    ) as pipeline:
        running = asyncio.create_task(pipeline.run())
        links = {}
        async with asyncio.timeout(10):
            while not (len(links) == 2 and all(link is not None and link.cause for link in links.values())):
                await asyncio.sleep(0.02)
                links = {name: report.link for name, report in pipeline.reports.items()}
        assert (links["away"].state, links["away"].cause) == (LinkState.CONNECTING, "refused")
        assert (links["cam"].state, links["cam"].cause) == (LinkState.LOST, "lost")
        began = time.monotonic()
        pipeline.stop()
        reports = await running
    assert time.monotonic() - began < 5
    assert {r.outcome for r in reports.values()} == {Outcome.STOPPED}


def test_a_webcam_that_was_unplugged_is_not_missing_but_away(monkeypatch: pytest.MonkeyPatch):
    camera = CameraSource("v4l2:/dev/video98")
    with pytest.raises(SourceNotFound):
        camera.open("cam")
    camera._worked = True
    with pytest.raises(Disconnected, match="no camera"):
        camera.open("cam")
