"""A source that is pushed into."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from fakes import FakeEstimator, MemorySink, ScriptedSource, picture

from streampose import Outcome, Pipeline, PushSource, Stream, results
from streampose.errors import ConfigError, Disconnected, SourceError, SourceTimeout


def test_what_is_live_gives_the_newest():
    source = PushSource()
    assert all(source.push(picture(i), captured_at=10.0 + i) for i in range(3))
    info = source.open("s")
    assert (info.width_px, info.height_px) == (64, 48)
    first = source.read()
    assert first is not None
    assert (first.index, first.time_s, first.captured_at, first.image[0, 0, 0]) == (2, 2.0, 12.0, 2)
    assert source.dropped == 2
    source.push(picture(3), captured_at=12.0)  # at the same moment: media time goes on nevertheless
    source.end()
    assert not source.push(picture(4))
    last = source.read()
    assert last is not None
    assert last.pts == first.pts + 1
    assert source.read() is None


async def test_nothing_is_lost_of_what_is_not_live():
    source, sink = PushSource(live=False, rate=25), MemorySink(delay_s=0.002)

    def feed() -> None:
        for i in range(50):
            assert source.push(picture(i), time_s=None if i % 2 else i / 25)
        source.end()

    thread = threading.Thread(target=feed)
    thread.start()
    async with Pipeline([Stream(name="s", source=source, sinks=[sink])], FakeEstimator()) as pipeline:
        reports = await pipeline.run()
    thread.join()
    assert reports["s"].outcome is Outcome.ENDED
    assert [int(result.frame.image[0, 0, 0]) for result in sink.results] == list(range(50))
    assert [result.frame.time_s for result in sink.results] == [i / 25 for i in range(50)]


async def test_a_stopped_stream_ends_a_push_that_waits():
    source, taken = PushSource(live=False), []

    def feed() -> None:
        while source.push(picture()):
            taken.append(1)

    thread = threading.Thread(target=feed)
    thread.start()
    async with asyncio.timeout(20), Pipeline([Stream(name="s", source=source)], FakeEstimator()) as pipeline:
        running = asyncio.create_task(pipeline.run())
        while len(taken) < 10:
            await asyncio.sleep(0.01)
        pipeline.stop()
        assert (await running)["s"].outcome is Outcome.STOPPED
    thread.join(5)
    assert not thread.is_alive()


def test_silence_has_its_limit():
    source = PushSource(wait_s=0.05)
    with pytest.raises(SourceTimeout):
        source.open("s")
    source.push(picture())
    source.open("s")
    assert source.read() is not None
    with pytest.raises(SourceTimeout):
        source.read()
    waiting = PushSource()
    threading.Timer(0.05, waiting.interrupt).start()
    began = time.monotonic()
    with pytest.raises(Disconnected):
        waiting.open("s")
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("given", "times"),
    [
        (np.zeros((4, 4), np.uint8), {}),
        (np.zeros((4, 4, 3), np.float32), {}),
        (None, {}),
        (picture(), {"time_s": math.nan}),
        (picture(), {"time_s": 1.7e308}),
        (picture(), {"time_s": 10**400}),
        (picture(), {"time_s": 1.76e15}),  # Unix time in microseconds
        (picture(), {"time_s": "1.5"}),
        (picture(), {"time_s": True}),
        (picture(), {"captured_at": math.inf}),
        (picture(), {"captured_at": "x"}),
    ],
)
def test_what_is_no_picture_is_said_to_who_pushes(given: object, times: dict[str, Any]):
    source = PushSource()
    with pytest.raises(SourceError, match=r"cannot be pushed: .*\(height, width, 3\)|that is pushed has times"):
        source.push(given, **times)  # type: ignore[arg-type]
    assert source.push(picture())


@pytest.mark.parametrize("rate", [0, -30, math.nan, math.inf, 10**99, Fraction(1, 10**99), "30", None, True])
def test_a_rate_is_pictures_a_second(rate: Any):
    with pytest.raises(ConfigError, match="a rate is pictures a second, as 30, not "):
        PushSource(live=False, rate=rate)


@pytest.mark.parametrize("wait_s", [0, -1, math.nan, math.inf, "1", True])
def test_silence_lasts_seconds(wait_s: Any):
    with pytest.raises(ConfigError, match="wait_s is seconds above 0, or None"):
        PushSource(wait_s=wait_s)


@pytest.mark.parametrize("kind", [float, np.float32, np.float64, Fraction])
def test_numbers_of_any_kind_are_rates_and_times(kind: Any):
    source = PushSource(live=False, rate=kind(25), wait_s=kind(1))
    assert source.push(picture(), time_s=kind(0.5), captured_at=kind(2))
    assert source.push(picture())
    source.open("s")
    assert [source.read().time_s for _ in range(2)] == [0.5, 0.500001]


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize(
    "wrong", [{"model": "nowhere.onnx"}, {"other": "nowhere.mp4"}, {"estimators": "nano"}], ids=str
)
def test_what_is_never_opened_is_taken_by_nobody(live: bool, wrong: dict[str, Any]):
    source = PushSource(live=live)
    several = {name: wrong[name] for name in wrong if name == "other"}
    options = {name: wrong[name] for name in wrong if name != "other"}
    with pytest.raises((FileNotFoundError, ConfigError)):
        next(results({**several, "a": source}, **options))
    assert not source.push(picture(1))


def test_a_close_that_expects_an_open_hides_nothing():
    class Camera(ScriptedSource):
        def close(self) -> None:
            raise AttributeError("'NoneType' object has no attribute 'release'")

    pushed = PushSource()
    with pytest.raises(FileNotFoundError, match=r"nowhere\.onnx") as caught:
        next(results({"a": pushed, "b": Camera([])}, model="nowhere.onnx"))
    assert caught.value.__notes__ == ["closing: AttributeError: 'NoneType' object has no attribute 'release'"]
    assert not pushed.push(picture(1))


async def test_a_stream_that_is_stopped_before_it_opens_takes_nothing():
    removed, stopped = PushSource(live=False), PushSource()
    async with Pipeline([Stream(name="stopped", source=stopped)], FakeEstimator()) as pipeline:
        await pipeline.add(Stream(name="removed", source=removed))
        running = asyncio.create_task(pipeline.run())
        pipeline.stop()
        assert {report.outcome for report in (await running).values()} == {Outcome.STOPPED}
    assert not removed.push(picture(1))
    assert not stopped.push(picture(1))
