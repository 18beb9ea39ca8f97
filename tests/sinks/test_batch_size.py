"""What is too much for a server comes in smaller pieces; only a line that it refuses alone is lost."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Container, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from types import SimpleNamespace

import numpy as np
import pytest
from fakes import poses_of
from servers.daemons import mosquitto, no_daemon_is_left, webhook_server  # noqa: F401
from test_send import SOON, Far, Scripted, close_soon, said, until
from test_sinks import INFO, result

from streampose.backoff import Backoff
from streampose.errors import SinkAway, SinkLater, SinkRefused
from streampose.sinks import SendSink, send
from streampose.sinks.batch_size import BatchSize
from streampose.sinks.jsonl import to_line
from streampose.sinks.mqtt import MqttCarrier
from streampose.sinks.webhook import WebhookCarrier

LINE = len(to_line(result(1000)))
AT_ONCE = Backoff(first_s=0.001, cap_s=0.001)


class Limited(Scripted):
    """Takes no more than so many lines at a time; what is told to be poison it never takes."""

    def __init__(self, most: int, error: type[Exception], *, poison: Container[int] = ()) -> None:
        super().__init__()
        self.most, self.error, self.poison, self.sizes, self.failed = most, error, poison, [], 0
        self.all_wait = threading.Event()

    def send(self, lines: Sequence[bytes]) -> None:
        self.all_wait.wait()
        self.sizes.append(len(lines))
        if len(lines) > self.most or any(json.loads(line)["frame"] in self.poison for line in lines):
            time.sleep(self.delay_s)
            self.failed += 1
            raise self.error("too much")
        super().send(lines)


def write(sink: SendSink, frames: range) -> None:
    for i in frames:
        sink.write(result(i))


@pytest.mark.parametrize("most", [40, 10])
@pytest.mark.parametrize("error", [SinkAway, SinkRefused], ids=["too slow", "too long"])
def test_a_recording_loses_nothing_to_a_server_that_takes_little_at_a_time(
    error: type[Exception], most: int, caplog: pytest.LogCaptureFixture
):
    carrier = Limited(most, error)
    carrier.delay_s = 0.002  # so that the queue is full, also while what comes back is under way
    sink = SendSink(carrier, depth=50, backoff=AT_ONCE)
    sink.open("s", INFO)
    carrier.all_wait.set()
    write(sink, range(600))
    sink.close()
    assert carrier.brought == list(range(600))
    assert sink.unsent == 0
    assert said(caplog) == [], "it never was away"
    assert carrier.failed <= len(carrier.sizes) / 5, "it is asked again and again for what it cannot"


def test_a_server_that_takes_nothing_for_long_is_not_asked_for_ever_less(caplog: pytest.LogCaptureFixture):
    failed: list[int] = []

    class Silent(Limited):
        def send(self, lines: Sequence[bytes]) -> None:
            if not said(caplog):
                failed.append(len(lines))
            super().send(lines)

    carrier = Silent(0, SinkAway)
    carrier.delay_s = 0.05
    sink = SendSink(carrier, backoff=AT_ONCE, stuck_s=0.1)
    sink.open("s", INFO)
    write(sink, range(100))
    carrier.all_wait.set()
    until(lambda: bool(said(caplog)))
    close_soon(sink)
    assert len(failed) <= 3, "it took nothing for 0.1 s then, and 64 lines become one only after seven"
    assert sink.unsent == 100


def test_only_the_line_that_is_refused_alone_is_lost(caplog: pytest.LogCaptureFixture):
    carrier = Limited(64, SinkRefused, poison=[70])
    sink = SendSink(carrier, depth=500, backoff=AT_ONCE)
    sink.open("s", INFO)
    write(sink, range(200))
    carrier.all_wait.set()
    sink.close()
    assert carrier.brought == [*range(70), *range(71, 200)]
    assert sink.unsent == 1
    assert said(caplog) == ["s: output to scripted://: a line is dropped: too much"], "it never was away"


def test_lines_that_are_refused_do_not_cost_their_neighbours(caplog: pytest.LogCaptureFixture):
    carrier = Limited(64, SinkRefused, poison=range(5, 300, 10))
    sink = SendSink(carrier, depth=20, backoff=Backoff(first_s=1000, cap_s=1000))
    sink.open("s", INFO)
    carrier.all_wait.set()
    write(sink, range(300))
    sink.close()
    assert carrier.brought == [i for i in range(300) if i % 10 != 5]
    assert sink.unsent == 30
    assert len(said(caplog)) == 1, "it is told once"


@pytest.mark.parametrize("errors", [[SinkAway("hung up"), SinkRefused("hangs up")], [SinkAway("it had ended")]])
def test_a_line_that_fails_alone_is_tried_once_more_before_the_server_is_away(
    errors: list[Exception], caplog: pytest.LogCaptureFixture
):
    carrier = Limited(64, SinkAway)
    carrier.script = [None, *errors]
    sink = SendSink(carrier, depth=20, backoff=Backoff(first_s=1000, cap_s=1000))
    sink.open("s", INFO)
    carrier.all_wait.set()
    for i in range(3):
        sink.write(result(i))
        until(lambda: len(carrier.brought) + sink.unsent == i + 1)  # noqa: B023
    write(sink, range(3, 100))
    sink.close()
    lost = len(errors) - 1
    assert len(carrier.brought) == 100 - lost
    assert sink.unsent == lost
    assert not any("trying again" in line for line in said(caplog)), "it never was away"


def test_lines_that_are_refused_in_a_row_do_not_cost_those_after_them(caplog: pytest.LogCaptureFixture):
    carrier = Limited(64, SinkRefused, poison=range(50, 55))
    sink = SendSink(carrier, depth=20, backoff=Backoff(first_s=0.02, cap_s=0.02))
    sink.open("s", INFO)
    carrier.all_wait.set()
    write(sink, range(300))
    sink.close()
    assert carrier.brought == [*range(50), *range(55, 300)]
    assert sink.unsent == 5
    assert said(caplog) == ["s: output to scripted://: a line is dropped: too much"]


@pytest.mark.parametrize("refusing_s", [0, 0.03])
def test_at_an_end_lines_that_are_refused_in_a_row_do_not_cost_those_after_them(
    refusing_s: float, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(send, "_AWAY_S", 0.3)
    refused_at: list[float] = []

    class Timed(Limited):
        def send(self, lines: Sequence[bytes]) -> None:
            try:
                super().send(lines)
            except SinkRefused:
                refused_at.append(time.monotonic())
                raise

    carrier = Timed(64, SinkRefused, poison=range(10, 30))
    carrier.delay_s = refusing_s
    sink = SendSink(carrier, backoff=Backoff(first_s=1000, cap_s=1000))
    sink.open("s", INFO)
    write(sink, range(60))
    threading.Timer(0.05, carrier.all_wait.set).start()
    close_soon(sink)
    assert carrier.brought == [*range(10), *range(30, 60)]
    assert sink.unsent == 20
    assert median(np.diff(refused_at[-20:])) > 0.002, "what time is left is shared"


def test_what_was_away_soon_takes_as_much_as_before():
    size = BatchSize(64)
    size.went()
    for _ in range(20):
        size.failed(size.lines)
    assert size.lines == 1, "it is not asked for much while it is away"
    taken = [0]
    while taken[-1] < 256:
        taken.append(taken[-1] + size.lines)
        size.went()
    assert len(taken) <= 15


def test_a_server_that_limits_requests_gets_as_much_in_each_as_ever():
    carrier = Limited(64, SinkAway)
    carrier.script = [None if i % 4 == 3 else SinkLater("429") for i in range(1000)]
    sink = SendSink(carrier, depth=500, backoff=AT_ONCE)
    sink.open("s", INFO)
    write(sink, range(300))
    carrier.all_wait.set()
    sink.close()
    assert carrier.brought == list(range(300))
    assert len(carrier.sizes) <= 4 * 6, "64 lines a request, but for the first one"


def test_a_recording_loses_nothing_to_a_server_that_says_later_now_and_then(caplog: pytest.LogCaptureFixture):
    carrier = Limited(64, SinkAway)
    carrier.script = [SinkLater("503") if i % 3 == 2 else None for i in range(1000)]
    sink = SendSink(carrier, depth=20, backoff=Backoff(first_s=0.01, cap_s=0.01))
    sink.open("s", INFO)
    carrier.all_wait.set()
    write(sink, range(300))
    sink.close()
    assert carrier.brought == list(range(300))
    assert sink.unsent == 0
    assert said(caplog) == [], "it never was away"


def test_an_end_waits_for_a_server_that_takes_something_between_its_laters(monkeypatch: pytest.MonkeyPatch):
    now_s = 0.0

    class Slow(Limited):
        def send(self, lines: Sequence[bytes]) -> None:
            nonlocal now_s
            now_s += 2.0
            super().send(lines)

    monkeypatch.setattr(send, "time", SimpleNamespace(monotonic=lambda: now_s, sleep=lambda _: None))
    carrier = Slow(64, SinkAway)
    carrier.script = [SinkLater("503") if i % 2 else None for i in range(1000)]
    sink = SendSink(carrier, depth=300, backoff=AT_ONCE)
    sink.open("s", INFO)
    write(sink, range(250))
    threading.Timer(0.1, carrier.all_wait.set).start()
    sink.close()
    assert sink.unsent == 0
    assert carrier.brought == list(range(250))


def test_a_web_server_with_a_limit_gets_all(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    server = webhook_server(tmp_path)
    sink = SendSink(WebhookCarrier(f"http://127.0.0.1:{server.port}/most/{5 * LINE}"), backoff=SOON)
    sink.open("s", INFO)
    write(sink, range(200))
    sink.close()
    server.kill()
    lines = (tmp_path / "webhook.jsonl").read_text().splitlines()
    assert [json.loads(line)["frame"] for line in lines] == list(range(200))
    assert sink.unsent == 0
    assert said(caplog) == []


def test_a_broker_that_hangs_up_on_a_long_line_gets_the_others(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    long = replace(result(20), poses=poses_of(20, people=20))
    far = Far("mqtt", tmp_path)
    far.close()
    far.daemon = mosquitto(tmp_path, "allow_anonymous true", f"max_packet_size {len(to_line(long))}")
    far.url = f"mqtt://127.0.0.1:{far.daemon.port}/poses"
    far._subscribe()
    caplog.set_level(logging.DEBUG, "streampose")
    sink = SendSink(MqttCarrier(far.url), backoff=AT_ONCE)
    sink.open("s", INFO)
    for i in range(60):
        sink.write(long if i == 20 else result(i))
    until(lambda: 59 in far.frames())
    sink.close()
    far.close()
    assert set(far.frames()) == {*range(60)} - {20}
    assert sink.unsent == 1
    assert f"hangs up on a line of {len(to_line(long)) - 1} bytes" in caplog.text
