"""Live sources that go away and come back: the rules on scripts, then real servers with real faults."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
from av.container import InputContainer
from fakes import FakeEstimator, frame, picture
from hypothesis import given
from hypothesis import strategies as st
from servers.hls import HlsServer
from servers.proxy import Proxy
from servers.rtsp import RtspServer, has_gstreamer
from servers.web import GarbageServer, MjpegServer

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
    SourceUnauthorized,
    SourceUnsupported,
)
from streampose.frame import Frame, StreamInfo
from streampose.sources import Backoff, CameraSource, LinkState, NetworkSource, Reconnecting, feed, reconnect
from streampose.sources.timeline import Timeline
from streampose.streams import Outcome

UNIT = Fraction(1, 90_000)
AT_ONCE = Backoff(first_s=0.001, cap_s=0.001)

rtsp = pytest.mark.skipif(not has_gstreamer(), reason="GStreamer's RTSP server is absent (gir1.2-gst-rtsp-server-1.0)")


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


@pytest.mark.parametrize("error", [SourceUnauthorized("x"), SourceError("x")], ids=lambda e: e.cause)
def test_what_no_waiting_helps_against_ends_it_at_any_time(error: SourceError):
    for script in (Script(error), Script([0, error]), Script([0, Disconnected("x")], error)):
        source = Reconnecting(script, backoff=AT_ONCE)
        with pytest.raises(type(error)):
            read_all(source)
        assert source.link.cause == error.cause
        source.close()


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
    assert source.link.lost == {}
    assert ["waiting for it" in caplog.messages[0], "there after" in caplog.messages[1]] == [True, True]
    assert len(caplog.messages) == 2


def test_a_stream_that_does_not_exist_any_more_is_given_up_after_a_minute(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reconnect, "_NOT_FOUND_S", 0.05)
    missing = [SourceNotFound("x")] * 1000
    with pytest.raises(SourceNotFound):
        read_all(Reconnecting(Script([0, Disconnected("x")], *missing), backoff=AT_ONCE))


def test_waits_grow_until_a_connection_has_lasted():
    draws: list[int] = []

    class Noted(Backoff):
        def wait_s(self, tries: int, draw: object = None) -> float:
            draws.append(tries)
            return 0.0

    gone = Disconnected("x")
    long: list = [0, lambda: time.sleep(0.06), 1, gone]
    read_all(Reconnecting(Script([0, gone], gone, [0, gone], long, [0]), backoff=Noted(healthy_s=0.05)))
    assert draws == [0, 1, 2, 0]


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
        assert time.monotonic() - began < 1
        timer.join()
        source.close()


async def test_stopping_a_pipeline_does_not_wait_for_a_camera_that_is_away():
    away = Reconnecting(Script(*[SourceRefused("x")] * 9), backoff=Backoff(first_s=1e9, cap_s=1e9))
    lost = Reconnecting(Script([0, *[Disconnected("x")] * 9]), backoff=Backoff(first_s=1e9, cap_s=1e9))
    async with Pipeline(
        [Stream(name="away", source=away), Stream(name="lost", source=lost)], FakeEstimator()
    ) as pipeline:
        running = asyncio.create_task(pipeline.run())
        await asyncio.sleep(0.3)
        links = {name: report.link for name, report in pipeline.reports.items()}
        assert (links["away"].state, links["away"].cause) == (LinkState.CONNECTING, "refused")
        assert (links["lost"].state, links["lost"].cause) == (LinkState.LOST, "lost")
        began = time.monotonic()
        pipeline.stop()
        reports = await running
    assert time.monotonic() - began < 1
    assert {r.outcome for r in reports.values()} == {Outcome.STOPPED}


def test_a_webcam_that_was_unplugged_is_not_missing_but_away(monkeypatch: pytest.MonkeyPatch):
    camera = CameraSource("v4l2:/dev/video98")
    with pytest.raises(SourceNotFound):
        camera.open("cam")
    camera._worked = True
    with pytest.raises(Disconnected, match="no camera"):
        camera.open("cam")


# --- real servers, real faults ----------------------------------------------------------------------------------------


class Watch:
    """Reads a source on a thread, as the pipeline does, and keeps what it saw of each frame, without the picture."""

    def __init__(self, url: str, *, stall_s: float = 1.0, **options) -> None:
        self.source = Reconnecting(NetworkSource(url, open_timeout_s=2.0, stall_s=stall_s, **options))
        self.frames: list[tuple[float, Frame]] = []
        self.error: SourceError | None = None
        self._thread = threading.Thread(target=self._run, name="streampose-watch")
        self._thread.start()

    def _run(self) -> None:
        try:
            self.source.open("cam")
            while (frame := self.source.read()) is not None:
                self.frames.append((time.monotonic(), replace(frame, image=frame.image[:0])))
        except SourceError as error:
            self.error = error

    @property
    def epoch(self) -> int:
        return self.frames[-1][1].epoch if self.frames else -1

    def until(self, condition: Callable[[], bool], within_s: float = 8.0) -> float:
        began = time.monotonic()
        while not condition():
            assert self.error is None, self.error
            assert time.monotonic() - began < within_s, f"nothing within {within_s} s; {self.source.link}"
            time.sleep(0.01)
        return time.monotonic() - began

    def more(self, frames: int = 5) -> float:
        there = len(self.frames)
        return self.until(lambda: len(self.frames) >= there + frames)

    def close(self) -> None:
        began = time.monotonic()
        self.source.interrupt()
        self._thread.join()
        self.source.close()
        assert time.monotonic() - began < 1, "it kept us waiting"


@contextlib.contextmanager
def watch(url: str, **options) -> Iterator[Watch]:
    watched = Watch(url, **options)
    try:
        yield watched
    finally:
        watched.close()
    frames = [frame for _, frame in watched.frames]
    assert all(a.pts < b.pts and a.index < b.index and a.captured_at <= b.captured_at for a, b in pairwise(frames))


@pytest.fixture
def server() -> Iterator[RtspServer]:
    server = RtspServer("--gop", "15")
    yield server
    server.kill()


@pytest.fixture
def proxy(server: RtspServer) -> Iterator[Proxy]:
    proxy = Proxy(server.port)
    yield proxy
    proxy.close()


def through(proxy: Proxy) -> str:
    return f"rtsp://127.0.0.1:{proxy.port}/live"


@rtsp
def test_a_server_that_is_killed_and_comes_back_as_another(server: RtspServer, caplog: pytest.LogCaptureFixture):
    with watch(server.url(userinfo="me:secret@")) as seen:
        seen.more()
        for epoch, stream in ((1, ["--codec", "h265", "--size", "320x240"]), (2, ["--codec", "mjpeg"])):
            server.kill()
            seen.until(lambda: seen.source.link.state is LinkState.LOST)
            server.start(*stream)
            assert seen.until(lambda epoch=epoch: seen.epoch == epoch) < 5
            seen.more()
    assert sum(seen.source.link.lost.values()) == 2
    assert len([r for r in caplog.records if r.levelno == logging.WARNING]) == 4
    assert "secret" not in caplog.text


@rtsp
def test_a_camera_that_is_switched_on_later():
    free = RtspServer()
    free.kill()
    with watch(free.url()) as seen:
        seen.until(lambda: seen.source.link.cause == "refused")
        free.start()
        seen.until(lambda: seen.epoch == 0)
    free.kill()


@rtsp
def test_a_connection_that_is_reset(proxy: Proxy):
    with watch(through(proxy)) as seen:
        seen.more()
        proxy.reset()
        assert seen.until(lambda: seen.epoch == 1) < 3
    assert sum(seen.source.link.lost.values()) == 1


@rtsp
def test_silence_and_a_black_hole(server: RtspServer, proxy: Proxy):
    with watch(server.url()) as frozen, watch(through(proxy)) as held:
        frozen.more()
        held.more()
        proxy.hold(True)
        held.until(lambda: held.source.link.state is LinkState.LOST, 3)
        proxy.hold(False)
        held.until(lambda: held.epoch == 1)
        server.pause()
        frozen.until(lambda: frozen.source.link.state is LinkState.LOST, 3)
        server.go_on()
        frozen.until(lambda: frozen.epoch == 1)
    assert held.source.link.lost["timed out"] == 1
    assert frozen.source.link.lost == {"timed out": 1}


@rtsp
def test_a_server_that_is_gone_without_a_word(proxy: Proxy):
    with watch(through(proxy)) as seen:
        seen.more()
        proxy.half_open()
        seen.until(lambda: seen.source.link.cause == "timed out", 3)
        proxy.hold(False)
        seen.until(lambda: seen.epoch == 1)


@rtsp
def test_damaged_packets_cost_pictures_not_the_connection(proxy: Proxy):
    with watch(through(proxy), stall_s=3.0) as seen:
        seen.more()
        proxy.flip = 0.2
        seen.more(60)
        proxy.flip = 0.0
        seen.more(20)
    assert proxy.flipped > 5
    assert seen.epoch == 0


@rtsp
def test_lost_packets_cost_pictures_not_the_connection(proxy: Proxy):
    with watch(through(proxy), transport="udp", stall_s=3.0) as seen:
        seen.more()
        proxy.lose = 0.1
        seen.more(60)
    assert proxy.lost > 5
    assert seen.epoch == 0


def test_bytes_that_make_no_picture_are_a_stall():
    server = MjpegServer()
    with watch(f"http://127.0.0.1:{server.port}/video", stall_s=1.0) as seen:
        seen.more()
        server.ruin(True)
        seen.until(lambda: seen.source.link.cause == "stalled", 4)
        assert seen.source.link.skipped_packets > 10
        server.ruin(False)
        seen.until(lambda: seen.epoch == 1)
    assert seen.source.link.lost == {"stalled": 1}
    server.stop()


@rtsp
def test_a_reader_that_was_held_up_goes_on_with_what_is_fresh(server: RtspServer):
    source = NetworkSource(server.url(), open_timeout_s=2, stall_s=2)
    source.open("cam")
    assert source.read() is not None
    time.sleep(2.0)  # 60 frames pile up
    before = source._index
    frames = [source.read() for _ in range(20)]
    ages = [time.monotonic() - f.captured_at for f in frames]
    source.close()
    assert all(a.captured_at < b.captured_at for a, b in pairwise(frames))
    assert all(age < 2 * feed.MAX_AGE_S + 0.2 for age in ages)
    assert ages[-1] < 0.1
    # What was left out leaves a gap in the indices.
    assert frames[0].index - before > 25


@rtsp
def test_the_cameras_own_clock():
    server = RtspServer()
    source = NetworkSource(server.url(), open_timeout_s=2, stall_s=2)
    source.open("cam")
    told = []
    for _ in range(300):
        frame = source.read()
        if frame.wall_time_s is not None:
            told.append(frame.wall_time_s - time.time())
        if len(told) == 10:
            break
    source.close()
    server.kill()
    assert len(told) == 10
    assert all(-0.5 < late_s < 0.1 for late_s in told)


def test_mjpeg_over_http():
    server = MjpegServer()
    with watch(f"http://127.0.0.1:{server.port}/video", stall_s=1.0) as seen:
        seen.more(20)
        server.stop()
        seen.until(lambda: seen.source.link.state is LinkState.LOST, 3)
        server = MjpegServer(server.port)
        seen.until(lambda: seen.epoch == 1)
        seen.more(20)
    server.stop()


def test_hls_comes_in_its_own_time(tmp_path: Path):
    server = HlsServer(tmp_path)
    time.sleep(1.5)
    with watch(server.url) as seen:
        seen.more(90)
    server.close()
    at = [at for at, _ in seen.frames]
    media_s = seen.frames[-1][1].time_s - seen.frames[0][1].time_s
    assert at[-1] - at[0] == pytest.approx(media_s, abs=0.5)
    assert max(b - a for a, b in pairwise(at)) < 0.5
    assert seen.epoch == 0


def test_the_name_service_is_away_for_a_while(monkeypatch: pytest.MonkeyPatch):
    server = MjpegServer()
    real, off = socket.getaddrinfo, threading.Event()

    def getaddrinfo(*arguments, **options):
        if off.is_set():
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return real(*arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with watch(f"http://127.0.0.1:{server.port}/video") as seen:
        seen.more()
        off.set()
        server.stop()
        seen.until(lambda: seen.source.link.cause == "no host", 3)
        server = MjpegServer(server.port)
        off.clear()
        seen.until(lambda: seen.epoch == 1)
    off.set()
    with pytest.raises(HostNotFound, match="Temporary failure"):
        Reconnecting(NetworkSource(f"http://127.0.0.1:{server.port}/video")).open("cam")
    server.stop()


@rtsp
def test_a_camera_whose_clock_jumps(proxy: Proxy):
    with watch(through(proxy)) as seen:
        seen.more()
        for hours in (5, -3, 0):
            proxy.clock_s = hours * 3600.0
            seen.more(20)
    assert seen.epoch == 0
    assert seen.frames[-1][1].time_s - seen.frames[0][1].time_s < 10


@rtsp
def test_nothing_is_left_behind(proxy: Proxy):
    process = psutil.Process()
    with watch(through(proxy)) as seen:
        seen.source._backoff = AT_ONCE
        for epoch in range(10):
            seen.until(lambda epoch=epoch: seen.epoch == epoch)
            seen.more(2)
            if epoch == 1:
                files = process.num_fds()
            proxy.reset()
        seen.until(lambda: seen.epoch == 10)
        # An error that is kept keeps, by its traceback, the container of its connection (1.3 MB each).
        gc.collect()
        assert sum(issubclass(type(thing), InputContainer) for thing in gc.get_objects()) <= 2
        assert process.num_fds() <= files + 2
    time.sleep(0.3)
    assert not [t.name for t in threading.enumerate() if t.name.startswith("streampose")]


def test_a_server_that_sends_garbage():
    with GarbageServer() as server:
        for scheme in ("http", "rtsp"):
            source = Reconnecting(NetworkSource(f"{scheme}://127.0.0.1:{server.port}/x", open_timeout_s=1, stall_s=0.5))
            timer = threading.Timer(1.5, source.interrupt)
            timer.start()
            with pytest.raises(SourceError):
                source.open("cam")
            timer.cancel()
            timer.join()
            source.close()
