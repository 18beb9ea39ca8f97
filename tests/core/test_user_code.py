"""Sources, sinks, trackers and models of users, which may give or do anything: it stays their own stream's problem."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from fakes import TIME_BASE, FakeEstimator, MemorySink, ScriptedSource, frame, picture, poses_of

import streampose
from streampose.batching import AimdBatch, FixedBatch, LatencyBatch, TimeoutBatch, Wait
from streampose.engine_thread import is_lent
from streampose.errors import (
    ConfigError,
    EngineFailed,
    ModelOutputError,
    PolicyError,
    SinkFailed,
    SourceError,
    StreamposeError,
)
from streampose.frame import Frame, Image, StreamInfo
from streampose.pipeline import Pipeline
from streampose.pose import Poses
from streampose.result import Result
from streampose.sinks import CallSink, JsonlSink, Sink, StopRequested, VideoSink
from streampose.streams import Outcome, Stream, StreamReport
from streampose.tracking import OneEuro, OneEuroOptions, Tracker, TrackerOptions


class Giving(ScriptedSource):
    """Gives this in the place of its third frame."""

    def __init__(self, given: object, *, live: bool = False) -> None:
        super().__init__(range(6), live=live)
        self._given, self._reads = given, 0

    def read(self) -> Frame | None:
        self._reads += 1
        return self._given if self._reads == 3 else super().read()  # type: ignore[return-value]


async def beside_a_good_one(bad: Stream, estimator: FakeEstimator | None = None) -> tuple[StreamReport, int]:
    """How it ended, and how many frames the other one got."""
    good = Stream(name="good", source=ScriptedSource(range(20)), sinks=[MemorySink()])
    async with asyncio.timeout(20), Pipeline([good, bad], estimator or FakeEstimator()) as pipeline:
        reports = await pipeline.run()
    assert reports["good"].outcome is Outcome.ENDED
    return reports["bad"], len(good.sinks[0].results)  # type: ignore[attr-defined]


def having(image: object) -> Frame:
    return frame(2, captured_at=time.monotonic()).but(image=image)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (np.zeros((48, 64, 3), np.uint8), "gave ndarray, not a Frame"),
        (frame(2, captured_at=math.nan), "captured at nan"),
        (frame(2).but(captured_at=None), "captured at None"),
        (frame(2, captured_at=1.0).but(index=None), "index, epoch and pts"),
        (frame(2, captured_at=1.0).but(time_base=0.04), "no Fraction"),
        (frame(2, captured_at=1.0).but(time_base=Fraction(0)), "no Fraction above 0"),
        (frame(2, captured_at=1.0).but(pts=2**63), "no int (of 64 bits)"),
        (frame(2, captured_at=1.0).but(wall_time_s=math.nan), "wall_time_s is nan"),
        (frame(2, captured_at=1.0).but(wall_time_s=np.float32(1)), "wall_time_s is np.float32(1.0)"),
        (having(None), "uint8, BGR, not NoneType"),
        (having([[0]]), "uint8, BGR, not list"),
        (having(np.zeros((48, 64), np.uint8)), "(48, 64) of uint8"),
        (having(np.zeros((48, 64, 4), np.uint8)), "(48, 64, 4) of uint8"),
        (having(np.zeros((48, 64, 3), np.float32)), "(48, 64, 3) of float32"),
        (having(np.zeros((0, 0, 3), np.uint8)), "(0, 0, 3) of uint8"),
    ],
)
async def test_what_is_no_frame_ends_its_stream_alone(given: object, words: str):
    sink = MemorySink()
    report, others = await beside_a_good_one(Stream(name="bad", source=Giving(given), sinks=[sink]))
    assert others == 20
    assert isinstance(report.error, SourceError)
    assert words in str(report.error)
    assert [result.frame.index for result in sink.results] == [0, 1]


async def test_a_frame_of_another_stream_ends_its_own_alone():
    sink = MemorySink()
    given = frame(2, stream="cam", captured_at=time.monotonic())
    report, others = await beside_a_good_one(Stream(name="bad", source=Giving(given), sinks=[sink]))
    assert others == 20
    assert isinstance(report.error, SourceError)
    assert str(report.error) == "the source gave a frame of 'cam', and it was opened as 'bad'"
    assert sink.indices == [0, 1]


@pytest.mark.parametrize("is_live", [False, True])
@pytest.mark.parametrize("index", [1, 0])
async def test_a_source_whose_numbers_go_back_ends_its_stream_alone(is_live: bool, index: int):
    """They wait for one batch, in which the policy could not have kept their order."""
    go_on = threading.Event()

    class Waiting(FakeEstimator):
        def __call__(self, images: Sequence[Image]) -> list[Poses]:
            assert go_on.wait(10)
            return super().__call__(images)

    sink, good = MemorySink(), MemorySink()
    source = ScriptedSource([0, 1, index, 2], live=is_live)
    streams = [
        Stream(name="bad", source=source, sinks=[sink]),
        Stream(name="good", source=ScriptedSource([0, go_on.set, 1], live=is_live), sinks=[good]),
    ]
    policy = LatencyBatch(5.0) if is_live else None
    async with asyncio.timeout(10), Pipeline(streams, Waiting(), policy=policy) as pipeline:
        reports = await pipeline.run()
    assert isinstance(reports["bad"].error, SourceError)
    assert f"gave frame {index} after 1" in str(reports["bad"].error)
    assert sink.indices == [0, 1]  # what came before is delivered
    assert reports["good"].outcome is Outcome.ENDED
    assert good.indices == [0, 1]


@pytest.mark.parametrize("error", [ZeroDivisionError("no span"), asyncio.CancelledError("no span")], ids=repr)
@pytest.mark.parametrize("where", ["captured", "delivered", "written"])
async def test_a_trace_that_fails_ends_the_stream_that_it_was_told_of(where: str, error: BaseException):
    class Failing:
        def captured(self, frame: Frame, read_at: float) -> None:
            self._is("captured", frame)

        def delivered(self, result: Result) -> None:
            self._is("delivered", result.frame)

        def written(self, result: Result, sink: str, began_at: float, ended_at: float) -> None:
            self._is("written", result.frame)

        def _is(self, what: str, told: Frame) -> None:
            if (what, told.stream, told.index) == (where, "bad", 2):
                raise error

    sinks, sources = [MemorySink(), MemorySink()], [ScriptedSource(range(9)), ScriptedSource(range(9))]
    streams = [
        Stream(name=name, source=source, sinks=[sink])
        for name, source, sink in zip(("bad", "good"), sources, sinks, strict=True)
    ]
    async with asyncio.timeout(10), Pipeline(streams, FakeEstimator(), trace=Failing()) as pipeline:
        reports = await pipeline.run()
        figures = pipeline.snapshot().streams["bad"]
    assert (reports["good"].outcome, sinks[1].indices) == (Outcome.ENDED, list(range(9)))
    assert isinstance(reports["bad"].error, StreamposeError)
    assert str(reports["bad"].error) == f"{type(error).__name__}: no span"
    assert reports["bad"].error.__cause__ is error
    assert (sinks[0].closed, sources[0].closed) == (1, 1)
    assert (figures.in_flight, figures.queued) == (0, 0)


async def test_what_a_sink_calls_unsent_may_be_no_count():
    sink = MemorySink()
    sink.unsent = ["a letter"]  # type: ignore[attr-defined]
    report, others = await beside_a_good_one(Stream(name="bad", source=ScriptedSource(range(5)), sinks=[sink]))
    assert (report.outcome, others, len(sink.results)) == (Outcome.ENDED, 20, 5)


async def test_a_live_frame_by_the_wall_clock_is_told():
    bad = Stream(name="bad", source=Giving(frame(2, stream="bad", captured_at=time.time()), live=True))
    report, _ = await beside_a_good_one(bad)
    assert isinstance(report.error, SourceError)
    assert "time.monotonic()" in str(report.error)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (None, "gave NoneType, not a StreamInfo"),
        (StreamInfo(width_px=64, height_px=48, time_base=0.04), "a time_base of 0.04 and a rate of None"),  # type: ignore[arg-type]
        (StreamInfo(width_px=64, height_px=48, time_base=TIME_BASE, rate=25.0), "and a rate of 25.0: each is a Frac"),  # type: ignore[arg-type]
    ],
    ids=["nothing", "time base", "rate"],
)
async def test_a_source_that_says_nonsense_of_itself_is_blamed_for_it_itself(said: object, words: str, tmp_path: Path):
    class Saying(ScriptedSource):
        def open(self, stream: str) -> StreamInfo:
            super().open(stream)
            return said  # type: ignore[return-value]

    film = VideoSink(tmp_path / "a.mp4")  # which works with it
    report, others = await beside_a_good_one(Stream(name="bad", source=Saying(range(3)), sinks=[film]))
    assert others == 20
    assert isinstance(report.error, SourceError)
    assert words in str(report.error)


def nowhere(poses: Poses) -> Poses:
    return replace(poses, points=poses.points * np.nan)


@pytest.mark.parametrize("part", ["tracker", "smoother"])
@pytest.mark.parametrize(
    ("given", "words"),
    [(lambda _: None, "gave NoneType, not Poses"), (nowhere, "gave a point, box or score that is NaN or infinite")],
    ids=["nothing", "no numbers"],
)
async def test_a_tracker_or_smoother_that_gives_no_people_is_blamed_for_it_itself(
    part: str, given: Callable[[Poses], Poses], words: str, tmp_path: Path
):
    class Own:
        def update(self, poses: Poses, time_s: float) -> Poses:
            return given(poses)

        def reset(self) -> None:
            pass

    parts = {"tracker": Tracker(), part: Own()}
    file = JsonlSink(tmp_path / "a.jsonl")
    report, others = await beside_a_good_one(
        Stream(name="bad", source=ScriptedSource(range(5)), sinks=[file], **parts)  # type: ignore[arg-type]
    )
    assert others == 20
    assert re.match(f"the {part} {words}", str(report.error))


@pytest.mark.parametrize(
    ("given", "words"),
    [(None, "NoneType"), (np.zeros((48, 64, 3)), r"\(48, 64, 3\) of float64")],
    ids=["none", "floats"],
)
async def test_a_renderer_that_gives_no_picture_is_blamed_for_it_itself(given: object, words: str):
    sink = MemorySink(wants_picture=True)
    bad = Stream(name="bad", source=ScriptedSource(range(3)), sinks=[sink], renderer=lambda *_: given)  # type: ignore[arg-type, return-value]
    report, others = await beside_a_good_one(bad)
    assert (others, sink.results) == (20, [])
    assert re.match(rf"the renderer gave none: a picture is an array .*, not {words}$", str(report.error))


async def test_of_others_words_there_is_one_line_without_a_password():
    def failing() -> None:
        raise ValueError("no\n answer\nof rtsp://me:secret@host/a")

    report, _ = await beside_a_good_one(Stream(name="bad", source=ScriptedSource([0, failing])))
    assert str(report.error) == "ValueError: no answer of rtsp://***@host/a"


@pytest.mark.parametrize("part", ["tracker", "smoother"])
async def test_a_tracker_or_smoother_of_ones_own_keeps_the_event_loop_free(part: str):
    threads: set[threading.Thread] = set()
    kind: type[Tracker | OneEuro] = {"tracker": Tracker, "smoother": OneEuro}[part]

    class Own(kind):  # type: ignore[misc, valid-type]
        def update(self, poses: Poses, time_s: float) -> Poses:
            threads.add(threading.current_thread())
            return super().update(poses, time_s)

    parts = {"tracker": Tracker(), part: Own()}
    report, _ = await beside_a_good_one(Stream(name="bad", source=ScriptedSource(range(5)), **parts))
    assert report.outcome is Outcome.ENDED
    assert {thread.name for thread in threads} == {"streampose-finish-bad"}


async def test_a_tracker_that_is_cancelled_by_itself_ends_its_stream_alone():
    class Cancelled(Tracker):
        def update(self, poses: Poses, time_s: float) -> Poses:
            raise asyncio.CancelledError

    bad = Stream(name="bad", source=ScriptedSource(range(5)), tracker=Cancelled())
    report, others = await beside_a_good_one(bad)
    assert (report.outcome, others) == (Outcome.FAILED, 20)


def cancelled(*_: object) -> None:
    """As it leaves a small event loop of somebody's own."""
    raise asyncio.CancelledError


async def test_a_cancellation_that_leaves_a_source_is_a_failure():
    source = ScriptedSource([0, 1, cancelled])
    report, others = await beside_a_good_one(Stream(name="bad", source=source))
    assert (report.outcome, others) == (Outcome.FAILED, 20)
    assert isinstance(report.error, SourceError)
    assert "CancelledError" in str(report.error)


@pytest.mark.parametrize("live", [False, True])
async def test_a_cancellation_that_leaves_a_sink_is_a_failure(live: bool):
    sink = MemorySink()
    sink.write = cancelled  # type: ignore[method-assign]
    source = ScriptedSource(range(5), live=live, period_s=0.01)
    report, others = await beside_a_good_one(Stream(name="bad", source=source, sinks=[sink]))
    assert (report.outcome, others) == (Outcome.FAILED, 20)


@pytest.mark.parametrize("how", [SystemExit, KeyboardInterrupt])
async def test_who_leaves_the_program_in_a_source_or_sink_ends_that_stream_alone(how: type[BaseException]):
    def leaving(*_: object) -> None:
        raise how("no licence")

    sink = MemorySink()
    sink.write = leaving  # type: ignore[method-assign]
    for bad in (
        Stream(name="bad", source=ScriptedSource([0, 1, leaving])),
        Stream(name="bad", source=ScriptedSource(range(5)), sinks=[sink]),
    ):
        report, others = await beside_a_good_one(bad)
        assert (report.outcome, others) == (Outcome.FAILED, 20)
        assert f"{how.__name__}: no licence" in str(report.error)


def test_who_leaves_the_program_in_a_model_ends_an_ordinary_loop_with_an_error():
    class Leaving(FakeEstimator):
        def __call__(self, images: Sequence[Image]) -> list[Poses]:
            raise KeyboardInterrupt

    with pytest.raises(EngineFailed, match="KeyboardInterrupt"):
        list(streampose.results(ScriptedSource(range(5)), estimators=Leaving()))


@pytest.mark.parametrize(
    ("given", "words"), [(lambda _: None, "NoneType"), (iter, "list_iterator")], ids=["nothing", "an iterator"]
)
async def test_a_model_that_gives_no_list_is_told_what_one_gives(
    given: Callable[[list[Poses]], list[Poses]], words: str
):
    class Careless(FakeEstimator):
        def __call__(self, images: Sequence[Image]) -> list[Poses]:
            return given(super().__call__(images))

    with pytest.raises(EngineFailed, match=f"the model gave {words}, not a list of Poses, one for each picture"):
        await beside_a_good_one(Stream(name="bad", source=ScriptedSource([0])), Careless())


async def test_a_model_that_gives_no_poses_is_told_as_such():
    class Careless(FakeEstimator):
        def __call__(self, images: Sequence[Image]) -> list[Poses]:
            return [[] for _ in images]  # type: ignore[misc]

    async with asyncio.timeout(10), Pipeline([Stream(name="s", source=ScriptedSource(range(5)))], Careless()) as pipe:
        with pytest.raises(EngineFailed, match="something else than Poses"):
            await pipe.run()


@pytest.mark.parametrize("what", ["points", "scores", "boxes", "box_scores"])
@pytest.mark.parametrize("number", [math.nan, math.inf])
async def test_a_model_that_gives_no_numbers_is_blamed_for_it_itself(what: str, number: float):
    class Divided(FakeEstimator):
        def __call__(self, images: Sequence[Image]) -> list[Poses]:
            every = super().__call__(images)
            getattr(every[-1], what).flat[-1] = number
            return every

    stream = Stream(name="s", source=ScriptedSource(range(5)), tracker=Tracker())
    async with asyncio.timeout(10), Pipeline([stream], Divided()) as pipe:
        with pytest.raises(ModelOutputError, match="NaN or infinite"):
            await pipe.run()


async def test_a_cancellation_that_leaves_a_model_ends_the_run_typed():
    class Cancelled(FakeEstimator):
        def __call__(self, images: Sequence[Image]) -> list[Poses]:
            raise asyncio.CancelledError

    async with asyncio.timeout(10), Pipeline([Stream(name="s", source=ScriptedSource(range(5)))], Cancelled()) as pipe:
        with pytest.raises(EngineFailed, match="CancelledError"):
            await pipe.run()


def unlike(**changes: object) -> FixedBatch:
    policy = FixedBatch()
    for name, value in changes.items():
        setattr(policy, name, value)
    return policy


def test_a_policy_that_is_not_quite_one_is_said_before_anything_runs():
    class Deciding:
        max_frames = 4

        def decide(self, *_: object) -> Wait:
            return Wait()

        def observe(self, *_: object) -> None: ...

    for policy, words in (
        (Deciding(), "has no budget_s"),
        (unlike(budget_s="0.1"), "a latency budget is positive"),
        (unlike(budget_s=math.nan), "a latency budget is positive"),
        (unlike(max_frames=0), "a batch has at least 1 frame"),
        (unlike(max_frames=2.5), "a batch has at least 1 frame"),
        (unlike(depth=0), "depth is a whole number"),
        (unlike(depth=None), "depth is a whole number"),
    ):
        with pytest.raises(ConfigError, match=words):
            Pipeline([Stream(name="s", source=ScriptedSource([0]))], FakeEstimator(), policy=policy)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (unlike(decide=lambda *_: Wait(until=math.nan)), "waits until nan"),
        (unlike(decide=lambda *_: Wait(until="soon")), "waits until 'soon'"),
        (unlike(decide=lambda *_: None), "failed: AttributeError"),
        (unlike(expected_s=lambda _: "long"), "expects a batch to take 'long' s"),
        (unlike(expected_s=lambda _: math.nan), "expects a batch to take nan s"),
    ],
    ids=["nan", "a text", "nothing", "expects a text", "expects nan"],
)
async def test_what_a_policy_says_that_makes_no_sense_ends_the_run(policy: FixedBatch, words: str):
    stream = Stream(name="s", source=ScriptedSource(range(5)))
    async with asyncio.timeout(10), Pipeline([stream], FakeEstimator(), policy=policy) as pipeline:
        with pytest.raises(PolicyError, match=words):
            await pipeline.run()


async def test_a_policy_that_waits_for_what_is_past_keeps_no_core_busy():
    asked: list[float] = []
    stream = Stream(name="s", source=ScriptedSource([0]))

    def decide(now: float, *_: object) -> Wait:
        asked.append(now)
        return Wait(until=now - 1)

    async with asyncio.timeout(10), Pipeline([stream], FakeEstimator(), policy=unlike(decide=decide)) as pipeline:
        running = asyncio.create_task(pipeline.run())
        while len(asked) < 12:
            await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.wait([running])
    assert median(np.diff(asked)) > 0.01, "but for what changes"


async def test_a_policy_that_cannot_be_told_of_the_engines_leaves_nothing_behind():
    class Fixed(FixedBatch):
        engines = property(lambda _: 1, lambda *_: (_ for _ in ()).throw(AttributeError("engines is fixed")))

        def __init__(self) -> None:
            self.max_frames, self.budget_s = 4, math.inf

    estimator = FakeEstimator()
    with pytest.raises(PolicyError, match="engines is fixed"):
        async with Pipeline([Stream(name="s", source=ScriptedSource([0]))], estimator, policy=Fixed()):
            pass
    assert estimator.closed
    assert not is_lent(estimator)


@pytest.mark.parametrize("method", ["decide", "observe", "expected_s"])
async def test_a_cancellation_that_leaves_a_policy_ends_the_run_typed(method: str):
    policy = FixedBatch()
    setattr(policy, method, cancelled)
    stream = Stream(name="s", source=ScriptedSource(range(5)))
    async with asyncio.timeout(10), Pipeline([stream], FakeEstimator(), policy=policy) as pipeline:
        with pytest.raises(PolicyError, match="CancelledError"):
            await pipeline.run()


async def test_a_model_that_fails_at_its_end_is_told_typed():
    class Clinging(FakeEstimator):
        def close(self) -> None:
            raise ZeroDivisionError("too late")

    with pytest.raises(EngineFailed, match="closing: ZeroDivisionError: too late"):
        async with Pipeline([Stream(name="s", source=ScriptedSource(range(5)))], Clinging()) as pipeline:
            await pipeline.run()


class Spoiling:
    """A sink that writes into whatever it can."""

    wants_picture = False

    def __init__(self) -> None:
        self.refused = 0

    def open(self, stream: str, info: streampose.StreamInfo) -> None:
        pass

    def write(self, result: Result) -> None:
        poses = result.poses
        for array in (poses.points, poses.scores, poses.boxes, poses.box_scores, poses.ids, result.frame.image):
            try:
                array[:] = 0
            except ValueError:
                self.refused += 1

    def close(self) -> None:
        pass


@pytest.mark.parametrize("smoother", [None, OneEuro()])
async def test_a_sink_cannot_spoil_what_others_see(smoother: OneEuro | None):
    class Writeable(ScriptedSource):
        def read(self) -> Frame | None:
            given = super().read()
            return given and given.but(image=given.image.copy())

    spoiling, other = Spoiling(), MemorySink()
    sinks: list[Sink] = [spoiling, other]
    stream = Stream(name="s", source=Writeable(range(1, 9)), sinks=sinks, tracker=Tracker(), smoother=smoother)
    async with Pipeline([stream], FakeEstimator()) as pipeline:
        await pipeline.run()
    assert spoiling.refused == 8 * 6
    assert [int(result.frame.image[0, 0, 0]) for result in other.results] == [*range(1, 9)]
    assert all(result.poses.points.any() for result in other.results)


async def test_an_estimator_may_write_to_its_arrays_again():
    class Reusing(FakeEstimator):
        poses = poses_of(0)

        def __call__(self, images: Sequence[Image]) -> list[Poses]:
            self.poses.points[:] = float(images[0][0, 0, 0])
            return [self.poses for _ in images]

    sink = MemorySink()
    async with Pipeline([Stream(name="s", source=ScriptedSource(range(9)), sinks=[sink])], Reusing()) as pipeline:
        await pipeline.run()
    assert len(sink.results) == 9


async def test_a_picture_that_is_not_contiguous_becomes_so():
    flipped = np.arange(48 * 64 * 3, dtype=np.uint8).reshape(48, 64, 3)[:, ::-1]
    sink = MemorySink()
    stream = Stream(name="s", source=Giving(having(flipped)), sinks=[sink])
    async with Pipeline([stream], FakeEstimator()) as pipeline:
        await pipeline.run()
    image = sink.results[2].frame.image
    assert image.flags.c_contiguous
    assert np.array_equal(image, flipped)


async def test_who_cuts_off_does_not_wait_for_a_stuck_sink():
    gate = threading.Event()

    def stuck(_: Result) -> None:
        taken.set()
        gate.wait()

    sink, taken = MemorySink(), threading.Event()
    sink.write = stuck  # type: ignore[method-assign]
    stream = Stream(name="s", source=ScriptedSource(range(5)), sinks=[sink])
    try:
        async with Pipeline([stream], FakeEstimator(), keep_running=True) as pipeline:
            running = asyncio.create_task(pipeline.run())
            assert await asyncio.to_thread(taken.wait, 10)
            began = time.monotonic()
            report = await pipeline.remove("s", drain_s=0.1)
            took_s = time.monotonic() - began
            pipeline.stop()
            await running
        assert report.outcome is Outcome.CANCELLED
        assert took_s < 10  # 30 s would be waited for who is in no hurry
    finally:
        gate.set()


def test_what_makes_no_sense_is_refused():
    source, tracker = ScriptedSource(range(2)), Tracker()
    other = ScriptedSource(range(2))
    for streams in (
        [Stream(name="a", source=source, budget_s=0.0)],
        [Stream(name="a", source=source, budget_s=math.nan)],
        [Stream(name="a", source=source, budget_s="1")],  # type: ignore[arg-type]
        [Stream(name="a", source=source, weight="1")],  # type: ignore[arg-type]
        [Stream(name="a", source=source, credits=0)],
        [Stream(name="a", source=source, credits=1.5)],  # type: ignore[arg-type]
        [Stream(name="a", source=source, credits=True)],
        [Stream(name="a", source=source), Stream(name="b", source=source)],
        [Stream(name="a", source=source, tracker=tracker), Stream(name="b", source=other, tracker=tracker)],
    ):
        with pytest.raises(ConfigError):
            Pipeline(streams, FakeEstimator())
    one, twice = [Stream(name="a", source=source)], FakeEstimator()
    for estimators in ([], [twice, twice]):
        with pytest.raises(ConfigError, match="estimator"):
            Pipeline(one, estimators)
    with pytest.raises(ConfigError, match="positive"):
        Pipeline(one, twice).set_budget("a", -1)
    with pytest.raises(ConfigError, match="a batch policy decides and observes"):
        Pipeline(one, twice, policy="latency")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="a batch policy decides and observes"):
        Pipeline(one, twice, policy=LatencyBatch)  # type: ignore[arg-type]
    for makes in (
        LatencyBatch,
        AimdBatch,
        partial(TimeoutBatch, 8),
        lambda x: TrackerOptions(keep_lost_s=x),
        lambda x: OneEuroOptions(beta=x),
    ):
        for nonsense in ("1", None, math.nan, -1):
            with pytest.raises(ConfigError):
                makes(nonsense)


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({"sinks": MemorySink()}, r"sinks that are no list: sinks=\[MemorySink"),
        ({"sinks": [print]}, r"a sink that is none, builtin_function_or_method without .*: CallSink\(…\)"),
        ({"sinks": "poses.jsonl"}, r"a sink that is none, str without .*: JsonlSink\(…\)"),
        ({"source": "clip.mp4"}, r"a source that is none, str .* open_source"),
        ({"source": picture()}, r"a source that is none, ndarray .*: load_estimator.* PushSource takes many"),
        ({"tracker": True}, "a tracker that is none, bool without update, reset"),
        ({"tracker": Tracker(), "smoother": 1}, "a smoother that is none"),
        ({"tracker": Tracker}, r"a tracker that is none, but a class: Tracker\(…\)"),
        ({"renderer": True}, "a renderer that is none, True"),
    ],
)
async def test_parts_that_are_none_are_said_before_anything_runs(part: dict[str, object], words: str):
    """Some of them ended every stream of a pipeline."""
    options: dict[str, object] = {"name": "bad", "source": ScriptedSource([0]), **part}
    with pytest.raises(ConfigError, match=words):
        Pipeline([Stream(**options)], FakeEstimator())  # type: ignore[arg-type]
    async with Pipeline([], FakeEstimator(), keep_running=True) as pipeline:
        with pytest.raises(ConfigError, match=words):
            await pipeline.add(Stream(**options))  # type: ignore[arg-type]


def test_streams_that_are_no_list_and_estimators_that_are_none_are_said():
    one = Stream(name="s", source=ScriptedSource([0]))
    assert set(Pipeline({"s": one}.values(), FakeEstimator()).reports) == {"s"}
    for streams in (one, iter([one]), {"s": one}, ["clip.mp4"]):
        with pytest.raises(ConfigError, match="streams are a list of Stream"):
            Pipeline(streams, FakeEstimator())  # type: ignore[arg-type]
    for estimators in (None, "rtmo", FakeEstimator):
        with pytest.raises(ConfigError, match="estimators are what load_estimators gives"):
            Pipeline([one], estimators)  # type: ignore[arg-type]


async def test_two_streams_have_no_sink_and_no_file_in_common(tmp_path: Path):
    """Both would have ended well, with half of the lines broken, or one of two videos."""

    def streams(*sinks: Sink) -> list[Stream]:
        return [Stream(name=f"s{i}", source=ScriptedSource([0]), sinks=[sink]) for i, sink in enumerate(sinks)]

    file, link = tmp_path / "one.jsonl", tmp_path / "link.jsonl"
    file.touch()
    link.symlink_to(file)
    shared = MemorySink()
    for wrong, words in (
        (streams(shared, shared), "have one MemorySink"),
        (streams(streampose.JsonlSink(file), streampose.JsonlSink(link)), "write one file"),
        (
            streams(streampose.VideoSink(tmp_path / "a.mp4"), streampose.VideoSink(f"{tmp_path}/./a.mp4")),
            "write one file",
        ),
        (streams(streampose.CocoSink(file), streampose.SnapshotSink(file)), "write one file"),
        ([Stream(name="s", source=ScriptedSource([0]), sinks=[shared, shared])], "one sink twice"),
        (
            [Stream(name="s", source=ScriptedSource([0]), sinks=[streampose.JsonlSink(p) for p in (file, link)])],
            "two sinks of stream 's' write one file",
        ),
        ([Stream(name="s", source=ScriptedSource([0]))] * 2, "are named 's'"),
    ):
        with pytest.raises(ConfigError, match=words):
            Pipeline(wrong, FakeEstimator())
    for no_name in ("x" * 300, "a\0b"):  # is its own stream's trouble
        Pipeline(streams(streampose.JsonlSink(no_name), streampose.JsonlSink(no_name)), FakeEstimator())
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    Pipeline(streams(streampose.JsonlSink("-"), streampose.JsonlSink("-")), FakeEstimator())
    Pipeline(streams(streampose.JsonlSink(pipe), streampose.JsonlSink(pipe)), FakeEstimator())
    async with Pipeline(streams(streampose.JsonlSink(file)), FakeEstimator(), keep_running=True) as pipeline:
        with pytest.raises(ConfigError, match="write one file"):
            await pipeline.add(Stream(name="b", source=ScriptedSource([0]), sinks=[streampose.JsonlSink(file)]))
        await pipeline.replace(Stream(name="s0", source=ScriptedSource([0]), sinks=[streampose.JsonlSink(file)]))


async def test_a_picture_that_several_sinks_want_is_read_only_and_one_s_own_is_not():
    class Drawing(MemorySink):
        def __init__(self) -> None:
            super().__init__()
            self.wants_picture, self.refused = True, 0

        def write(self, result: Result) -> None:
            assert result.picture is not None
            try:
                result.picture[:] = 0
            except ValueError:
                self.refused += 1

    for sinks, refused in ([Drawing()], 0), ([Drawing(), Drawing()], 4):
        stream = Stream(name="s", source=ScriptedSource(range(4)), sinks=sinks)
        async with Pipeline([stream], FakeEstimator()) as pipeline:
            assert (await pipeline.run())["s"].error is None
        assert [sink.refused for sink in sinks] == [refused] * len(sinks)


async def test_estimators_may_stay_open():
    estimator = FakeEstimator()
    for keep in (True, True, False):
        stream = Stream(name="s", source=ScriptedSource(range(4)), sinks=[sink := MemorySink()])
        async with Pipeline([stream], estimator, close_estimators=not keep) as pipeline:
            await pipeline.run()
        assert len(sink.results) == 4
        assert estimator.closed == (not keep)


async def test_a_source_that_is_in_use_is_refused_and_one_whose_stream_has_ended_is_not():
    source = ScriptedSource([0, 1], live=True)
    async with Pipeline([Stream(name="a", source=source)], FakeEstimator(), keep_running=True) as pipeline:
        with pytest.raises(ConfigError, match="have one ScriptedSource"):
            await pipeline.add(Stream(name="b", source=source))
        await pipeline.add(Stream(name="c", source=ScriptedSource([0], live=True)))
        with pytest.raises(ConfigError, match="have one ScriptedSource"):
            await pipeline.replace(Stream(name="c", source=source))
        assert set(pipeline.reports) == {"a", "c"}  # the old one is still there
        running = asyncio.create_task(pipeline.run())
        await asyncio.sleep(0)  # now it runs
        await pipeline.ended("a")
        await pipeline.add(Stream(name="b", source=source))
        pipeline.stop()
        await running


def test_results_are_equal_to_themselves_only():
    one, other = poses_of(1), poses_of(1)
    assert one != other
    assert [other, one].index(one) == 1
    assert len({one, other}) == 2


async def test_a_stream_that_is_left_early_can_be_closed():
    before = threading.active_count()
    async with contextlib.aclosing(streampose.stream("synthetic:?fps=30")) as results:
        async for result in results:
            assert len(result.poses) >= 0
            break
    assert threading.active_count() <= before + 1  # the executor's, in which the models were loaded


@pytest.mark.parametrize("wants_picture", [False, True])
async def test_a_function_is_called_with_each_result_on_a_thread_of_its_own(wants_picture: bool):
    seen: list[Result] = []
    threads: set[int] = set()

    def look(result: Result) -> None:
        seen.append(result)
        threads.add(threading.get_ident())

    sink = CallSink(look, wants_picture=wants_picture)
    async with Pipeline([Stream(name="s", source=ScriptedSource(range(9)), sinks=[sink])], FakeEstimator()) as pipeline:
        await pipeline.run()
    assert [result.frame.index for result in seen] == list(range(9))
    assert all((result.picture is not None) == wants_picture for result in seen)
    assert len(threads - {threading.get_ident()}) == 1


async def test_a_function_may_stop_the_run_and_its_errors_are_its_streams_alone():
    def enough(result: Result) -> None:
        if result.frame.index == 3:
            raise StopRequested

    endless = Stream(name="s", source=ScriptedSource(range(10**6)), sinks=[CallSink(enough)])
    async with asyncio.timeout(20), Pipeline([endless], FakeEstimator()) as pipeline:
        assert (await pipeline.run())["s"].outcome is Outcome.STOPPED
    bad = Stream(name="bad", source=ScriptedSource(range(5)), sinks=[CallSink(lambda result: result.nothing)])
    report, others = await beside_a_good_one(bad)
    assert isinstance(report.error, SinkFailed)
    assert "has no attribute 'nothing'" in str(report.error)
    assert others == 20


def test_what_cannot_be_called_by_a_thread_is_refused():
    async def waits(_: Result) -> None: ...

    class Waits:
        async def __call__(self, _: Result) -> None: ...

    for function in (waits, Waits()):
        with pytest.raises(ConfigError, match="call_soon_threadsafe"):
            CallSink(function)
    with pytest.raises(ConfigError, match="a function"):
        CallSink([])
