"""Streams that come, go and change while the pipeline runs."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import FakeEstimator, MemorySink, ScriptedSource, picture

from streampose.batching import Batcher, Lane, LatencyBatch
from streampose.batching.policy import Decision, Waiting
from streampose.errors import ConfigError, Disconnected, ModelOutputError, SourceUnauthorized
from streampose.frame import Image
from streampose.metrics import Cause, Place
from streampose.pipeline import Pipeline
from streampose.pose import Poses
from streampose.sinks import JsonlSink, Rotation
from streampose.sources import PushSource
from streampose.sources.reconnect import Reconnecting
from streampose.streams import Outcome, Stream, check_apart


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
        assert (Place.BATCH, Cause.FAILED) not in figures.dropped, "all that was on its way was delivered"


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


async def test_who_is_removed_by_two_at_a_time_is_counted_once():
    async with Pipeline([live("a", sink := MemorySink())], FakeEstimator(), keep_running=True) as pipeline:
        running = asyncio.create_task(pipeline.run())
        await seen(sink, 3)
        one, other = await asyncio.gather(pipeline.remove("a"), pipeline.remove("a"))
        assert one is other
        # A live sink may miss some.
        assert len(sink.results) <= pipeline.snapshot().removed.delivered < 2 * len(sink.results)
        pipeline.stop()
        await running


async def test_the_only_stream_can_be_replaced_by_one_of_another_name_that_writes_its_file(tmp_path: Path):
    def stream(name: str, frames: int) -> tuple[Stream, MemorySink]:
        one = live(name, sink := MemorySink(), frames)
        return replace(one, sinks=[sink, JsonlSink(tmp_path / "one.jsonl", Rotation(max_bytes=10**9))]), sink

    (a, first), (b, second) = stream("a", 100_000), stream("b", 20)
    async with Pipeline([a], FakeEstimator()) as pipeline:
        running = asyncio.create_task(pipeline.run())
        await seen(first, 3)
        with pytest.raises(ConfigError, match="write one file"):
            await pipeline.add(b)
        with pipeline.held_open():
            await pipeline.remove("a")
            await pipeline.add(b)
        assert set(await running) == {"b"}
    assert second.indices[-1] == 19
    assert {json.loads(line)["stream"] for line in (tmp_path / "one.jsonl").read_text().splitlines()} == {"b"}
    assert {json.loads(line)["stream"] for line in (tmp_path / "one.000001.jsonl").read_text().splitlines()} == {"a"}


async def test_no_file_of_a_stream_is_called_like_an_old_one_of_another_which_rotates(tmp_path: Path):
    def stream(name: str, rotation: Rotation | None) -> Stream:
        return Stream(name=name, source=ScriptedSource([0]), sinks=[JsonlSink(tmp_path / f"{name}.jsonl", rotation)])

    door, old = stream("door", Rotation(max_bytes=4000, keep=1)), stream("door.000001", None)
    with pytest.raises(ConfigError, match=r"of stream 'door.000001' is called like an old file of 'door': name"):
        Pipeline([door, old], FakeEstimator())
    async with Pipeline([door], FakeEstimator()) as pipeline:
        with pytest.raises(ConfigError, match="is called like an old file"):
            await pipeline.add(old)
        await pipeline.add(stream("door.1", None))
        await pipeline.run()
    check_apart([stream("door", None), old])


@pytest.mark.parametrize("keep_running", [True, False])
async def test_where_a_run_goes_on_a_lone_stream_that_fails_is_in_the_log(
    caplog: pytest.LogCaptureFixture, *, keep_running: bool
):
    class Refused(ScriptedSource):
        def open(self, stream):
            raise SourceUnauthorized("wrong password")

    caplog.set_level(logging.INFO, logger="streampose")
    async with Pipeline([Stream(name="a", source=Refused([]))], FakeEstimator(), keep_running=keep_running) as pipeline:
        running = asyncio.create_task(pipeline.run())
        await pipeline.ended("a")
        pipeline.stop()
        await running
    # Whoever waits for a run that ends by it has its report.
    (told,) = [record for record in caplog.records if "wrong password" in record.getMessage()]
    assert told.levelno == (logging.WARNING if keep_running else logging.INFO)


async def test_an_engine_that_fails_ends_a_run_that_keeps_running():
    async with Pipeline([live("a", MemorySink())], FakeEstimator(fail_at=5), keep_running=True) as pipeline:
        with pytest.raises(ModelOutputError):
            async with asyncio.timeout(10):
                await pipeline.run()


async def test_an_end_can_be_waited_for_before_there_is_a_run():
    one = Stream(name="one", source=ScriptedSource(range(5)), sinks=[MemorySink()])
    async with asyncio.timeout(10), Pipeline([one], FakeEstimator()) as pipeline:
        early = asyncio.create_task(pipeline.ended("one"))
        await asyncio.sleep(0)
        assert not early.done()
        running = asyncio.create_task(pipeline.run())
        assert (await pipeline.ended("one")).outcome is Outcome.ENDED
        assert (await early).outcome is Outcome.ENDED
        await running
    async with asyncio.timeout(10), Pipeline([one], FakeEstimator()) as never:
        waiting = asyncio.create_task(never.ended("one"))
        await asyncio.sleep(0)
    assert (await waiting).outcome is Outcome.STOPPED


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


@pytest.mark.parametrize(("is_live", "batch_s"), [(True, 0.05), (False, 0.002)])
async def test_a_stream_that_is_cut_off_holds_nobody_up(is_live: bool, batch_s: float):
    source, sink, other = ScriptedSource(range(100_000), live=is_live), MemorySink(delay_s=1.0), MemorySink()
    slow = Stream(name="slow", source=source, sinks=[sink])
    async with Pipeline([slow, live("other", other)], FakeEstimator(base_s=batch_s)) as pipeline:
        running = asyncio.create_task(pipeline.run())
        await seen(other, 20)  # until then its credits are out
        assert (await pipeline.remove("slow", drain_s=0)).outcome is Outcome.CANCELLED
        await seen(other, len(other.results) + 3)
        pipeline.stop()
        async with asyncio.timeout(5):
            await running
    removed = pipeline.snapshot().removed
    assert removed.captured == removed.delivered + removed.dropped_total
    assert 0 <= removed.dropped.get((Place.BATCH, Cause.FAILED), 0) < 40, "what was on its way, and no more"


class Away(ScriptedSource):
    """A camera that is not there."""

    def open(self, stream):
        self.opened += 1
        raise Disconnected("away")


@pytest.mark.parametrize("soon", [False, True])
async def test_a_stop_before_the_first_step_of_a_stream_is_obeyed(soon: bool):
    camera = Away([], live=True)
    async with Pipeline([Stream(name="away", source=Reconnecting(camera))], FakeEstimator()) as pipeline:
        if soon:
            asyncio.get_running_loop().call_soon(pipeline.stop)
        else:
            pipeline.stop()
            with pytest.raises(ConfigError, match="too late"):
                await pipeline.add(live("b", MemorySink()))
        async with asyncio.timeout(5):
            reports = await pipeline.run()
    assert (reports["away"].outcome, camera.opened) == (Outcome.STOPPED, 0)


async def test_a_stop_in_the_turn_in_which_reading_begins_is_obeyed(monkeypatch: pytest.MonkeyPatch):
    join = Batcher.add

    def join_and_stop(batcher: Batcher, lane: Lane) -> None:
        join(batcher, lane)
        asyncio.get_running_loop().call_soon(pipeline.stop)  # comes before the first step of what reads

    monkeypatch.setattr(Batcher, "add", join_and_stop)
    async with Pipeline([live("a", MemorySink())], FakeEstimator()) as pipeline:
        async with asyncio.timeout(5):
            reports = await pipeline.run()
    assert reports["a"].outcome is Outcome.STOPPED


@pytest.mark.parametrize("fails", [False, True])
async def test_what_comes_after_the_end_is_refused(fails: bool):
    stream = Stream(name="a", source=ScriptedSource(range(8)), sinks=[MemorySink()])
    async with Pipeline([stream], FakeEstimator(fail_at=5 if fails else None)) as pipeline:
        with pytest.raises(ModelOutputError) if fails else nullcontext():
            await pipeline.run()
        with pytest.raises(ConfigError, match="too late"):
            await pipeline.add(live("b", MemorySink()))
        with pytest.raises(RuntimeError, match="runs once"):
            await pipeline.run()


@pytest.mark.parametrize("silent", [False, True])
async def test_leaving_the_context_ends_a_run_that_goes_on_as_a_stop_does(silent: bool):
    """As a web application's lifespan does, where nobody awaits `run`."""
    source, sink = PushSource(), MemorySink()
    pictures = [Stream(name="a", source=source)] if silent else [live("a", sink)]
    async with Pipeline(pictures, FakeEstimator(), keep_running=True) as pipeline:
        running = asyncio.create_task(pipeline.run())
        await (asyncio.sleep(0.01) if silent else seen(sink, 3))
    assert (await running)["a"].outcome is Outcome.STOPPED
    figures = pipeline.snapshot().streams["a"]
    assert figures.captured == figures.delivered + figures.dropped_total
    assert (Place.BATCH, Cause.FAILED) not in figures.dropped
    with pytest.raises(ConfigError, match="too late"):
        await pipeline.add(live("b", MemorySink()))


@pytest.mark.parametrize("how", [KeyError, asyncio.CancelledError])
async def test_leaving_the_context_by_an_error_cuts_the_run_off(how: type[BaseException]):
    sink = MemorySink()
    try:
        async with Pipeline([live("a", sink)], FakeEstimator()) as pipeline:
            running = asyncio.create_task(pipeline.run())
            await seen(sink, 3)
            raise how  # noqa: TRY301 - what leaves the context
    except how:
        assert running.cancelled()
    assert (pipeline.reports["a"].outcome, sink.closed) == (Outcome.CANCELLED, 1)


async def pipeline_has(pipeline: Pipeline, frames: int) -> None:
    while pipeline.snapshot().streams["a"].captured <= frames:
        await asyncio.sleep(0.005)


async def test_who_is_cancelled_while_the_context_ends_waits_no_longer_for_the_run():
    over = threading.Event()

    class Hanging(FakeEstimator):
        def __call__(self, images: Sequence[Image]) -> list[Poses]:
            over.wait(10)
            return super().__call__(images)

    async def lasting() -> None:
        async with Pipeline([live("a", MemorySink())], Hanging()) as pipeline:
            runs.append(asyncio.create_task(pipeline.run()))
            await pipeline_has(pipeline, 1)

    runs: list[asyncio.Task[object]] = []
    leaving = asyncio.create_task(lasting())
    assert not (await asyncio.wait([leaving], timeout=0.2))[0]  # it is leaving, and waits for what is on its way
    leaving.cancel()
    await asyncio.wait(runs, timeout=5)
    over.set()
    assert runs[0].cancelled()
    with pytest.raises(asyncio.CancelledError):
        await leaving


async def test_what_never_runs_is_closed_so_who_pushes_learns_that():
    gone, left, late = (PushSource(live=False) for _ in range(3))
    async with Pipeline([Stream(name="gone", source=gone), Stream(name="left", source=left)], FakeEstimator()) as early:
        assert (await early.remove("gone")).outcome is Outcome.STOPPED
        assert not gone.push(picture(1))
    assert not left.push(picture(1))
    async with Pipeline([live("a", MemorySink())], FakeEstimator(), keep_running=True) as pipeline:
        running = asyncio.create_task(pipeline.run())
        await pipeline_has(pipeline, 1)
        await pipeline.add(Stream(name="late", source=late))
        running.cancel()  # before the new one's first step
        await asyncio.wait([running])
    assert not late.push(picture(1))


@pytest.mark.parametrize("fails", [False, True])
async def test_a_stop_ends_a_run_that_is_held_open(fails: bool):
    """By `stop`, by leaving the context, or because no model is left."""
    never = asyncio.Event()

    async def holds(pipeline: Pipeline) -> None:
        with pipeline.held_open():
            await never.wait()

    estimator = FakeEstimator(fail_at=2 if fails else None)
    one = Stream(name="a", source=ScriptedSource(range(5)))
    async with asyncio.timeout(10), Pipeline([one], estimator) as pipeline:
        holding = asyncio.create_task(holds(pipeline))
        running = asyncio.create_task(pipeline.run())
        await pipeline.ended("a")
        assert fails or not running.done()
    never.set()
    await holding
    assert isinstance(running.exception(), ModelOutputError if fails else type(None))


async def test_a_run_that_begins_after_its_context_is_refused():
    async with Pipeline([live("a", MemorySink())], FakeEstimator()) as pipeline:
        running = asyncio.create_task(pipeline.run())
    with pytest.raises(RuntimeError, match="within its context"):
        await running
