"""Models that are exchanged while streams run, and streams that run before there is a model."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import pytest
from dots import build
from fakes import FakeEstimator, MemorySink, ScriptedSource, poses_of

from streampose.batching import FixedBatch, Gated, LatencyBatch
from streampose.errors import EngineFailed, ModelNotFound
from streampose.frame import Image
from streampose.inference import zoo
from streampose.inference.engine import EngineOptions
from streampose.inference.loading import ModelChoice
from streampose.inference.switch import Switch
from streampose.pipeline import Pipeline
from streampose.pose import Poses
from streampose.preview import Models, choices_of
from streampose.skeletons import COCO_17, HALPE_26
from streampose.streams import Stream
from streampose.tracking import OneEuro, Tracker


class Halpe(FakeEstimator):
    """The same people in another skeleton."""

    skeleton = HALPE_26

    def __init__(self, **cost: float) -> None:
        super().__init__(**cost)
        self.skeleton = HALPE_26

    def __call__(self, images: Sequence[Image]) -> list[Poses]:
        return [poses.to(HALPE_26) for poses in super().__call__(images)]


class Refusing(FakeEstimator):
    """Had no memory for so many batches, and lets a test step in."""

    def __init__(self, refusals: int) -> None:
        super().__init__()
        self.memory_refusals = refusals
        self.on_run = self.on_close = lambda: None

    def __call__(self, images: Sequence[Image]) -> list[Poses]:
        self.on_run()
        assert not self.closed
        return super().__call__(images)

    def close(self) -> None:
        self.on_close()
        super().close()


async def test_an_exchange_loses_nothing_and_mixes_nothing():
    old, new = FakeEstimator(per_frame_s=0.001), Halpe(per_frame_s=0.001)
    switch, sink = Switch(old), MemorySink()
    source = ScriptedSource([*range(100), lambda: switch.put(new), *range(100, 200)])
    stream = Stream(name="s", source=source, sinks=[sink], tracker=Tracker(), smoother=OneEuro())
    async with Pipeline([stream], switch, policy=FixedBatch(4)) as pipeline:
        await pipeline.run()
    assert pipeline.reports["s"].error is None
    assert [r.frame.index for r in sink.results] == list(range(200))
    kinds = [r.poses.skeleton for r in sink.results]
    first = kinds.index(HALPE_26)
    # Behind the source are 12 frames in its lane, a batch that waits at the engine, and one that runs.
    assert 80 <= first <= 100, "it takes the next batch"
    assert set(kinds[:first]) == {COCO_17}
    assert set(kinds[first:]) == {HALPE_26}
    assert old.closed
    assert new.closed
    values = [value for estimator in (old, new) for batch in estimator.batches for value in batch]
    assert values == [index % 256 for index in range(200)], "every frame went through one of them, once"


def test_what_is_put_in_while_the_old_one_closes_waits_for_the_next_batch():
    first, second, third, fourth = (Refusing(n) for n in (1, 2, 4, 8))
    switch, picture = Switch(first), np.zeros((4, 4, 3), np.uint8)
    first.on_close = lambda: switch.put(third)
    switch.put(second)
    second.on_run = lambda: switch.put(fourth)
    switch([picture])
    assert (len(second.batches), second.closed) == (1, False), "closed in the middle of its batch"
    assert (third.closed, third.batches) == (True, []), "replaced before its turn came"
    assert switch.memory_refusals == 1 + 2
    switch([picture])
    assert (len(fourth.batches), second.closed) == (1, True)
    assert switch.memory_refusals == 1 + 2 + 8


async def test_a_live_stream_goes_on_while_the_next_model_loads():
    started = threading.Event()

    def load(choice: ModelChoice) -> list[FakeEstimator]:
        if choice.model == "b":
            started.set()
            time.sleep(0.5)
            return [Halpe()]
        return [FakeEstimator()]

    models = Models({n: ModelChoice(model=n) for n in "ab"}, EngineOptions(), load=load)
    models.start()
    models.close()
    sink = MemorySink()
    source = ScriptedSource([*range(20), models.next, *range(20, 80)], live=True, period_s=0.02)
    stream = Stream(name="s", source=source, sinks=[sink])
    async with Pipeline([stream], models.engines, policy=LatencyBatch(5.0)) as pipeline:
        await pipeline.run()
    models.close()
    assert started.is_set()
    figures = pipeline.snapshot().streams["s"]
    assert figures.captured == figures.delivered + figures.dropped_total == 80
    assert figures.delivered > 60
    first = [r.poses.skeleton for r in sink.results].index(HALPE_26)
    assert first > 25, "the old one did not go on while the new one was loaded"


async def test_frames_wait_for_the_first_model_and_old_ones_are_given_up():
    switch, sink, gate = Switch(), MemorySink(), LatencyBatch(0.5)
    estimator = FakeEstimator()
    loop = asyncio.get_running_loop()
    there = lambda: loop.call_soon_threadsafe(switch.put, estimator)  # noqa: E731
    source = ScriptedSource([*range(30), there, *range(30, 60)], live=True, period_s=0.01)
    async with Pipeline(
        [Stream(name="s", source=source, sinks=[sink])], switch, policy=Gated(gate, lambda: switch.ready)
    ) as pipeline:
        await pipeline.run()
    figures = pipeline.snapshot().streams["s"]
    assert figures.captured == figures.delivered + figures.dropped_total == 60
    assert sink.results[0].frame.index > 10, "a frame from before the model was kept for it"
    assert median(r.timing.latency_s for r in sink.results) < 0.5


def test_what_is_put_into_a_closed_switch_is_closed():
    switch, first, second = Switch(), FakeEstimator(), FakeEstimator()
    assert not switch.ready
    switch.put(first)
    assert switch.ready
    assert switch.skeleton == COCO_17
    switch.put(second)
    assert first.closed, "it never ran"
    switch.close()
    assert second.closed
    late = FakeEstimator()
    switch.put(late)
    assert late.closed
    assert not switch.ready


def test_a_model_that_cannot_be_had_leaves_the_one_before():
    def load(choice: ModelChoice) -> list[FakeEstimator]:
        if choice.model == "bad":
            raise ModelNotFound("there is none")
        if choice.model == "worse":
            raise ZeroDivisionError("oops")
        return [FakeEstimator()]

    said: list[str] = []
    models = Models({n: ModelChoice(model=n) for n in ("good", "bad", "worse")}, EngineOptions(), load=load)
    models.on_loading = lambda name: said.append(f"loading {name}")
    models.on_loaded = lambda name, _: said.append(f"loaded {name}")
    models.on_failed = lambda name, error: said.append(f"{name}: {error}")
    models.start()
    for _ in range(3):
        models.close()
        assert models.ready
        assert models.next()
    models.close()
    assert said == [
        "loading good", "loaded good", "loading bad", "bad: there is none",
        "loading worse", "worse: ZeroDivisionError: oops", "loading good", "loaded good",
    ]  # fmt: skip
    assert models.error is None
    models.engines[0].close()


def test_one_is_chosen_by_its_name():
    choices = {name: ModelChoice(model=name) for name in "abc"}
    models = Models(choices, EngineOptions(sessions=1), load=lambda choice: [FakeEstimator()])  # type: ignore[list-item]
    models.load()
    assert (models.names, models.current) == (("a", "b", "c"), "a")
    assert models.choose("c")
    models.close()
    assert models.current == "c"
    assert not models.choose("d")
    assert models.choose("c")  # it is there already
    assert not models.loading


def test_no_model_at_all_is_told():
    models = Models({"m": ModelChoice(model="no-such.onnx")}, EngineOptions())
    failed: list[object] = []
    models.on_failed = lambda *args: failed.append(args)
    models.start()
    models.close()
    assert isinstance(models.error, ModelNotFound)
    assert failed == [("m", models.error)]
    assert not models.next(), "there is no other"


def test_a_model_with_other_sessions_is_refused():
    models = Models({"m": ModelChoice()}, EngineOptions(), load=lambda _: [FakeEstimator(), FakeEstimator()])
    models.start()
    models.close()
    assert isinstance(models.error, EngineFailed)


def test_real_models_are_exchanged(tmp_path: Path):
    one = build(tmp_path / "one.onnx", "rtmo", k=17, size=(64, 64))
    choices = choices_of(ModelChoice(model=one), ["streampose-nano"])
    assert list(choices) == ["one", "streampose-nano"]
    models = Models(choices, EngineOptions(threads=1))
    models.load()
    image = np.zeros((96, 128, 3), np.uint8)
    assert models.engines[0]([image])[0].skeleton == COCO_17
    assert models.next()
    models.close()
    assert len(models.engines[0]([image])[0]) == 0
    models.engines[0].close()


def test_what_a_window_goes_through(monkeypatch: pytest.MonkeyPatch):
    here = {"streampose-nano", "rtmpose-s", "rtmo-s", "rtmdet-nano"}
    monkeypatch.setattr(zoo, "cached", lambda name: Path(name) if name in here else None)
    nano = choices_of(ModelChoice(), [])
    assert {name: (c.model, c.detector, c.pose) for name, c in nano.items()} == {
        "streampose-nano": (None, None, None),
        "rtmpose-s": (None, None, "rtmpose-s"),
        "rtmo-s": ("rtmo-s", None, None),
    }
    pair = choices_of(ModelChoice(detector="a/det.onnx", pose="b/kpt.onnx"), ["x/y.onnx+rtmpose-s", "rtmpose-m"])
    assert {name: (c.model, c.detector, c.pose) for name, c in pair.items()} == {
        "det+kpt": (None, "a/det.onnx", "b/kpt.onnx"),
        "y+rtmpose-s": (None, "x/y.onnx", "rtmpose-s"),
        "rtmpose-m": (None, "a/det.onnx", "rtmpose-m"),
    }


def test_points_are_not_smoothed_over_an_exchange():
    calm = OneEuro()
    ids = np.array([1])
    calm.update(replace(poses_of(10), ids=ids), 0.0)
    other = replace(poses_of(90).to(HALPE_26), ids=ids)
    np.testing.assert_allclose(calm.update(other, 0.04).points, other.points)


def test_what_was_sent_ahead_is_of_use_to_the_one_that_it_was_sent_for():
    class Ahead(FakeEstimator):
        def __init__(self) -> None:
            super().__init__()
            self.got: list[object] = []

        def ahead(self, images):
            return "pixels"

        def __call__(self, images, pixels=None):
            self.got.append(pixels)
            return super().__call__(images)

    first, second, picture = Ahead(), Ahead(), np.zeros((4, 4, 3), np.uint8)
    switch = Switch()
    assert switch.ahead([picture]) is None, "nobody is there yet"
    switch.put(first)
    switch([picture])
    sent = switch.ahead([picture])
    switch([picture], sent)
    switch.put(second)
    switch([picture], sent)
    assert first.got == [None, "pixels"]
    assert second.got == [None]
    plain = Switch(FakeEstimator())
    assert plain.ahead([picture]) is None
    assert len(plain([picture], None)) == 1
