"""How a stream's way ends: by its outputs, its results, its source, and when it is cut off."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
import time

import pytest
from fakes import FakeEstimator, MemorySink, ScriptedSource

from streampose.errors import Disconnected, SinkFailed
from streampose.metrics import Cause, Place
from streampose.pipeline import Pipeline
from streampose.streams import Outcome, Stream
from streampose.tracking import Tracker
from streampose.worker import Worker


async def test_an_output_may_take_its_time_to_close(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("streampose.flow._HURRY_S", 0.02)

    class Slow(MemorySink):
        def close(self):
            time.sleep(0.15)
            super().close()

    sink = Slow()
    async with Pipeline([Stream(name="a", source=ScriptedSource(range(3)), sinks=[sink])], FakeEstimator()) as pipeline:
        reports = await pipeline.run()
    assert (reports["a"].outcome, sink.closed) == (Outcome.ENDED, 1)


class Silent(ScriptedSource):
    """Says nothing more until it is interrupted."""

    def __init__(self, frames: int) -> None:
        self.over = threading.Event()
        super().__init__([*range(frames), lambda: self.over.wait(10)], live=True)

    def interrupt(self):
        self.over.set()


class Broken(Tracker):
    def update(self, poses, time_s):
        raise ValueError("broken")


@pytest.mark.parametrize(
    "parts",
    [{"sinks": [MemorySink()], "tracker": Broken()}, {"sinks": [MemorySink(error_at=0, error=SinkFailed("full"))]}],
    ids=["a result cannot be finished", "an output is full"],
)
async def test_what_breaks_ends_a_stream_whose_source_is_silent(parts):
    source = Silent(1)
    async with Pipeline([Stream(name="a", source=source, **parts)], FakeEstimator()) as pipeline:
        running = asyncio.create_task(pipeline.run())
        _, waits = await asyncio.wait([running], timeout=5)
        source.over.set()
        reports = await running
    assert not waits
    assert reports["a"].outcome is Outcome.FAILED


@pytest.mark.parametrize(("others", "level"), [(True, logging.WARNING), (False, logging.INFO)])
async def test_a_failure_is_told_at_once_where_others_go_on(others: bool, level: int, caplog: pytest.LogCaptureFixture):
    """Else whoever runs it is about to learn it."""
    caplog.set_level(logging.INFO, logger="streampose")
    streams = [Stream(name="bad", source=ScriptedSource([Disconnected("cut")]))]
    if others:
        streams.append(Stream(name="good", source=Silent(1)))
    async with Pipeline(streams, FakeEstimator()) as pipeline:
        running = asyncio.create_task(pipeline.run())
        async with asyncio.timeout(5):
            while not (told := [r for r in caplog.records if "failed" in r.message]):
                await asyncio.sleep(0.005)
        pipeline.stop()
        await running
    assert [(r.message, r.levelno) for r in told] == [("bad failed: cut", level)]


async def test_what_an_output_does_not_send_is_counted_once_and_while_it_runs():
    class Lossy(MemorySink):
        unsent = 0

        def write(self, result):
            self.unsent += 1

    def counted() -> int:
        return pipeline.snapshot().streams["a"].dropped.get((Place.SINK, Cause.UNSENT), 0)

    async with Pipeline([Stream(name="a", source=Silent(3), sinks=[Lossy()])], FakeEstimator()) as pipeline:
        running = asyncio.create_task(pipeline.run())
        async with asyncio.timeout(5):
            while counted() < 3:
                await asyncio.sleep(0.005)
        pipeline.stop()
        await running
    assert counted() == 3


async def test_a_source_that_does_not_close_holds_up_no_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    aclose = Worker.aclose
    # A twentieth of the time, so that nobody waits for this test.
    monkeypatch.setattr(Worker, "aclose", lambda self, timeout_s=10.0: aclose(self, timeout_s / 20))
    stuck = threading.Event()

    class Stuck(ScriptedSource):
        def close(self):
            stuck.wait(10)

    async with Pipeline([Stream(name="a", source=Stuck(range(3)))], FakeEstimator()) as pipeline:
        reports = await pipeline.run()
    stuck.set()
    assert reports["a"].outcome is Outcome.ENDED
    left = re.search(r"streampose-source-a is stuck in a call; left it behind after (.*) s", caplog.text)
    assert left
    assert float(left[1]) * 20 < 5


async def test_who_is_cut_off_while_a_source_opens_is_cancelled():
    opening, let_go = threading.Event(), threading.Event()

    class Slow(ScriptedSource):
        def open(self, stream):
            opening.set()
            let_go.wait(5)
            return super().open(stream)

        def interrupt(self):
            let_go.set()

    async with Pipeline([Stream(name="a", source=Slow(range(3)))], FakeEstimator()) as pipeline:
        running = asyncio.create_task(pipeline.run())
        while not opening.is_set():
            await asyncio.sleep(0.005)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert pipeline.reports["a"].outcome is Outcome.CANCELLED
