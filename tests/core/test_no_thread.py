"""A system that has no room for another thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest
from fakes import FakeEstimator, MemorySink, ScriptedSource

from streampose.errors import StreamposeError
from streampose.frame import Image
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


async def test_a_pipeline_whose_engines_get_no_thread_leaves_none_behind(monkeypatch: pytest.MonkeyPatch):
    none_for("engine-1", monkeypatch)
    engines, source = [FakeEstimator(), FakeEstimator()], ScriptedSource([0])
    with pytest.raises(StreamposeError, match="streampose-engine-1 got no thread"):
        async with Pipeline([Stream(name="s", source=source)], engines):
            pytest.fail("it began")
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("streampose")]
    assert engines[0].closed


async def test_an_engine_that_gets_no_thread_to_send_pictures_on_fails_and_is_closed(monkeypatch: pytest.MonkeyPatch):
    class Sending(FakeEstimator):
        def ahead(self, images: Sequence[Image]) -> None:
            pytest.fail("there is no thread for it")

    none_for("engine-0-ahead", monkeypatch)
    engine, sink = Sending(), MemorySink()
    with pytest.raises(StreamposeError, match="streampose-engine-0-ahead got no thread"):
        async with (
            asyncio.timeout(10),
            Pipeline([Stream(name="s", source=ScriptedSource([0]), sinks=[sink])], engine) as pipeline,
        ):
            await pipeline.run()
    assert engine.closed
    assert sink.closed == 1
