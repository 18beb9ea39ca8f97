"""A system that has no room for another thread."""

from __future__ import annotations

import asyncio
import threading

import pytest
from fakes import FakeEstimator, MemorySink, ScriptedSource

from streampose.errors import StreamposeError
from streampose.pipeline import Pipeline
from streampose.streams import Outcome, Stream


def none_for(name: str, patch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def full(thread: threading.Thread) -> None:
        if thread.name == f"streampose-{name}":
            raise RuntimeError("can't start new thread")
        start(thread)

    patch.setattr(threading.Thread, "start", full)


@pytest.mark.parametrize("lacking", ["source-late", "sink-late-0", "sink-late-1", "finish-late"])
async def test_a_stream_that_gets_no_thread_fails_alone(lacking: str, monkeypatch: pytest.MonkeyPatch):
    none_for(lacking, monkeypatch)
    go_on, good, late = threading.Event(), MemorySink(), [MemorySink(), MemorySink()]
    source = ScriptedSource([0, 1])
    early = Stream(name="early", source=ScriptedSource([0, lambda: go_on.wait(10), 1]), sinks=[good])
    async with asyncio.timeout(10), Pipeline([early], FakeEstimator()) as pipeline:
        running = asyncio.create_task(pipeline.run())
        while not good.results:
            await asyncio.sleep(0.001)
        await pipeline.add(Stream(name="late", source=source, sinks=late))
        report = await pipeline.ended("late")
        go_on.set()
        reports = await running
    assert reports["early"].outcome is Outcome.ENDED
    assert good.indices == [0, 1]
    assert report.outcome is Outcome.FAILED
    assert type(report.error) is StreamposeError
    assert f"streampose-{lacking} got no thread" in str(report.error)
    # What was opened before is closed.
    assert source.opened == source.closed
    assert [sink.opened for sink in late] == [sink.closed for sink in late]
