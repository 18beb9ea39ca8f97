from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Sequence
from dataclasses import replace

import pytest
from fakes import FakeEstimator, MemorySink, ScriptedSource, VirtualClock, poses_of

from streampose.backoff import Backoff
from streampose.batching import FixedBatch, LatencyBatch
from streampose.cli.progress import summary
from streampose.errors import (
    ConfigError,
    Disconnected,
    EngineFailed,
    ModelOutputError,
    PolicyError,
    SinkFailed,
    SinkUnavailable,
    SourceCorrupt,
    SourceError,
    SourceNotFound,
    SourceRefused,
)
from streampose.frame import Image, StreamInfo
from streampose.metrics import Cause, Place, StreamSnapshot
from streampose.pipeline import Pipeline
from streampose.pose import Poses
from streampose.sinks.sink import StopRequested
from streampose.sources import Reconnecting
from streampose.streams import Outcome, Stream
from streampose.tracking import Tracker, TrackerOptions


def stream(name: str, script, *sinks, live: bool = False, period_s: float = 0.0, **options) -> Stream:
    return Stream(name=name, source=ScriptedSource(script, live=live, period_s=period_s), sinks=sinks, **options)


def adds_up(pipeline: Pipeline) -> bool:
    """At its end a stream gives up whatever is missing, so a sum that is right says nothing without that."""

    def well(name: str, figures: StreamSnapshot) -> bool:
        given_up = figures.dropped.get((Place.BATCH, Cause.FAILED), 0)
        whole = pipeline.reports[name].outcome in {Outcome.ENDED, Outcome.STOPPED}
        rest = figures.captured - figures.delivered - figures.dropped_total
        return rest == figures.in_flight == 0 <= given_up <= (0 if whole else figures.captured)

    return all(well(name, figures) for name, figures in pipeline.snapshot().streams.items())


async def test_every_frame_of_a_file_comes_out_in_order_and_once():
    sinks = [MemorySink(), MemorySink()]
    estimators = [FakeEstimator(per_frame_s=0.002), FakeEstimator(per_frame_s=0.0005)]  # the second overtakes the first
    async with Pipeline([stream("a", range(100), *sinks)], estimators, policy=FixedBatch(4)) as pipeline:
        reports = await pipeline.run()
    assert reports["a"].outcome is Outcome.ENDED
    assert f"{reports['a'].outcome}" == "ended"  # as examples print it
    for sink in sinks:
        assert sink.indices == list(range(100))
        assert (sink.opened, sink.closed) == (1, 1)
    assert all(r.poses.points[0, 0, 0] == r.frame.index for r in sinks[0].results), "a frame got another one's people"
    assert all(e.closed and e.batches for e in estimators)
    assert adds_up(pipeline)


async def test_the_people_of_a_run_are_those_that_were_delivered():
    sink, strict = MemorySink(), Tracker(TrackerOptions(strong_score=1.1, doubt_s=0.2))
    async with Pipeline([stream("a", range(20), sink, tracker=strict)], FakeEstimator()) as pipeline:
        await pipeline.run()
    snapshot, delivered = pipeline.snapshot(), sum(len(result.poses) for result in sink.results)
    assert snapshot.streams["a"].people_total == delivered < snapshot.engine.people == 20
    assert f", {delivered} people," in summary(snapshot, pipeline.reports, live=False).plain


async def test_the_summary_has_latency_of_live_streams_alone():
    async with Pipeline([stream("a", range(20), MemorySink())], FakeEstimator()) as pipeline:
        await pipeline.run()
    snapshot = pipeline.snapshot()
    assert "latency p50 " in summary(snapshot, pipeline.reports, live=True).plain
    assert "latency" not in summary(snapshot, pipeline.reports, live=False).plain


async def test_four_streams_share_batches_and_stay_apart():
    sinks = {name: MemorySink() for name in "abcd"}
    streams = [stream(name, range(i, 50 + i), sink) for i, (name, sink) in enumerate(sinks.items())]
    estimator = FakeEstimator(per_frame_s=0.0005)
    async with Pipeline(streams, estimator, policy=FixedBatch(8)) as pipeline:
        await pipeline.run()
    for i, (name, sink) in enumerate(sinks.items()):
        assert sink.indices == list(range(i, 50 + i))
        assert {r.frame.stream for r in sink.results} == {name}
        assert all(r.poses.points[0, 0, 0] == r.frame.index for r in sink.results)
    assert any(len(batch) == 8 for batch in estimator.batches)


async def test_a_broken_source_ends_alone_after_its_last_frame():
    good, bad = MemorySink(), MemorySink()
    streams = [stream("good", range(50), good), stream("bad", [0, 1, 2, Disconnected("cut")], bad)]
    async with Pipeline(streams, FakeEstimator()) as pipeline:
        reports = await pipeline.run()
    assert reports["good"].outcome is Outcome.ENDED
    assert reports["bad"].outcome is Outcome.FAILED
    assert isinstance(reports["bad"].error, Disconnected)
    assert good.indices == list(range(50))
    assert bad.indices == [0, 1, 2]
    assert bad.closed == 1
    assert adds_up(pipeline)


async def test_a_source_that_cannot_be_opened_ends_alone():
    class Missing(ScriptedSource):
        def open(self, stream):
            raise SourceNotFound("no file")

    good, bad = MemorySink(), MemorySink()
    streams = [Stream(name="bad", source=Missing([]), sinks=[bad]), stream("good", range(20), good)]
    async with Pipeline(streams, FakeEstimator()) as pipeline:
        reports = await pipeline.run()
    assert isinstance(reports["bad"].error, SourceNotFound)
    assert bad.opened == 0
    assert good.indices == list(range(20))


async def test_a_sink_that_cannot_be_opened_ends_its_stream():
    class Missing(MemorySink):
        def open(self, stream, info):
            raise SinkUnavailable("no folder")

    async with Pipeline([stream("a", range(5), Missing())], FakeEstimator()) as pipeline:
        reports = await pipeline.run()
    assert isinstance(reports["a"].error, SinkUnavailable)


async def test_a_full_disk_ends_its_stream_and_the_other_sinks_get_what_is_on_its_way():
    full, other, good = MemorySink(error_at=10, error=SinkFailed("disk full")), MemorySink(), MemorySink()
    streams = [stream("bad", range(500), full, other), stream("good", range(100), good)]
    async with Pipeline(streams, FakeEstimator()) as pipeline:
        reports = await pipeline.run()
    assert isinstance(reports["bad"].error, SinkFailed)
    assert full.indices == list(range(10))
    assert other.indices == list(range(len(other.indices)))
    assert len(other.indices) > 10
    missed = pipeline.snapshot().streams["bad"].dropped[Place.SINK, Cause.FAILED]
    assert missed == len(other.indices) - 11, "those behind the one that found no room"
    assert (full.closed, other.closed) == (1, 1)
    assert good.indices == list(range(100))
    assert adds_up(pipeline)


async def test_an_unforeseen_error_of_a_users_sink_is_typed():
    sink = MemorySink(error_at=3, error=KeyError("oops"))
    async with Pipeline([stream("a", range(50), sink)], FakeEstimator()) as pipeline:
        reports = await pipeline.run()
    assert isinstance(reports["a"].error, SinkFailed)
    assert "oops" in str(reports["a"].error)


async def test_an_error_of_closing_ends_its_own_stream():
    class Source(ScriptedSource):
        def close(self):
            raise ZeroDivisionError("a bug")

    class Cut(ScriptedSource):
        def close(self):
            raise SourceCorrupt("cut short")

    class Sink(MemorySink):
        def close(self):
            raise ZeroDivisionError("another bug")

    good = MemorySink()
    streams = [
        Stream(name="source", source=Source(range(5))),
        Stream(name="cut", source=Cut(range(5))),
        stream("sink", range(5), Sink()),
        stream("good", range(50), good),
    ]
    async with Pipeline(streams, FakeEstimator()) as pipeline:
        reports = await pipeline.run()
    assert "a bug" in str(reports["source"].error)
    assert type(reports["source"].error) is SourceError
    assert type(reports["cut"].error) is SourceCorrupt
    assert "another bug" in str(reports["sink"].error)
    assert good.indices == list(range(50))


async def test_outputs_are_finished_side_by_side():
    together = threading.Barrier(3)

    class Meeting(MemorySink):
        def close(self):
            together.wait(10)
            super().close()

    sinks = [Meeting(), Meeting(), Meeting()]
    async with Pipeline([stream("a", range(5), *sinks)], FakeEstimator()) as pipeline:
        reports = await pipeline.run()
    assert reports["a"].error is None
    assert [sink.closed for sink in sinks] == [1, 1, 1]


async def test_who_is_in_a_hurry_gets_whole_files_and_does_not_wait_for_servers(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("streampose.flow._HURRY_S", 0.8)
    let_go, closing = threading.Event(), threading.Event()

    class Server(MemorySink):
        def close(self):
            let_go.wait(60)

    class File(MemorySink):
        def close(self):
            closing.set()
            time.sleep(0.1)
            super().close()

    file = File()
    async with Pipeline([stream("a", range(5), file, Server())], FakeEstimator()) as pipeline:
        running = asyncio.create_task(pipeline.run())
        while not closing.is_set():
            await asyncio.sleep(0.005)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert not let_go.is_set()
    assert file.closed == 1
    let_go.set()


async def test_what_broke_first_is_the_cause():
    class Full(MemorySink):
        def close(self):
            raise SinkFailed("could not be finished")

    async with Pipeline(
        [stream("a", range(50), Full(error_at=3, error=SinkFailed("broke off")))], FakeEstimator()
    ) as run:
        reports = await run.run()
    assert "broke off" in str(reports["a"].error)


@pytest.mark.parametrize(
    ("broken", "cause"),
    [
        (lambda images: images["x"], TypeError),
        (lambda images: [], type(None)),
        (lambda images: [None for _ in images], type(None)),
    ],
    ids=["raises", "gives too few", "gives no people"],
)
async def test_a_bug_in_an_estimator_is_an_engine_failure(broken, cause):
    class Broken(FakeEstimator):
        def __call__(self, images):
            return broken(images)

    sink = MemorySink()
    async with Pipeline([stream("a", range(50), sink)], Broken()) as pipeline:
        with pytest.raises(EngineFailed) as failed:
            await pipeline.run()
    assert sink.closed == 1
    assert type(failed.value.__cause__) is cause


@pytest.mark.parametrize("where", ["decide", "observe"])
async def test_a_bug_in_a_policy_ends_the_run_and_outputs_are_finished(where):
    class Broken(FixedBatch):
        pass

    def bug(*_):
        raise ZeroDivisionError("a bug")

    setattr(Broken, where, bug)
    sinks = [MemorySink(), MemorySink()]
    streams = [stream(name, range(50), sink) for name, sink in zip("ab", sinks, strict=True)]
    async with Pipeline(streams, FakeEstimator(), policy=Broken(2)) as pipeline:
        with pytest.raises(PolicyError, match="ZeroDivisionError: a bug") as failed:
            await pipeline.run()
    assert isinstance(failed.value.__cause__, ZeroDivisionError)
    outcomes = [r.outcome for r in pipeline.reports.values()]
    # One that has not begun to read by then is told to stop, and does.
    assert Outcome.FAILED in outcomes
    assert set(outcomes) <= {Outcome.FAILED, Outcome.STOPPED}
    assert all(s.closed == s.opened for s in sinks)
    assert adds_up(pipeline)


async def test_a_bug_in_drawing_ends_its_own_stream():
    class Broken:
        def __call__(self, image, poses, hud=None):
            raise ZeroDivisionError("a bug")

    bad, good = MemorySink(wants_picture=True), MemorySink()
    streams = [stream("bad", range(50), bad, renderer=Broken()), stream("good", range(50), good)]
    async with Pipeline(streams, FakeEstimator()) as pipeline:
        reports = await pipeline.run()
    assert "ZeroDivisionError: a bug" in str(reports["bad"].error)
    assert bad.closed == 1
    assert good.indices == list(range(50))
    assert adds_up(pipeline)


async def test_the_display_counts_the_people_of_its_own_picture():
    shown = []

    class Looker:
        def __call__(self, image, poses, hud=None):
            shown.append((len(poses), hud.people))
            return image

    class Some(FakeEstimator):
        def __call__(self, images):
            return [poses_of(int(image[0, 0, 0]), people=int(image[0, 0, 0]) % 3) for image in images]

    streams = [stream("a", range(30), MemorySink(wants_picture=True), renderer=Looker())]
    async with Pipeline(streams, Some()) as pipeline:
        await pipeline.run()
    assert shown == [(i % 3, i % 3) for i in range(30)]


async def test_a_failing_engine_ends_the_run_and_outputs_are_finished():
    sinks = [MemorySink(), MemorySink()]
    streams = [stream("a", range(100), sinks[0]), stream("b", range(200, 250), sinks[1])]
    pipeline = Pipeline(streams, FakeEstimator(fail_at=30), policy=FixedBatch(2))
    with pytest.raises(ModelOutputError):
        async with pipeline:
            await pipeline.run()
    assert all(r.outcome is Outcome.FAILED for r in pipeline.reports.values())
    assert sinks[0].indices == list(range(len(sinks[0].indices)))
    assert [s.closed for s in sinks] == [1, 1]
    assert adds_up(pipeline)


async def test_stop_delivers_what_is_on_its_way():
    sink = MemorySink(delay_s=0.001)
    async with Pipeline([stream("a", range(100_000), sink)], FakeEstimator()) as pipeline:
        running = asyncio.create_task(pipeline.run())
        while len(sink.results) < 20:
            await asyncio.sleep(0.005)
        pipeline.stop()
        reports = await running
    assert reports["a"].outcome is Outcome.STOPPED
    assert sink.indices == list(range(len(sink.indices)))
    assert sink.closed == 1
    assert adds_up(pipeline)


async def test_a_viewer_can_stop_the_run():
    quitter, other = MemorySink(error_at=5, error=StopRequested()), MemorySink()
    streams = [stream("a", range(100_000), quitter), stream("b", range(100_000), other)]
    async with Pipeline(streams, FakeEstimator(per_frame_s=0.001)) as pipeline:
        reports = await pipeline.run()
    assert {r.outcome for r in reports.values()} == {Outcome.STOPPED}
    assert other.closed == 1


async def test_cancelling_closes_everything():
    source, sink, estimator = ScriptedSource(range(100_000)), MemorySink(delay_s=0.001), FakeEstimator()
    pipeline = Pipeline([Stream(name="a", source=source, sinks=[sink])], estimator)
    async with pipeline:
        running = asyncio.create_task(pipeline.run())
        while len(sink.results) < 5:
            await asyncio.sleep(0.005)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert (source.closed, sink.closed, estimator.closed) == (1, 1, True)
    assert pipeline.reports["a"].outcome is Outcome.CANCELLED
    assert adds_up(pipeline)


async def test_stop_while_a_source_is_still_opening():
    release = threading.Event()

    class Slow(ScriptedSource):
        def open(self, stream):
            release.wait(5)
            return super().open(stream)

    async with Pipeline([Stream(name="a", source=Slow([0]))], FakeEstimator()) as pipeline:
        running = asyncio.create_task(pipeline.run())
        await asyncio.sleep(0.05)
        pipeline.stop()
        release.set()
        reports = await running
    assert reports["a"].outcome is Outcome.STOPPED


async def test_a_stop_while_an_output_is_still_opening():
    class Slow(MemorySink):
        def open(self, stream, info):
            super().open(stream, info)
            loop.call_soon_threadsafe(lambda: (pipeline.stop(), stopped.set()))
            assert stopped.wait(5)

    loop, stopped, sink = asyncio.get_running_loop(), threading.Event(), Slow()
    async with Pipeline([stream("a", range(100_000), sink)], FakeEstimator()) as pipeline:
        reports = await pipeline.run()
    assert reports["a"].outcome is Outcome.STOPPED
    assert (sink.indices, sink.closed) == ([], 1)


async def test_a_live_stream_drops_before_inference_and_stays_fresh():
    sink = MemorySink()
    streams = [stream("cam", range(200), sink, live=True, period_s=0.002)]
    estimator = FakeEstimator(base_s=0.02)
    async with Pipeline(streams, estimator, policy=LatencyBatch(0.1, max_frames=1)) as pipeline:
        await pipeline.run()
    figures = pipeline.snapshot().streams["cam"]
    assert figures.dropped[Place.INGRESS, Cause.OVERFLOW] > 100
    assert sum(map(len, estimator.batches)) == figures.delivered, "a frame was dropped after it was paid for"
    assert sink.indices == sorted(sink.indices)
    assert figures.latency_p99_s < 1  # a queue of all that comes would be 4 s long
    assert adds_up(pipeline)


async def test_a_slow_viewer_of_one_stream_does_not_touch_another():
    slow, fast = MemorySink(delay_s=0.15), MemorySink()
    streams = [
        stream("slow", range(60), slow, live=True, period_s=0.02),
        stream("fast", range(60), fast, live=True, period_s=0.02),
    ]
    async with Pipeline(streams, FakeEstimator(base_s=0.001), policy=LatencyBatch(2.0)) as pipeline:
        await pipeline.run()
    figures = pipeline.snapshot().streams
    assert len(fast.results) > 40
    assert (missed := figures["slow"].dropped[Place.SINK, Cause.OVERFLOW]) > 20
    assert figures["slow"].delivered > 40
    assert adds_up(pipeline)
    told = summary(pipeline.snapshot(), pipeline.reports, live=True).plain.splitlines()[0]
    assert f", {missed} not taken in time by outputs, " in told, told


class Away(ScriptedSource):
    """A camera that is off."""

    tries = 0

    def open(self, stream: str) -> StreamInfo:
        self.tries += 1
        raise SourceRefused(stream)


class Silent(ScriptedSource):
    """A camera that has not answered yet."""

    over = threading.Event()

    def open(self, stream: str) -> StreamInfo:
        self.over.wait(5)
        raise Disconnected(stream)

    def interrupt(self) -> None:
        self.over.set()


async def test_a_camera_that_never_was_there_is_told_as_such_at_the_end():
    away = Away([], live=True)
    source = Reconnecting(away, backoff=Backoff(first_s=0.001, cap_s=0.001))
    silent = Reconnecting(Silent([], live=True))
    streams = [Stream(name="cam", source=source), Stream(name="silent", source=silent)]
    async with Pipeline(streams, FakeEstimator()) as pipeline:
        running = asyncio.create_task(pipeline.run())
        while away.tries < 3:
            await asyncio.sleep(0.001)
        pipeline.stop()
        await running
    told = summary(pipeline.snapshot(), pipeline.reports, live=True).plain
    assert told.splitlines() == [
        f"cam: stopped, was never there (refused), tries: {away.tries}",
        "silent: stopped, was never there, tries: 1",
    ]


async def test_credits_bound_what_is_in_flight():
    sink = MemorySink(delay_s=0.01)
    estimator = FakeEstimator()
    async with Pipeline([stream("a", range(60), sink, credits=3)], estimator, policy=FixedBatch(8)) as pipeline:
        running = asyncio.create_task(pipeline.run())
        while not running.done():
            figures = pipeline.snapshot().streams["a"]
            # 3 by credit, 3 × 9 waiting at most; none between engine and sink beyond the credits.
            assert sum(map(len, estimator.batches)) - figures.delivered <= 3
            await asyncio.sleep(0.003)
        await running
    assert max(map(len, estimator.batches)) <= 3


@pytest.mark.parametrize(
    ("live", "keep_running", "policy"),
    [(False, False, FixedBatch), (True, False, LatencyBatch), (False, True, LatencyBatch)],
)
def test_recordings_alone_go_in_whole_batches_by_default(live: bool, keep_running: bool, policy: type):
    pipeline = Pipeline([stream("a", [], live=live)], FakeEstimator(), keep_running=keep_running)
    assert type(pipeline._policy) is policy


async def test_senseless_pipelines_are_refused():
    with pytest.raises(ConfigError, match="at least one"):
        Pipeline([], FakeEstimator())
    with pytest.raises(ConfigError, match="two streams are named 'a'"):
        Pipeline([stream("a", []), stream("a", [])], FakeEstimator())
    with pytest.raises(RuntimeError, match="as a context"):
        await Pipeline([stream("a", [])], FakeEstimator()).run()
    for weight in (0, -1, 1e4, math.inf, math.nan):
        with pytest.raises(ConfigError, match=r"it is from 0\.001 to 1000"):
            Pipeline([replace(stream("a", []), weight=weight)], FakeEstimator())


async def test_recordings_go_on_as_fast_as_their_weights_say():
    heavy, light = MemorySink(), MemorySink()
    streams = [replace(stream("heavy", range(100), heavy), weight=4.0), stream("light", range(100, 200), light)]

    class Slowest(FakeEstimator):
        """However busy the machine: sources have read on, and what came before is delivered, when it gives a batch."""

        def __call__(self, images: Sequence[Image]) -> list[Poses]:
            before, deadline = sum(map(len, self.batches)), time.monotonic() + 10
            while (
                any(len(queue) < queue.capacity and not queue.closed for queue in queues)
                or len(heavy.results) + len(light.results) < before
            ):
                assert time.monotonic() < deadline
                time.sleep(0.001)
            return super().__call__(images)

    estimator = Slowest()
    async with Pipeline(streams, estimator, policy=FixedBatch(4)) as pipeline:
        queues = [flow.lane.ingress for flow in pipeline._flows.values()]
        await pipeline.run()
    order = [number for batch in estimator.batches for number in batch]
    beside = sum(number >= 100 for number in order[: order.index(80)])
    assert 16 <= beside <= 28  # 20, but for the first two batches, when one may be there alone
    assert (heavy.indices, light.indices) == (list(range(100)), list(range(100, 200)))


async def test_what_is_told_of_time_begins_with_the_run():
    clock = VirtualClock()
    async with Pipeline([stream("a", range(3))], FakeEstimator(), clock=clock) as pipeline:
        clock.advance(7)
        await pipeline.run()
        clock.advance(2)
    assert pipeline.snapshot().elapsed_s == 2


async def test_an_empty_source_ends_well():
    sink = MemorySink()
    async with Pipeline([stream("a", [], sink)], FakeEstimator()) as pipeline:
        reports = await pipeline.run()
    assert reports["a"].outcome is Outcome.ENDED
    assert (sink.results, sink.closed) == ([], 1)
