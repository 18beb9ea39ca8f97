"""Streams that come, go and change while the pipeline runs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest
from fakes import FakeEstimator, MemorySink, ScriptedSource

from streampose.batching import LatencyBatch
from streampose.batching.policy import Decision, Waiting
from streampose.errors import ConfigError, ModelOutputError, SourceUnauthorized
from streampose.pipeline import Pipeline
from streampose.streams import Outcome, Stream


def live(name: str, sink: MemorySink, frames: int = 100_000) -> Stream:
    return Stream(name=name, source=ScriptedSource(range(frames), live=True, period_s=0.01), sinks=[sink])


async def seen(sink: MemorySink, count: int) -> None:
    async with asyncio.timeout(10):
        while len(sink.results) < count:
            await asyncio.sleep(0.005)


async def test_streams_come_go_and_change_without_touching_the_others():
    steady, gone, new, changed = (MemorySink() for _ in range(4))
    async with Pipeline([], FakeEstimator(), keep_running=True) as pipeline:
        running = asyncio.create_task(pipeline.run())
        await asyncio.sleep(0.02)
        await pipeline.add(live("steady", steady))
        await pipeline.add(live("gone", gone))
        await seen(gone, 10)
        report = await pipeline.remove("gone")
        assert (report.outcome, gone.closed) == (Outcome.STOPPED, 1)
        with pytest.raises(ConfigError, match="no stream is named"):
            await pipeline.remove("gone")
        await pipeline.add(live("gone", new))
        await seen(new, 10)
        await pipeline.replace(live("gone", changed))
        await seen(changed, 10)
        with pytest.raises(ConfigError, match="there already"):
            await pipeline.add(live("steady", new))
        assert not running.done()
        pipeline.stop()
        reports = await running
    assert {r.outcome for r in reports.values()} == {Outcome.STOPPED}
    assert steady.indices == sorted(set(steady.indices))
    # It went on at its own pace: what is missing was dropped for being late, and counted, never lost in a change.
    missing = steady.indices[-1] + 1 - len(steady.indices)
    assert missing <= pipeline.snapshot().streams["steady"].dropped_total
    snapshot = pipeline.snapshot()
    assert snapshot.removed.delivered == len(gone.results) + len(new.results)
    for figures in (snapshot.removed, *snapshot.streams.values()):
        assert figures.captured == figures.delivered + figures.dropped_total


async def test_the_only_stream_can_be_replaced_and_a_failed_one_removed():
    class Refused(ScriptedSource):
        def open(self, stream):
            raise SourceUnauthorized("wrong password")

    first, second = MemorySink(), MemorySink()
    async with Pipeline([live("a", first)], FakeEstimator()) as pipeline:
        running = asyncio.create_task(pipeline.run())
        await seen(first, 3)
        await pipeline.add(Stream(name="bad", source=Refused([])))
        await pipeline.replace(live("a", second, 20))
        assert (await pipeline.remove("bad")).outcome is Outcome.FAILED
        await running
    assert second.indices == sorted(set(second.indices))
    assert second.indices[-1] == 19


async def test_an_engine_that_fails_ends_a_run_that_keeps_running():
    async with Pipeline([live("a", MemorySink())], FakeEstimator(fail_at=5), keep_running=True) as pipeline:
        with pytest.raises(ModelOutputError):
            async with asyncio.timeout(10):
                await pipeline.run()


async def test_a_camera_that_never_opens_can_be_removed():
    class Hung(ScriptedSource):
        live = True

        def __init__(self) -> None:
            super().__init__([], live=True)
            self.gone = threading.Event()

        def open(self, stream):
            self.gone.wait(20)
            raise SourceUnauthorized("interrupted")

        def interrupt(self) -> None:
            self.gone.set()

    async with Pipeline([Stream(name="hung", source=Hung())], FakeEstimator(), keep_running=True) as pipeline:
        running = asyncio.create_task(pipeline.run())
        await asyncio.sleep(0.05)
        async with asyncio.timeout(2):
            assert (await pipeline.remove("hung")).outcome is Outcome.STOPPED
        pipeline.stop()
        await running


async def test_a_budget_changes_while_the_stream_runs():
    class Watching(LatencyBatch):
        budget = 0.0

        def decide(self, now: float, waiting: Sequence[Waiting], more: bool) -> Decision:
            if waiting:
                self.budget = waiting[-1].deadline - waiting[-1].captured_at
            return super().decide(now, waiting, more)

    policy, sink = Watching(0.5), MemorySink()
    async with Pipeline([live("s", sink)], FakeEstimator(), policy=policy) as pipeline:
        running = asyncio.create_task(pipeline.run())
        for budget_s, expected_s in ((None, 0.5), (0.2, 0.2), (None, 0.5)):
            pipeline.set_budget("s", budget_s)
            sink.results.clear()
            await seen(sink, 3)
            async with asyncio.timeout(10):
                while not expected_s - 0.1 < policy.budget <= expected_s:  # less what finishing takes
                    await asyncio.sleep(0.01)
        with pytest.raises(ConfigError, match="no stream is named"):
            pipeline.set_budget("t", 0.1)
        pipeline.stop()
        await running
