"""Rendered video to real media servers, which are killed, started again, paused, silent, and far away."""

from __future__ import annotations

import contextlib
import itertools
import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from urllib.parse import urlsplit

import av
import numpy as np
import psutil
import pytest
from fakes import FakeEstimator, MemorySink, ScriptedSource
from servers.daemons import free_port
from servers.rtmp import Asking
from servers.rtsp import MediaServer, has_gstreamer, recorded
from test_sinks import INFO, conforms, result

from streampose.backoff import Backoff
from streampose.errors import ConfigError, SinkUnavailable, StreamposeError
from streampose.metrics import Cause, Place
from streampose.pipeline import Pipeline
from streampose.sinks import PushSink
from streampose.sinks.encoder import ENCODERS, live_encoder
from streampose.sinks.film import Film
from streampose.streams import Stream

SOON = Backoff(first_s=0.1, cap_s=0.3)
SIZE = (120, 160)
needs_gstreamer = pytest.mark.skipif(not has_gstreamer(), reason="GStreamer's RTSP server is not on this machine")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MediaServer]:
    server = MediaServer(str(tmp_path))
    yield server
    server.go_on()
    server.kill()


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    yield
    time.sleep(0.05)
    left = [p for p in psutil.Process().children() if "relay_process" in " ".join(p.cmdline())]
    assert not left


def pushed(sink: PushSink, until: Callable[[int], bool], *, first: int = 0, within_s: float = 30.0) -> int:
    """Push in real time, 25 a second, until it is so; the number of the next picture."""
    begun = time.monotonic()
    i = first
    while not until(i):
        assert time.monotonic() - begun < within_s, "it did not come"
        sink.write(result(i, size=SIZE))
        i += 1
        time.sleep(max(0.0, begun + (i - first) * 0.04 - time.monotonic()))
    return i


def test_a_push_without_room_for_a_thread_leaves_no_process(monkeypatch: pytest.MonkeyPatch):
    def full(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    sink = PushSink(f"rtsp://127.0.0.1:{free_port()}/x", encoder="libx264")
    sink.open("s", INFO)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", full)
        with pytest.raises(StreamposeError, match="streampose-relay got no thread"):
            sink.write(result(0, size=SIZE))
    sink.close()


def played(file: Path) -> list[tuple[Fraction, float]]:
    """Time and mean brightness of each picture."""
    return [(f.pts * f.time_base, float(f.to_ndarray(format="gray").mean())) for f in recorded(file)]


def numbers(pictures: list[tuple[Fraction, float]]) -> list[int]:
    """Which pictures these are: each is brighter than the one before it, up to the 32nd, and then all over again."""
    return [round(gray / 8) % 32 for _, gray in pictures]


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


class Listener:
    """FFmpeg's own server of one session: it has the times of the protocol, without any clock of its own."""

    def __init__(self, scheme: str) -> None:
        self.url = f"{scheme}://127.0.0.1:{free_port()}/app/key"
        self._options = {"listen": "1"} if scheme == "rtmp" else {"rtsp_flags": "listen", "listen_timeout": "30"}
        self.pictures: list[tuple[Fraction, float]] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        port = urlsplit(self.url).port
        while all(c.laddr.port != port for c in psutil.Process().net_connections("tcp4")):
            time.sleep(0.01)  # to try it would be its one session

    def join(self) -> None:
        self._thread.join(20)
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        # The end of RTMP is an error to it.
        with contextlib.suppress(av.error.FFmpegError), av.open(self.url, options=self._options) as container:
            for f in container.decode(video=0):
                if f.pts is not None:  # RTSP: until the first report tells the time
                    self.pictures.append((f.pts * f.time_base, float(f.to_ndarray(format="gray").mean())))


@pytest.mark.parametrize(("scheme", "unit_s"), [("rtmp", 1e-3), ("rtsp", 1 / 90_000)])
def test_pictures_and_times_arrive(scheme: str, unit_s: float, caplog: pytest.LogCaptureFixture):
    listener = Listener(scheme)
    sink = PushSink(listener.url, backoff=SOON)
    sink.open("s", INFO)
    pushed(sink, lambda _: bool(said(caplog)) and "libx264" in said(caplog)[-1])
    start = len(caplog.records)
    # A variable rate: 3 s that hold two key frames.
    at = [10_000 + t for t in (0, 40, 80, 200, 210, 220, 900, 1_000, 1_777, 2_300, 2_340, 3_000)]
    for i, t in enumerate(at):
        sink.write(result(i, pts=t, size=SIZE))
    sink.close()
    listener.join()
    assert len(caplog.records) == start
    got = listener.pictures[-len(at) :]
    assert numbers(got) == list(range(len(at)))
    steps = [float(b - a) for (a, _), (b, _) in itertools.pairwise(got)]
    assert steps == pytest.approx([(b - a) / 1000 for a, b in itertools.pairwise(at)], abs=1.01 * unit_s)


@needs_gstreamer
def test_what_every_sink_does(server: MediaServer):
    conforms(lambda: PushSink(server.url()))


@needs_gstreamer
def test_a_server_that_is_killed_and_comes_back(server: MediaServer, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    sink = PushSink(server.url(), backoff=SOON)
    sink.open("s", INFO)
    i = pushed(sink, lambda i: i >= 75)
    away = sink.unsent
    assert away < 50, "the first connection took too long"
    server.kill()
    i = pushed(sink, lambda _: len(said(caplog)) == 2, first=i)
    i = pushed(sink, lambda j: j >= i + 10, first=i)
    assert sink.unsent > away
    server.start(str(tmp_path))
    i = pushed(sink, lambda _: len(said(caplog)) == 3, first=i)
    i = pushed(sink, lambda j: j >= i + 60, first=i)
    sink.close()
    time.sleep(0.3)
    server.kill()
    there, lost, back = said(caplog)
    assert there == f"s: output to {server.url().rpartition('/')[0]}: 160×120 by libx264"
    assert lost.endswith("trying again")
    assert "is back after" in back
    first, second = played(tmp_path / "live.0.ts"), played(tmp_path / "live.1.ts")
    assert len(first) + len(second) + sink.unsent >= i - 5  # a few were in the kernel when it was killed
    # The second session begins with a picture that can be decoded, and goes on without a gap after its connection.
    assert len(second) >= 60
    last = numbers(second)[-60:]
    assert last == [(i - 60 + k) % 32 for k in range(60)]
    # GStreamer's clock, not the frames': but in real time they agree.
    assert float(second[-1][0] - second[-51][0]) == pytest.approx(2.0, abs=0.2)


@needs_gstreamer
def test_a_paused_server_is_given_up_and_goes_on(server: MediaServer, caplog: pytest.LogCaptureFixture):
    sink = PushSink(server.url(), backoff=SOON, timeout_s=1.0)
    sink.open("s", INFO)
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    until = time.monotonic() + 40

    def push_until(what: Callable[[], bool]) -> None:
        i = 0
        while not what():
            assert time.monotonic() < until
            sink.write(replace(result(i), picture=np.roll(noise, i, axis=0)))  # fills the kernel's buffers
            i += 1

    push_until(lambda: len(said(caplog)) == 1)
    server.pause()
    push_until(lambda: len(said(caplog)) == 2)
    assert "it took nothing for 1 s" in said(caplog)[1]
    server.go_on()
    push_until(lambda: len(said(caplog)) == 3)
    sink.close()
    assert "is back" in said(caplog)[2]


@pytest.mark.parametrize("scheme", ["rtsp", "rtmp"])
async def test_a_silent_server_holds_up_nobody(scheme: str, caplog: pytest.LogCaptureFixture):
    beats: list[float] = []
    beating = threading.Event()

    def beat() -> None:
        while not beating.wait(0.01):
            beats.append(time.monotonic())

    heart = threading.Thread(target=beat)
    heart.start()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"{scheme}://me:secret@127.0.0.1:{silent.getsockname()[1]}/app/key"
        sink, other = PushSink(url, timeout_s=4.0, backoff=SOON), MemorySink()
        source = ScriptedSource(range(600), live=True, period_s=0.01)
        async with Pipeline([Stream(name="s", source=source, sinks=[other, sink])], FakeEstimator()) as pipeline:
            await pipeline.run()
    beating.set()
    heart.join()
    assert max(b - a for a, b in itertools.pairwise(beats)) < 3, "all threads were held up"
    figures = pipeline.snapshot().streams["s"]
    assert pipeline.reports["s"].error is None
    assert figures.delivered > 50
    unsent, overflow = figures.dropped[Place.SINK, Cause.UNSENT], figures.dropped.get((Place.SINK, Cause.OVERFLOW), 0)
    assert unsent + overflow + len(other.results) == 2 * figures.delivered
    (line,) = said(caplog)
    assert "no answer within 4 s" in line
    assert f"{scheme}://127.0.0.1:" in line
    assert "secret" not in caplog.text


@needs_gstreamer
def test_user_and_password(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    server = MediaServer("--user", "me", "--password", "s3 cret", str(tmp_path))
    wrong = PushSink(server.url(userinfo="me:wr0ng@"), backoff=SOON)
    wrong.open("s", INFO)
    pushed(wrong, lambda _: bool(said(caplog)))
    wrong.close()
    assert "401 Unauthorized" in said(caplog)[0]
    caplog.clear()
    right = PushSink(server.url(userinfo="me:s3%20cret@"), backoff=SOON)
    right.open("s", INFO)
    pushed(right, lambda _: bool(said(caplog)))
    commands = [p.cmdline() for p in psutil.Process().children() if "relay_process" in " ".join(p.cmdline())]
    right.close()
    server.kill()
    assert len(commands) == 1
    assert "cret" not in str(commands)
    assert "libx264" in said(caplog)[0]
    assert "cret" not in caplog.text


@pytest.mark.parametrize("typed", ["sec ret", "sec%20ret"])
def test_a_password_with_a_space_arrives_over_rtmp(typed: str):
    with Asking() as server:
        sink = PushSink(f"rtmp://me:{typed}@{server.address}/app/x", backoff=SOON)
        sink.open("s", INFO)
        pushed(sink, lambda _: server.is_over)
        sink.close()
    assert server.knows("sec ret")


def test_a_connection_ends_with_its_parent(tmp_path: Path):
    """A parent that is killed leaves no process behind, whatever state its server is in."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        program = f"""
import sys, time
sys.path[:0] = {[p for p in sys.path if p]!r}
from test_sinks import INFO, result
from streampose.sinks import PushSink
sink = PushSink("rtmp://127.0.0.1:{silent.getsockname()[1]}/a/b", timeout_s=2.0)
sink.open("s", INFO)
sink.write(result(0))
print(sink._relay._process.pid, flush=True)
time.sleep(60)
"""
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
            assert parent.stdout is not None
            child = int(parent.stdout.readline())
            time.sleep(0.5)
            parent.kill()
        deadline = time.monotonic() + 10
        while psutil.pid_exists(child) and psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline, "it is still there"
            time.sleep(0.05)


def test_each_encoder_works_or_says_why_not():
    film = Film(INFO, key_s=2.0)
    film.begin(np.zeros((*SIZE, 3), np.uint8))
    assert live_encoder("libx264", film).name == "libx264"
    chosen = live_encoder("auto", film).name
    refused = []
    for name in ENCODERS[1:]:
        try:
            works = live_encoder(name, film).name
        except SinkUnavailable as error:
            refused.append(str(error))
        else:
            assert works == chosen, "auto took another one than the first that works"
            break
    assert all("does not encode here (" in words for words in refused)


def test_a_video_for_viewers_who_come_late_and_want_it_now():
    """A packet for each picture, no reordering, and all that a decoder needs in every key frame."""
    film = Film(replace(INFO, time_base=Fraction(1, 90_000)), key_s=2.0)
    film.begin(np.zeros((*SIZE, 3), np.uint8))
    encoder = live_encoder("libx264", film)
    keys = []
    for i in range(250):
        made = result(i, pts=i * 3600, size=SIZE)
        frame = replace(made.frame, time_base=Fraction(1, 90_000))
        (packet,) = encoder.encode(film.add(frame, made.picture))
        assert packet.pts == packet.dts == i * 3600
        if packet.is_keyframe:
            keys.append(i)
            decoder = av.CodecContext.create("h264", "r")
            assert len([*decoder.decode(av.Packet(bytes(packet))), *decoder.decode(None)]) == 1
            assert decoder.pix_fmt == "yuv420p"
    # By time, and where x264 sees another scene (the pictures get dark again).
    assert {0, 50, 100, 150, 200} <= {*keys} <= {0, 50, 100, 150, 200, *range(0, 250, 32)}


@pytest.mark.parametrize(
    ("url", "encoder", "words"),
    [
        ("http://me:secret@h/x", "auto", "http://h: only to rtsp"),
        ("rtsp:///x", "auto", "cannot be pushed"),
        ("rtsp://me:sec/ret@h/x", "auto", "rtsp://h: only"),
        ("rtsp://h/x", "h265", "there are: auto, h264_nvenc"),
    ],
)
def test_what_makes_no_sense_is_told(url: str, encoder: str, words: str):
    with pytest.raises(ConfigError, match=words) as caught:
        PushSink(url, encoder=encoder)
    assert "sec" not in str(caught.value)


def test_what_could_not_be_pushed_is_counted_from_the_opening_on():
    sink = PushSink(f"rtsp://127.0.0.1:{free_port()}/x", backoff=SOON)
    assert not sink.away
    sink.open("s", INFO)
    pushed(sink, lambda _: sink.unsent > 0 and sink.away)
    sink.close()
    sink.open("s", INFO)
    sink.close()
    assert sink.unsent == 0


def test_an_encoder_that_is_not_there_ends_its_stream():
    if Path("/dev/nvidia0").exists():
        pytest.skip("there may be one")
    sink = PushSink("rtsp://127.0.0.1:9/x", encoder="h264_nvenc")
    sink.open("s", INFO)
    with pytest.raises(SinkUnavailable, match=r"h264_nvenc does not encode here .*--encoder auto"):
        sink.write(result(0))
    sink.close()
