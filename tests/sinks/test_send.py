"""Results to real servers, which are killed, started again, paused, and say no."""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import logging
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from fakes import FakeEstimator, MemorySink, ScriptedSource
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from prometheus_client import CollectorRegistry
from redis import Redis
from servers.daemons import Daemon, free_port, mosquitto, no_daemon_is_left, redis_server, webhook_server  # noqa: F401
from test_sinks import INFO, conforms, result

from streampose.backoff import Backoff
from streampose.errors import (
    ConfigError,
    SinkAway,
    SinkFailed,
    SinkLater,
    SinkRefused,
    SinkUnavailable,
    StreamposeError,
)
from streampose.formats.jsonl import record_of
from streampose.metrics import Cause, Place
from streampose.observe.collector import PipelineCollector
from streampose.pipeline import Pipeline
from streampose.sinks import SendSink, send, send_to
from streampose.sinks.mqtt import MqttCarrier
from streampose.sinks.redis_stream import RedisCarrier
from streampose.sinks.webhook import WebhookCarrier
from streampose.streams import Stream

SOON = Backoff(first_s=0.1, cap_s=0.3)


class Far:
    """A kind of server, and what it has got."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.folder = kind, folder
        self._seen: list[dict] = []
        match kind:
            case "webhook":
                self.daemon: Daemon = webhook_server(folder)
                self.url = f"http://127.0.0.1:{self.daemon.port}/hook"
                self.make: Callable[..., object] = WebhookCarrier
            case "redis":
                self.daemon = redis_server(folder)
                self.url = f"redis://127.0.0.1:{self.daemon.port}/0?stream=poses&maxlen=0"
                self.make = RedisCarrier
            case "mqtt":
                self.daemon = mosquitto(folder)
                self.url = f"mqtt://127.0.0.1:{self.daemon.port}/poses"
                self.make = MqttCarrier
                self._subscribe()

    def sink(self, *, timeout_s: float = 5.0, depth: int = 256) -> SendSink:
        return SendSink(self.make(self.url, timeout_s=timeout_s), depth=depth, backoff=SOON)

    def records(self) -> list[dict]:
        if self.kind == "webhook":
            file = self.folder / "webhook.jsonl"
            return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        if self.kind == "redis":
            with Redis(port=self.daemon.port) as client:
                return [json.loads(fields[b"json"]) for _, fields in client.xrange("poses")]
        return list(self._seen)

    def frames(self) -> list[int]:
        return [record["frame"] for record in self.records()]

    def close(self) -> None:
        if self.kind == "mqtt":
            self._subscriber.disconnect()
            self._subscriber.loop_stop()
        self.daemon.kill()

    def _subscribe(self) -> None:
        subscribed = threading.Event()
        client = self._subscriber = mqtt.Client(CallbackAPIVersion.VERSION2)
        client.reconnect_delay_set(0.02, 0.02)
        client.on_connect = lambda *_: client.subscribe("#", qos=1)
        client.on_subscribe = lambda *_: subscribed.set()
        client.on_message = lambda _1, _2, message: self._got(message)
        client.connect("127.0.0.1", self.daemon.port)
        client.loop_start()
        assert subscribed.wait(10)

    def _got(self, message: mqtt.MQTTMessage) -> None:
        record = json.loads(message.payload)
        assert message.topic == f"poses/{record['stream']}"
        self._seen.append(record)


@pytest.fixture(params=["webhook", "redis", "mqtt"])
def far(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Far]:
    far = Far(request.param, tmp_path)
    yield far
    far.daemon.go_on()
    far.close()


def until(what: Callable[[], bool], within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.02)


class Writing:
    """Writes results, a few hundred a second, and knows the longest that one took."""

    def __init__(self, sink: SendSink) -> None:
        self.sink, self.count, self.longest_s = sink, 0, 0.0

    def write(self, count: int) -> None:
        for _ in range(count):
            began = time.monotonic()
            self.sink.write(result(self.count))
            self.longest_s = max(self.longest_s, time.monotonic() - began)
            self.count += 1
            time.sleep(0.003)


def close_soon(sink: SendSink) -> None:
    """With less patience than three seconds, where it is known that nobody will take what is left."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(send, "_AWAY_S", 0.3)
        sink.close()


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_what_every_sink_does(far: Far):
    conforms(far.sink)
    until(lambda: len(far.frames()) >= 30)
    assert far.frames() == list(range(30))


def test_what_arrives_is_what_a_file_would_have(far: Far):
    sink = far.sink()
    sink.open("s", INFO)
    for i in range(300):
        sink.write(result(i))
    sink.close()
    until(lambda: len(far.records()) >= 300)
    assert far.records() == [json.loads(json.dumps(record_of(result(i)))) for i in range(300)]
    assert sink.unsent == 0


def test_a_killed_server_comes_back(far: Far, caplog: pytest.LogCaptureFixture):
    sink = far.sink(timeout_s=3.0, depth=5000)
    sink.open("s", INFO)
    writing = Writing(sink)
    writing.write(50)
    until(lambda: 49 in far.frames())
    far.daemon.kill()
    writing.write(100)
    until(lambda: len(said(caplog)) == 1)
    far.daemon.start()
    while writing.count < 160 or writing.count - 1 not in far.frames():
        writing.write(1)
        assert writing.count < 5000
    sink.close()
    assert writing.longest_s < 5, "the stream was held up"
    assert sink.unsent == 0
    lost, back = said(caplog)
    assert re.fullmatch(r"s: output to \w+://127\.0\.0\.1:\S+: .+; trying again", lost)
    assert re.fullmatch(r"s: output to \w+://127\.0\.0\.1:\S+ is back after \d+\.\d s", back)
    if far.kind != "mqtt":  # whose subscriber was away, too
        assert sorted(set(far.frames())) == list(range(writing.count))


def test_what_finds_no_room_is_counted(far: Far):
    far.daemon.kill()
    sink = far.sink(depth=10)
    sink.open("s", INFO)
    writing = Writing(sink)
    until(lambda: (writing.write(1), sink.unsent > 20)[1])
    assert writing.longest_s < 5
    far.daemon.start()
    time.sleep(0.5)
    writing.write(5)
    sink.close()
    if far.kind == "mqtt":
        assert 20 < sink.unsent < writing.count
    else:
        frames = far.frames()
        assert frames[-1] == writing.count - 1
        assert len(set(frames)) + sink.unsent == writing.count


def test_a_server_that_never_comes_costs_the_end_little_time(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(send, "_AWAY_S", 0.3)
    sink = send_to(f"mqtt://127.0.0.1:{free_port()}/poses")
    sink.open("s", INFO)
    for i in range(7):
        sink.write(result(i))
    began = time.monotonic()
    sink.close()
    assert 0.3 <= time.monotonic() - began < 12
    assert sink.unsent == 7


async def test_a_silent_server_does_not_stall_its_stream(far: Far, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(send, "_AWAY_S", 0.3)
    far.daemon.pause()
    sink, other = far.sink(timeout_s=0.5, depth=20), MemorySink()
    source = ScriptedSource(range(150), live=True, period_s=0.01)
    began = time.monotonic()
    async with Pipeline([Stream(name="s", source=source, sinks=[other, sink])], FakeEstimator()) as pipeline:
        await pipeline.run()
    assert time.monotonic() - began < 15
    figures = pipeline.snapshot().streams["s"]
    assert pipeline.reports["s"].error is None
    # The other output of the same stream got all that was delivered, but for what the machine itself was late with.
    assert figures.delivered > 50
    overflow = figures.dropped.get((Place.SINK, Cause.OVERFLOW), 0)
    assert len(other.results) >= figures.delivered - overflow
    unsent = figures.dropped[Place.SINK, Cause.UNSENT]
    assert unsent == sink.unsent
    registry = CollectorRegistry()
    registry.register(PipelineCollector(pipeline, "0"))
    labels = {"stream": "s", "place": "sink", "cause": "unsent"}
    assert registry.get_sample_value("streampose_frames_dropped_total", labels) == unsent
    # Every delivered result is in one of the counts: the other sink's, this one's, or what waits in the kernel.
    assert unsent + overflow + len(other.results) == 2 * figures.delivered
    far.daemon.go_on()


def test_a_paused_server_goes_on(far: Far, caplog: pytest.LogCaptureFixture):
    sink = far.sink(timeout_s=1.0, depth=5000)
    sink.open("s", INFO)
    writing = Writing(sink)
    writing.write(10)
    until(lambda: 9 in far.frames())
    far.daemon.pause()
    writing.write(20)
    until(lambda: (writing.write(1), len(said(caplog)) == 1)[1])
    far.daemon.go_on()
    until(lambda: (writing.write(1), len(said(caplog)) == 2)[1])
    sink.close()
    assert writing.longest_s < 5
    assert sink.unsent == 0
    until(lambda: writing.count - 1 in far.frames())


@pytest.mark.parametrize("status", [400, 401, 404, 413, 302])
def test_what_a_web_server_refuses_is_dropped(tmp_path: Path, status: int, caplog: pytest.LogCaptureFixture):
    server = webhook_server(tmp_path)
    sink = SendSink(WebhookCarrier(f"http://127.0.0.1:{server.port}/status/{status}"), backoff=SOON)
    sink.open("s", INFO)
    for i in range(5):
        sink.write(result(i))
    until(lambda: sink.unsent == 5)
    sink.close()
    server.kill()
    assert sink.unsent == 5
    (line,) = said(caplog)
    assert f"it answered {status}" in line


def test_a_web_server_gets_the_token_of_its_url_as_a_header(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    server = webhook_server(tmp_path)
    sink = send_to(f"http://127.0.0.1:{server.port}/bearer?door=1#token=a+b%3D%25")
    sink.open("s", INFO)
    sink.write(result(0))
    sink.close()
    server.kill()
    assert sink.unsent == 0
    assert (tmp_path / "webhook.jsonl").read_text().count("\n") == 1
    assert "a+b" not in caplog.text


@pytest.mark.parametrize("status", [503, 429])
def test_what_a_web_server_wants_later_is_kept(tmp_path: Path, status: int, caplog: pytest.LogCaptureFixture):
    server = webhook_server(tmp_path)
    sink = SendSink(WebhookCarrier(f"http://127.0.0.1:{server.port}/status/{status}"), backoff=SOON, stuck_s=0.3)
    sink.open("s", INFO)
    sink.write(result(0))
    until(lambda: len(said(caplog)) == 1)
    assert sink.unsent == 0
    close_soon(sink)
    server.kill()
    assert sink.unsent == 1


@pytest.mark.parametrize(
    ("status", "error"),
    [(425, SinkLater), (429, SinkLater), (500, SinkLater), (503, SinkLater), (408, SinkAway), (504, SinkAway)],
)
def test_an_answer_says_later_or_that_it_took_too_long(status: int, error: type[Exception]):
    server = Canned(f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode())
    carrier = WebhookCarrier(f"http://127.0.0.1:{server.port}/")
    carrier.connect("s")
    with pytest.raises(SinkAway, match=f"it answered {status}") as caught:
        carrier.send([b"{}"])
    carrier.close()
    server.close()
    assert type(caught.value) is error


def test_a_broker_keeps_the_last_line_where_it_is_asked_to(tmp_path: Path):
    server = mosquitto(tmp_path)
    for topic in ("kept?retain=1", "gone"):
        sink = send_to(f"mqtt://127.0.0.1:{server.port}/{topic}")
        sink.open("s", INFO)
        for i in (0, 1):
            sink.write(result(i))
        sink.close()
    got: list[mqtt.MQTTMessage] = []
    late = mqtt.Client(CallbackAPIVersion.VERSION2)
    late.on_connect = lambda *_: late.subscribe("#", qos=1)
    late.on_message = lambda _1, _2, message: got.append(message)
    late.connect("127.0.0.1", server.port)
    late.loop_start()
    until(lambda: bool(got))
    late.disconnect()
    late.loop_stop()
    server.kill()
    assert [(m.topic, m.retain, json.loads(m.payload)["frame"]) for m in got] == [("kept/s", True, 1)]


def kept(port: int) -> dict[str, bytes]:
    """What a broker keeps, by topic."""
    found: dict[str, bytes] = {}
    subscribed = threading.Event()
    late = mqtt.Client(CallbackAPIVersion.VERSION2)
    late.on_connect = lambda *_: late.subscribe("#", qos=1)
    late.on_subscribe = lambda *_: subscribed.set()
    late.on_message = lambda _1, _2, message: found.update({message.topic: message.payload} if message.retain else {})
    late.connect("127.0.0.1", port)
    late.loop_start()
    assert subscribed.wait(10)
    time.sleep(0.1)
    late.disconnect()
    late.loop_stop()
    return found


def test_a_broker_is_told_whether_a_stream_is_there(tmp_path: Path):
    server = mosquitto(tmp_path)
    sink = send_to(f"mqtt://127.0.0.1:{server.port}/home?retain=1&status=1")
    for i in (0, 1):
        sink.open("s", INFO)
        sink.write(result(i))
        until(lambda: kept(server.port).get("home/s/status") == b"online")
        sink.close()
        until(lambda: kept(server.port)["home/s/status"] == b"offline")
    assert json.loads(kept(server.port)["home/s"])["frame"] == 1
    server.kill()


def test_a_connection_whose_end_a_broker_sees_late_does_not_make_who_is_back_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    server = mosquitto(tmp_path)
    url = f"mqtt://127.0.0.1:{server.port}/home?status=1"

    def lost(carrier: MqttCarrier) -> socket.socket:
        carrier.connect("s")
        assert carrier._client is not None
        unseen = carrier._client.socket().dup()
        carrier.close()
        return unseen

    first, then = MqttCarrier(url), MqttCarrier(url)
    with lost(first):
        first.connect("s")
    time.sleep(0.1)
    assert kept(server.port) == {"home/s/status": b"online"}, "the same program is back"
    unseen = lost(first)
    then.connect("s")
    unseen.close()
    until(lambda: kept(server.port) == {"home/s/status": b"offline"})
    then.send([b"{}"])
    assert kept(server.port) == {"home/s/status": b"offline"}, "not with every line"
    monkeypatch.setattr("streampose.sinks.mqtt._SILENT_S", 0)
    then.send([b"{}"])
    assert kept(server.port) == {"home/s/status": b"online"}, "another one came after it"
    then.close()
    server.kill()


@pytest.mark.parametrize(("asked", "flags", "silent_s"), [("", 0x02, 0), ("?status=1", 0x2E, 60)])
def test_a_broker_that_shall_tell_of_a_machine_that_is_gone_knows_for_how_long_it_may_be_silent(
    asked: str, flags: int, silent_s: int
):
    with socket.create_server(("127.0.0.1", 0)) as broker:
        carrier = MqttCarrier(f"mqtt://127.0.0.1:{broker.getsockname()[1]}/home{asked}", timeout_s=0.05)
        with pytest.raises(SinkAway, match="no answer"):
            carrier.connect("s")
        connection, _ = broker.accept()
        with connection:
            said = connection.recv(1000)
        carrier.close()
    assert said[2:9] == b"\0\4MQTT\4"
    assert (said[9], int.from_bytes(said[10:12], "big")) == (flags, silent_s)  # of a last will: kept, and acknowledged


@pytest.mark.parametrize("kind", ["mqtt", "redis"])
def test_a_wrong_password_is_told_and_tried_again(kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    if kind == "mqtt":
        passwords = tmp_path / "passwords"
        subprocess.run(
            ["mosquitto_passwd", "-c", "-b", passwords, "me", "right"], check=True, stderr=subprocess.DEVNULL
        )
        passwords.chmod(0o600)
        server = mosquitto(tmp_path, "allow_anonymous false", f"password_file {passwords}")
        url, path = "mqtt://me:{}@127.0.0.1:{}/poses", MqttCarrier
    else:
        server = redis_server(tmp_path, "--requirepass", "right")
        url, path = "redis://:{}@127.0.0.1:{}/0", RedisCarrier
    wrong = SendSink(path(url.format("wr0ng-secret", server.port)), backoff=SOON)
    wrong.open("s", INFO)
    wrong.write(result(0))
    until(lambda: len(said(caplog)) == 1)
    assert wrong.unsent == 0, "it may be let in later"
    close_soon(wrong)
    assert wrong.unsent == 1
    (line,) = said(caplog)
    assert "refuses us" in line
    assert "://127.0.0.1:" in line
    assert "wr0ng-secret" not in caplog.text
    right = SendSink(path(url.format("right", server.port)), backoff=SOON)
    right.open("s", INFO)
    right.write(result(0))
    right.close()
    server.kill()
    assert right.unsent == 0


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[str, str]:
    """Of 127.0.0.1, by nobody that a system knows."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not on this machine")
    names = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([*command.split(), "-out", names[0], "-keyout", names[1]], check=True, stderr=subprocess.DEVNULL)
    return names


@pytest.mark.parametrize("kind", ["mqtts", "rediss", "https"])
def test_encrypted(
    kind: str, tmp_path: Path, certificate, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    crt, key = certificate
    port = free_port()
    if kind == "mqtts":
        server = mosquitto(tmp_path, "allow_anonymous true", f"certfile {crt}", f"keyfile {key}", port=port)
    elif kind == "rediss":
        tls = ["--port", "0", "--tls-port", str(port), "--tls-cert-file", crt, "--tls-key-file", key]
        server = redis_server(tmp_path, *tls, "--tls-ca-cert-file", crt, "--tls-auth-clients", "no", port=port)
    else:
        server = webhook_server(tmp_path, crt, key, port=port)
    url = f"{kind}://127.0.0.1:{port}/" + {"mqtts": "poses", "rediss": "0", "https": "hook"}[kind]
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", ResourceWarning
        )  # paho leaves the socket of a failed handshake to the collector
        stranger = send_to(url)
        stranger.open("s", INFO)
        stranger.write(result(0))
        until(lambda: len(said(caplog)) == 1)
        close_soon(stranger)
        gc.collect()
    assert stranger.unsent == 1
    assert "certificate" in said(caplog)[0].lower()
    monkeypatch.setenv("SSL_CERT_FILE", crt)
    known = send_to(url)
    known.open("s", INFO)
    known.write(result(0))
    known.close()
    server.kill()
    assert known.unsent == 0


def test_old_entries_of_a_redis_stream_make_room(tmp_path: Path):
    server = redis_server(tmp_path)
    sink = SendSink(RedisCarrier(f"redis://127.0.0.1:{server.port}/0?maxlen=100"), backoff=SOON)
    sink.open("door", INFO)
    for i in range(1000):
        sink.write(result(i))
    sink.close()
    with Redis(port=server.port) as client:
        length = client.xlen("streampose:door")
    server.kill()
    assert sink.unsent == 0
    assert 100 <= length < 300  # Redis removes whole nodes, of 100 entries by default


class Scripted:
    """A carrier that fails as it is told, and keeps what it brought."""

    url = "scripted://"

    def __init__(self, *script: Exception | None, delay_s: float = 0.0) -> None:
        self.script, self.delay_s = list(script), delay_s
        self.brought: list[int] = []

    def connect(self, stream: str) -> None:
        pass

    def send(self, lines: Sequence[bytes]) -> None:
        time.sleep(self.delay_s)
        if self.script and (error := self.script.pop(0)) is not None:
            raise error
        self.brought += [json.loads(line)["frame"] for line in lines]

    def close(self) -> None:
        pass


def test_a_slow_server_is_waited_for():
    carrier = Scripted(delay_s=0.01)
    sink = SendSink(carrier, depth=5)
    sink.open("s", INFO)
    for i in range(200):
        sink.write(result(i))
    sink.close()
    assert carrier.brought == list(range(200))
    assert sink.unsent == 0


class Stuck(Scripted):
    """Hangs in `send` until it is let go."""

    url = "stuck://host/secret"

    def __init__(self) -> None:
        super().__init__()
        self.let_go = threading.Event()

    def send(self, lines: Sequence[bytes]) -> None:
        self.let_go.wait()
        super().send(lines)


def test_a_server_that_takes_nothing_counts_as_away(caplog: pytest.LogCaptureFixture):
    carrier = Stuck()
    sink = SendSink(carrier, depth=5, stuck_s=0.2)
    assert not sink.away
    sink.open("s", INFO)
    for i in range(100):
        sink.write(result(i))
    assert sink.away
    (line,) = said(caplog)
    assert line == "s: output to stuck://host: it took nothing for 0.2 s; trying again"
    carrier.let_go.set()
    sink.close()
    assert carrier.brought[-5:] == [95, 96, 97, 98, 99]
    assert sink.unsent == 100 - len(carrier.brought) > 0


def test_an_interrupt_ends_a_wait_and_what_waits_is_counted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(send, "_SLOW_S", 0.2)
    carrier = Stuck()
    sink = SendSink(carrier, depth=5, stuck_s=1000)
    sink.open("s", INFO)
    writing = threading.Thread(target=lambda: [sink.write(result(i)) for i in range(20)])
    writing.start()
    writing.join(0.2)
    assert writing.is_alive()
    sink.interrupt()
    writing.join(10)
    assert not writing.is_alive()
    sink.close()
    sink.close()
    assert sink.unsent == 20
    (thread,) = (one for one in threading.enumerate() if one.name == "streampose-send-s")
    assert thread.daemon, "the process would not end"
    # The thread that hangs has the carrier: no other one may drive it.
    with pytest.raises(SinkUnavailable, match="stuck://host is still busy"):
        sink.open("s", INFO)
    carrier.let_go.set()
    until(lambda: not any(thread.name == "streampose-send-s" for thread in threading.enumerate()))
    sink.open("s", INFO)
    sink.write(result(20))
    sink.close()
    assert carrier.brought[-1] == 20
    assert sink.unsent == 0


async def test_what_an_earlier_run_could_not_send_is_not_counted_again():
    sink = SendSink(Scripted(SinkRefused("x")), backoff=Backoff(first_s=0.001, cap_s=0.001))
    counted = []
    for _ in range(2):
        stream = Stream(name="s", source=ScriptedSource([0]), sinks=[sink])
        async with Pipeline([stream], FakeEstimator()) as pipeline:
            await pipeline.run()
        counted.append(pipeline.snapshot().streams["s"].dropped.get((Place.SINK, Cause.UNSENT), 0))
    assert counted == [1, 0]


@pytest.mark.parametrize("error", [SinkAway("x"), SinkRefused("x")])
@pytest.mark.parametrize("count", [1, 3])
def test_what_an_end_gave_up_is_not_sent_or_counted_later(
    count: int, error: Exception, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(send, "_SLOW_S", 0.05)
    carrier = Stuck()
    carrier.script = [error]
    sink = SendSink(carrier, backoff=Backoff(first_s=0.001, cap_s=0.001))
    sink.open("s", INFO)
    for i in range(count):
        sink.write(result(i))
    sink.close()
    assert sink.unsent == count
    carrier.let_go.set()
    until(lambda: not any(thread.name == "streampose-send-s" for thread in threading.enumerate()))
    assert carrier.brought == []
    assert sink.unsent == count


class Dripping:
    """A web server that says so much at once, and then this little for ever, or until its client has gone."""

    def __init__(self, at_once: bytes, drop: bytes, every_s: float) -> None:
        self.gone = threading.Event()
        self._said = at_once, drop, every_s
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._socket.close()

    def _serve(self) -> None:
        at_once, drop, every_s = self._said
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                with contextlib.suppress(OSError), connection:
                    connection.recv(65536)
                    connection.sendall(at_once)
                    while True:
                        connection.sendall(drop)
                        time.sleep(every_s)
                self.gone.set()


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("at_once", "drop", "every_s"),
    [(CHUNKED, b"1\r\nx\r\n", 0.1), (CHUNKED, b"100000\r\n" + b"x" * 0x100000 + b"\r\n", 0.0)],
    ids=["drips", "floods"],
)
def test_of_an_answer_only_the_status_counts(at_once: bytes, drop: bytes, every_s: float):
    server = Dripping(at_once, drop, every_s)
    carrier = WebhookCarrier(server.url, timeout_s=5.0)
    carrier.connect("s")
    began = time.monotonic()
    carrier.send([b"{}"])
    assert time.monotonic() - began < 4.0
    assert server.gone.wait(10), "the rest was not waited for"
    carrier.close()
    server.close()


class Canned:
    """A server that says the same to whatever it is told, but for `PING`."""

    def __init__(self, answer: bytes) -> None:
        self._answer, self._socket = answer, socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.heard: list[bytes] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._socket.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                with contextlib.suppress(OSError), connection:
                    while said := connection.recv(65536):
                        self.heard.append(said)
                        ping = b"PING" in said
                        connection.sendall(b"+PONG\r\n" if ping else self._answer * max(1, said.count(b"XADD")))


@pytest.mark.parametrize("where", ["about:blank", "mailto:x", "http://xn--/"])
def test_where_a_redirect_leads_ends_no_stream(where: str):
    server = Canned(f"HTTP/1.1 302 Found\r\nLocation: {where}\r\nContent-Length: 0\r\n\r\n".encode())
    carrier = WebhookCarrier(f"http://127.0.0.1:{server.port}/")
    carrier.connect("s")
    with pytest.raises((SinkAway, SinkRefused)):
        carrier.send([b"{}"])
    carrier.close()
    server.close()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"-READONLY You can't write against a read only replica.\r\n", SinkLater),
        (b"-OOM command not allowed when used memory > 'maxmemory'.\r\n", SinkLater),
        (b"-MISCONF Redis is configured to save RDB snapshots\r\n", SinkLater),
        (b"-NOREPLICAS Not enough good replicas to write.\r\n", SinkLater),
        (b"-CLUSTERDOWN The cluster is down\r\n", SinkLater),
        (b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n", SinkLater),
        (b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n", SinkRefused),
        (b":abc\r\n", SinkAway),
        (b"*1\r\n" * 5000, SinkAway),
    ],
)
def test_what_redis_answers_is_a_later_or_a_no(answer: bytes, error: type[Exception]):
    server = Canned(answer)
    carrier = RedisCarrier(f"redis://127.0.0.1:{server.port}/0", timeout_s=0.5)
    with pytest.raises(error):  # noqa: PT012 - what speaks no Redis is found out by either
        carrier.connect("s")
        carrier.send([b"{}", b"{}"])
    assert not any(b"HELLO" in said for said in server.heard), "Redis before 6 does not know it"
    carrier.close()
    server.close()


def test_an_answer_that_drips_has_one_time_for_all():
    server = Dripping(b"HTTP/1.1 200 OK\r\n", b"x-a: b\r\n", 0.1)
    carrier = WebhookCarrier(server.url, timeout_s=0.5)
    carrier.connect("s")
    began = time.monotonic()
    with pytest.raises(SinkAway, match=r"no answer within 0\.5 s"):
        carrier.send([b"{}"])
    assert time.monotonic() - began < 4.0
    carrier.close()
    server.close()


def test_what_nobody_foresaw_is_a_failed_sink():
    sink = SendSink(Scripted(None, RuntimeError("a bug")))
    sink.open("s", INFO)

    def write_on() -> None:
        for i in range(1000):
            sink.write(result(i))
            time.sleep(0.01)

    with pytest.raises(SinkFailed, match="sending: RuntimeError: a bug"):
        write_on()
    with pytest.raises(SinkFailed, match="a bug"):
        sink.close()
    sink.close()


def test_a_sink_that_failed_can_be_opened_again_and_connects_again():
    class Fussy(Scripted):
        is_up = False

        def connect(self, stream: str) -> None:
            self.is_up = True

        def send(self, lines: Sequence[bytes]) -> None:
            assert self.is_up
            super().send(lines)

        def close(self) -> None:
            self.is_up = False

    carrier = Fussy(RuntimeError("a bug"))
    sink = SendSink(carrier)
    for i in range(3):
        sink.open("s", INFO)
        sink.write(result(i))
        with contextlib.nullcontext() if i else pytest.raises(SinkFailed, match="a bug"):
            sink.close()
    assert (carrier.brought, sink.unsent) == ([1, 2], 0)


def test_a_sink_that_gets_no_thread_says_what_to_do_and_can_be_closed():
    def full(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    sink = SendSink(Scripted())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Thread, "start", full)
        with pytest.raises(StreamposeError, match=r"streampose-send-s got no thread .* run fewer streams"):
            sink.open("s", INFO)
        sink.close()
    sink.open("s", INFO)
    sink.write(result(0))
    sink.close()
    assert sink.unsent == 0


def test_what_was_not_acknowledged_is_sent_again_in_order():
    carrier = Scripted(SinkAway("x"), SinkAway("x"), None, SinkAway("x"))
    sink = SendSink(carrier, backoff=Backoff(first_s=0.001, cap_s=0.001))
    sink.open("s", INFO)
    for i in range(200):
        sink.write(result(i))
    sink.close()
    assert carrier.brought == list(range(200))


@pytest.mark.parametrize("proxy", ["foo://me:secret@127.0.0.1:9", "http://127.0.0.1:port"])
def test_a_proxy_that_cannot_be_used_is_told_at_the_start(proxy: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HTTP_PROXY", proxy)
    with pytest.raises(ConfigError, match=r"proxy .* cannot be used: .* NO_PROXY=\*$") as caught:
        send_to("http://host/x")
    assert "secret" not in str(caught.value)
    monkeypatch.setenv("NO_PROXY", "*")
    send_to("http://host/x")


_NO_TOKENS = ("h/x#", "h/x#sec", "me:p@h/x#token=sec")
_BAD_TOKENS = ("h/x#token=", "h/x#token=sec%0Aret", "h/x#token=sec%C3%A9", "h/x#token=sec%20ret")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://me:secret@host/x", "ftp://host: only to http"),
        ("nonsense", "only to http"),
        ("mqtt://host", "mqtt://host/topic"),
        ("mqtt://host/a/#", "without"),
        ("mqtt://host/a/#b", "without"),
        ("mqtt://host/+/b", "without"),
        ("redis://host/0?maxlen=many", "no URL of Redis: redis://host$"),
        ("redis://host/0?maxlen=-3", r"maxlen=0 \(all\) or more, not -3"),
        ("redis://host/sec", "redis://host/0$"),
        ("redis://host/0/1", "redis://host/0$"),
        ("redis://host/0?no_such=1", "^a URL of Redis has .* not no_such"),
        ("redis://me:12?sec=ret@host/0", "^a URL of Redis has stream and maxlen after the [?]$"),
        ("http://host:99999/x", "port 99999 is none"),
        ("http://", "names no host"),
        ("http:///x", "names no host"),
        *((f"http://{rest}", "has #token=… after its path") for rest in _NO_TOKENS),
        *((f"http://{rest}", "signs that a header cannot have") for rest in _BAD_TOKENS),
        ("mqtt://host/a%23", "without"),
        ("mqtt://host/a%2B", "without"),
        ("mqtt://host/a%00b", "without"),
        ("mqtts://host/a?qos=0", "only retain=1 and status=1 after a [?]"),
        ("mqtt://host/a?status=1&", "only retain=1 and status=1 after a [?]"),
        ("http://host:port/x", "no URL"),
        ("mqtt://host:port/x", "no URL"),
        ("redis://host:port/0", "no URL"),
        ("http://me:sec/ret@host/x", "://host$"),
        ("mqtt://me:sec/ret@host/x", "://host$"),
        ("redis://me:sec/ret@host/0", "://host$"),
    ],
)
def test_a_url_that_makes_no_sense_is_told(url: str, words: str):
    with pytest.raises(ConfigError, match=words) as caught:
        send_to(url)
    assert "sec" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(
    ("url", "library", "module"), [("mqtt://h/x", "paho.mqtt", "mqtt"), ("redis://h/0", "redis", "redis_stream")]
)
def test_a_missing_library_is_told(url: str, library: str, module: str, monkeypatch: pytest.MonkeyPatch):
    name = f"streampose.sinks.{module}"
    importlib.import_module(name)
    monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ConfigError, match=rf"pip install 'streampose\[{url[:4].strip(':')}"):
        send_to(url)
