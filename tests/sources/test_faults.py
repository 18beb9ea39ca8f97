"""Real servers with real faults: the short form of benchmarks/faults.py."""

from __future__ import annotations

import collections
import gc
import logging
import socket
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import psutil
import pytest
from av.container import InputContainer
from servers.hls import HlsServer
from servers.proxy import Proxy
from servers.rtsp import RtspServer, has_gstreamer
from servers.web import GarbageServer, MjpegServer
from watching import watch

from streampose.errors import (
    HostNotFound,
    SourceError,
    SourceTimeout,
)
from streampose.sources import Backoff, LinkState, NetworkSource, Reconnecting, feed

AT_ONCE = Backoff(first_s=0.001, cap_s=0.001)

rtsp = pytest.mark.skipif(not has_gstreamer(), reason="GStreamer's RTSP server is absent (gir1.2-gst-rtsp-server-1.0)")


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
            seen.until(lambda epoch=epoch: seen.epoch == epoch)
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
        seen.until(lambda: seen.epoch == 1)
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
    # Once; twice where a busy machine is slow to answer.
    assert held.source.link.lost["timed out"] >= 1
    assert set(frozen.source.link.lost) == {"timed out"}


@rtsp
def test_a_server_that_is_gone_without_a_word(proxy: Proxy):
    with watch(through(proxy)) as seen:
        seen.more()
        proxy.half_open()
        seen.until(lambda: seen.source.link.cause == "timed out", 3)
        proxy.hold(False)
        seen.until(lambda: seen.epoch == 1)


@rtsp
@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_damaged_packets_cost_pictures_not_the_connection(proxy: Proxy, transport: str):
    with watch(through(proxy), transport=transport, stall_s=3.0) as seen:
        seen.more()
        proxy.flip = 0.2
        seen.more(60)
        proxy.flip = 0.0
        seen.more(20)
    assert proxy.flipped > 5
    # Not the epoch: a damaged parameter set may be one of another size.
    assert seen.source.link.reconnects == 0


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


def test_silence_after_one_packet_without_a_picture_is_no_stall():
    good = cv2.imencode(".jpg", np.zeros((120, 160, 3), np.uint8))[1].tobytes()
    over = threading.Event()

    def part(data: bytes) -> bytes:
        return b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%b\r\n" % (len(data), data)

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n")
            for data in [good] * 20 + [b"x" * len(good)]:
                connection.sendall(part(data))
                time.sleep(0.03)
            over.wait()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = threading.Thread(target=serve)
        serving.start()
        source = NetworkSource(f"http://127.0.0.1:{listening.getsockname()[1]}/video", stall_s=0.5)
        source.open("cam")
        try:
            with pytest.raises(SourceTimeout, match="went silent"):
                collections.deque(iter(source.read, None), maxlen=0)
        finally:
            source.close()
            over.set()
            serving.join()


@rtsp
def test_a_reader_that_was_held_up_goes_on_with_what_is_fresh(server: RtspServer):
    source = NetworkSource(server.url(), open_timeout_s=2, stall_s=2)
    source.open("cam")
    assert source.read() is not None
    time.sleep(2.0)  # 60 frames pile up
    before = source._index
    frames, ages = [], []
    for _ in range(20):
        frames.append(source.read())
        ages.append(time.monotonic() - frames[-1].captured_at)
    source.close()
    assert all(a.captured_at < b.captured_at for a, b in pairwise(frames))
    assert all(age < 2 * feed.MAX_AGE_S + 1 for age in ages)
    assert min(ages[-5:]) < 0.5
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
    assert all(late_s < 0.1 for late_s in told)
    assert median(told) > -2


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
    # Nothing but their arrival tells when they were taken: FFmpeg numbers 25 a second, whatever comes.
    frames = [frame for _, frame in seen.frames]
    assert [frame.time_s - frames[0].time_s for frame in frames] == pytest.approx(
        [frame.captured_at - frames[0].captured_at for frame in frames], abs=0.001
    )


def test_hls_comes_in_its_own_time(tmp_path: Path):
    server = HlsServer(tmp_path)
    time.sleep(1.5)
    with watch(server.url) as seen:
        seen.more(90)
    server.close()
    at = [at for at, _ in seen.frames]
    media_s = seen.frames[-1][1].time_s - seen.frames[0][1].time_s
    assert at[-1] - at[0] == pytest.approx(media_s, abs=1.0)
    assert max(b - a for a, b in pairwise(at)) < 3
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
        seen.until(lambda: seen.source.link.lost.total() > 0 and seen.source.link.tries > 0, 10)
        server = MjpegServer(server.port)
        off.clear()
        seen.until(lambda: seen.epoch == 1)
    server.stop()


def test_a_host_that_only_the_proxy_knows_is_asked_of_it(monkeypatch: pytest.MonkeyPatch):
    server, real = MjpegServer(), socket.getaddrinfo

    def getaddrinfo(host, *arguments, **options):
        if host.endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return real(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.port}")
    monkeypatch.setenv("no_proxy", "near.invalid")
    source = NetworkSource("http://far.invalid/video")
    assert source.open("cam").width_px == 160
    source.close()
    with pytest.raises(HostNotFound):
        NetworkSource("http://near.invalid/video").open("cam")
    server.stop()


@pytest.mark.parametrize("code", [socket.EAI_AGAIN, socket.EAI_FAIL])
def test_a_name_service_that_cannot_say_is_waited_for_from_the_start(code: int, monkeypatch: pytest.MonkeyPatch):
    server = MjpegServer()
    real, failures = socket.getaddrinfo, 3

    def getaddrinfo(*arguments, **options):
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise socket.gaierror(code, "it cannot say")
        return real(*arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    source = Reconnecting(NetworkSource(f"http://127.0.0.1:{server.port}/video"), backoff=Backoff(first_s=0.01))
    assert source.open("cam").width_px == 160
    assert source.link.tries == 2
    source.close()
    server.stop()


@pytest.mark.parametrize("code", [socket.EAI_NONAME, socket.EAI_NODATA])
def test_a_host_that_does_not_exist_is_said_at_once(code: int, monkeypatch: pytest.MonkeyPatch):
    def getaddrinfo(*arguments, **options):
        raise socket.gaierror(code, "no such name")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(HostNotFound, match="no such name"):
        Reconnecting(NetworkSource("http://nowhere.invalid/video")).open("cam")


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
def test_a_wall_clock_that_is_set(proxy: Proxy, server: RtspServer):
    server.kill()
    server.start("--sound")  # with it FFmpeg takes the times of both from the wall clock
    with watch(through(proxy)) as seen:
        seen.until(lambda: bool(seen.frames) and seen.frames[-1][1].wall_time_s is not None, 12)
        proxy.wall_s = 7200.0
        told = lambda: seen.frames[-1][1].wall_time_s  # noqa: E731
        seen.until(lambda: told() is None, 12)
        seen.until(lambda: told() is not None and told() - time.time() > 7000, 12)
        seen.more(20)
    assert seen.epoch == 0
    at = [at for at, _ in seen.frames]
    assert seen.frames[-1][1].time_s - seen.frames[0][1].time_s == pytest.approx(at[-1] - at[0], abs=1.0)


@rtsp
@pytest.mark.parametrize("skew", [0.5, -0.3])
def test_a_clock_that_runs_wrong(proxy: Proxy, skew: float):
    with watch(through(proxy)) as seen:
        seen.more(20)
        proxy.skew = skew
        began = len(seen.frames)
        seen.more(120)  # in 4 s it is 2 s ahead
    assert seen.epoch == 0
    frames = [frame for _, frame in seen.frames[began + 2 :]]
    # Two seconds, over and over: a moment in which the machine stands still is in few of them.
    slopes = [
        (b.time_s - a.time_s) / (b.captured_at - a.captured_at) for a, b in zip(frames, frames[60:], strict=False)
    ]
    assert median(slopes) == pytest.approx(1 + skew, abs=0.1)
    assert max(at - frame.captured_at for at, frame in seen.frames[began:]) < 1.5


@rtsp
def test_another_size_in_mid_stream(server: RtspServer):
    with watch(server.url()) as seen:
        for epoch in (0, 1, 2):
            seen.until(lambda epoch=epoch: seen.epoch == epoch)
            seen.more(10)
            server.switch()
    assert seen.source.link.lost == {}
    assert seen.source.link.skipped_packets == 0


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
