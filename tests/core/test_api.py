from __future__ import annotations

import asyncio
import errno
import inspect
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from dots import build
from fakes import FakeEstimator, ScriptedSource

import streampose
from streampose.engine_thread import EngineThread, is_lent
from streampose.errors import ConfigError, EngineFailed, ModelNotFound, SourceNotFound, WorkerStuck
from streampose.pipeline import Pipeline
from streampose.streams import Stream


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return build(tmp_path / "m.onnx", "rtmo", size=(64, 64))


async def test_every_frame_of_a_recording(model: Path):
    source = streampose.SyntheticSource(width_px=64, height_px=64, seconds=1, live=False)
    indices = [r.frame.index async for r in streampose.stream(source, model=model, pictures=True)]
    assert indices == list(range(30))


async def test_leaving_the_loop_early_ends_everything(model: Path):
    source = ScriptedSource(range(10_000))
    results = streampose.stream(source, model=model)
    async for result in results:
        if result.frame.index == 5:
            break
    await results.aclose()
    assert source.closed == 1


class Hanging(FakeEstimator):
    """From its second batch on, until it may go on."""

    def __init__(self) -> None:
        super().__init__()
        self.hangs, self.goes_on = threading.Event(), threading.Event()

    def __call__(self, images: Sequence[streampose.Image]) -> list[streampose.Poses]:
        if self.batches:
            self.hangs.set()
            self.goes_on.wait(30)
        return super().__call__(images)


async def test_who_leaves_the_loop_waits_for_no_model_that_hangs(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(streampose.api, "_LEAVING_S", 0.1)
    source, estimator = ScriptedSource(range(10_000), live=True, period_s=0.005), Hanging()
    results = streampose.stream(source, estimators=estimator)
    await anext(results)
    assert await asyncio.to_thread(estimator.hangs.wait, 10)
    async with asyncio.timeout(5):
        await results.aclose()
        assert source.closed
        assert "streampose-engine-0 is stuck in a call; left it behind" in caplog.text
        with pytest.raises(ConfigError, match=r"still computes a batch that hung .*: load another one"):
            await anext(streampose.stream(ScriptedSource([0]), estimators=estimator))
        estimator.goes_on.set()
        while is_lent(estimator):
            await asyncio.sleep(0.01)
    assert not estimator.closed


async def test_of_several_models_that_hang_none_is_waited_for_after_the_others(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(EngineThread, "closing_s", 0.25)
    models, endless = [Hanging() for _ in range(4)], ScriptedSource(range(10_000))
    async with AsyncExitStack() as leaving:
        pipeline = await leaving.enter_async_context(Pipeline([Stream(name="a", source=endless)], models))
        running = asyncio.create_task(pipeline.run())
        for model in models:
            assert await asyncio.to_thread(model.hangs.wait, 10)
        running.cancel()
        await asyncio.wait([running])
        began_at = time.monotonic()
        with pytest.raises(WorkerStuck, match="streampose-engine-0 is stuck in a call"):
            await leaving.aclose()
    assert time.monotonic() - began_at < 4 * EngineThread.closing_s
    assert [f"streampose-engine-{i} is stuck" in caplog.text for i in range(4)] == [False, True, True, True]
    for model in models:
        model.goes_on.set()


async def test_who_is_in_a_hurry_to_leave_is_not_held_up_by_a_model_that_hangs(caplog: pytest.LogCaptureFixture):
    estimator = Hanging()
    results = streampose.stream(ScriptedSource(range(10_000), live=True, period_s=0.005), estimators=estimator)
    await anext(results)
    assert await asyncio.to_thread(estimator.hangs.wait, 10)
    async with asyncio.timeout(5):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(results.aclose(), 0.1)
        assert "left it behind" in caplog.text
        estimator.goes_on.set()
        while is_lent(estimator):
            await asyncio.sleep(0.01)


async def test_a_failure_comes_after_the_results(model: Path):
    source = ScriptedSource([0, 1, 2, SourceNotFound("gone")])
    results = streampose.stream(source, model=model)
    assert [(await anext(results)).frame.index for _ in range(3)] == [0, 1, 2]
    with pytest.raises(SourceNotFound):
        await anext(results)


async def test_what_is_missing_is_said_at_once():
    with pytest.raises(ModelNotFound):
        await anext(streampose.stream("synthetic:", model="none.onnx"))
    with pytest.raises(SourceNotFound):
        await anext(streampose.stream("none.mp4", model="none.onnx"))


def test_nothing_is_told_about_the_machine(model: Path, tmp_path: Path):
    home = tmp_path / "home"
    home.mkdir()
    # The runtime keeps still in what looks like CI, so next to nothing of this environment goes on.
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PYTHONPATH": str(Path(streampose.__file__).parents[1]),
    }
    code = (
        f"import streampose as s, pathlib; s.load_estimator(s.ModelChoice(model=pathlib.Path({str(model)!r}))).close()"
    )
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)
    assert not list(home.rglob("*onnxruntime*"))  # where it notes what it is going to send


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("streampose")]


def test_an_ordinary_loop_gets_every_frame_and_leaves_no_thread(model: Path):
    source = streampose.SyntheticSource(width_px=64, height_px=64, seconds=1, live=False)
    assert [r.frame.index for r in streampose.results(source, model=model)] == list(range(30))
    assert not threads()


async def test_an_ordinary_loop_also_within_a_running_event_loop(model: Path):
    """As in a notebook."""
    source = ScriptedSource(range(10_000))
    for result in streampose.results(source, model=model):
        if result.frame.index == 5:
            break
    assert source.closed == 1
    assert not threads()


def test_an_ordinary_loop_is_told_what_failed(model: Path):
    results = streampose.results(ScriptedSource([0, 1, SourceNotFound("gone")]), model=model)
    assert [next(results).frame.index for _ in range(2)] == [0, 1]
    with pytest.raises(SourceNotFound):
        next(results)
    with pytest.raises(SourceNotFound):
        next(streampose.results("none.mp4", model=model))
    assert not threads()


def test_ctrl_c_in_an_ordinary_loop_ends_it(model: Path):
    code = f"""
import streampose, threading
try:
    for n, result in enumerate(streampose.results("synthetic:?fps=2&size=64x64", model={str(model)!r})):
        print("result", flush=True)
except KeyboardInterrupt:
    print([t.name for t in threading.enumerate() if t.name.startswith("streampose")], flush=True)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "result\n"
    process.send_signal(signal.SIGINT)
    rest, said = process.communicate(timeout=20)
    assert rest.splitlines()[-1:] == ["[]"], said
    assert process.returncode == 0


@pytest.mark.parametrize("source", ["'synthetic:?fps=20&size=64x64'", "['synthetic:?fps=20&size=64x64'] * 6"])
def test_a_script_that_leaves_an_ordinary_loop_ends(model: Path, source: str):
    """And still holds the iterator; with six, threads were in the middle of something when Python was gone."""
    code = f"""
import streampose, time
results = streampose.results({source}, model={str(model)!r})
for result in results:
    break
time.sleep(0.3)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_both_ways_take_the_same():
    ordinary, asynchronous = (inspect.signature(way).parameters for way in (streampose.results, streampose.stream))
    assert list(ordinary) == list(asynchronous)
    assert "ordinary iterator" in (streampose.results.__doc__ or "")


def test_models_that_are_loaded_serve_one_source_after_the_other(model: Path):
    (estimator,) = streampose.load_estimators(streampose.ModelChoice(model=model), throughput=True)[:1]
    for _ in range(2):
        given = list(streampose.results(ScriptedSource(range(5)), estimators=[estimator]))
        assert [r.frame.index for r in given] == list(range(5))
    estimator.close()
    with pytest.raises(EngineFailed, match="was closed: a Pipeline closes its estimators"):
        list(streampose.results(ScriptedSource(range(5)), estimators=[estimator]))


async def test_an_estimator_of_a_loop_that_was_just_left_serves_the_next():
    estimator = FakeEstimator(per_frame_s=0.01)
    for _ in range(2):
        async for _result in streampose.stream(ScriptedSource(range(100)), estimators=estimator):
            break  # nobody closes it but Python, on the event loop
    assert [r.frame.index async for r in streampose.stream(ScriptedSource([0]), estimators=estimator)] == [0]


async def test_an_estimator_serves_one_loop_at_a_time(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(streampose.api, "_LEAVING_S", 0.05)
    estimator = FakeEstimator()
    first = streampose.stream(ScriptedSource(range(20)), estimators=estimator)
    await anext(first)
    with pytest.raises(ConfigError, match="an estimator runs in another pipeline"):
        await anext(streampose.stream(ScriptedSource(range(3)), estimators=estimator))
    with pytest.raises(ConfigError, match="an estimator runs in another pipeline"):
        async with Pipeline([Stream(name="s", source=ScriptedSource([0]))], [other := FakeEstimator(), estimator]):
            pytest.fail("it began")
    assert not estimator.closed  # it is still the first one's
    assert not other.closed
    assert [r.frame.index async for r in first] == list(range(1, 20))
    assert [r.frame.index async for r in streampose.stream(ScriptedSource([0]), estimators=estimator)] == [0]


async def test_limits_are_a_choice_s(model: Path):
    source = streampose.SyntheticSource(width_px=64, height_px=64, seconds=1, live=False)
    nobody = streampose.ModelChoice(model=model, limits=streampose.Limits(max_people=0))
    assert {len(r.poses) async for r in streampose.stream(source, choice=nobody)} == {0}


async def test_smoothing_asks_for_tracking():
    results = streampose.stream(ScriptedSource([0]), estimators=FakeEstimator(), track=False, smooth=True)
    assert [result.poses.ids.tolist() async for result in results] == [[1]]


@pytest.mark.parametrize("live", [(True, False), (False, True), (False, False)])
async def test_one_live_source_is_enough_for_a_budget(live: tuple[bool, bool], monkeypatch: pytest.MonkeyPatch):
    policies = []
    pipeline = streampose.Pipeline
    monkeypatch.setattr(
        "streampose.api.Pipeline",
        lambda *args, **options: policies.append(options["policy"]) or pipeline(*args, **options),
    )
    sources = [ScriptedSource([0], live=each) for each in live]
    await anext(results := streampose.stream(sources, estimators=FakeEstimator(), budget_s=7.0))
    await results.aclose()
    assert policies[0].budget_s == (7.0 if any(live) else math.inf)


async def test_of_what_is_live_the_newest_result_waits(model: Path):
    source = ScriptedSource(range(20), live=True, period_s=0.05)
    results = streampose.stream(source, model=model, budget_s=5.0)
    first = await anext(results)
    await asyncio.sleep(0.5)
    second, third = await anext(results), await anext(results)
    await results.aclose()
    assert second.frame.index - first.frame.index >= 5
    assert third.frame.index == second.frame.index + 1, "an older one had waited behind the newest"


async def test_all_of_several_recordings_come_in_their_order(model: Path):
    sources = {name: ScriptedSource(range(10)) for name in ("a", "b", "c")}
    given = [(r.frame.stream, r.frame.index) async for r in streampose.stream(sources, model=model)]
    assert sorted(given) == [(name, i) for name in sources for i in range(10)]
    for name in sources:
        assert [index for stream, index in given if stream == name] == list(range(10))


async def test_a_slow_loop_sees_all_of_several_live_sources(model: Path):
    """Each one's newest result waits; none displaces another's."""
    sources = [ScriptedSource(range(1000), live=True, period_s=0.01) for _ in range(3)]
    results, seen = streampose.stream(sources, model=model, budget_s=5.0), []
    async for result in results:
        seen.append(result.frame.stream)
        await asyncio.sleep(0.1)
        if len(seen) == 12:
            break
    await results.aclose()
    assert all(seen[3:].count(name) == 3 for name in ("0", "1", "2"))


async def test_one_of_several_that_fails_lets_the_others_go_on(model: Path):
    sources = {
        "gone": ScriptedSource([0, SourceNotFound("gone")]),
        "whole": ScriptedSource(range(20)),
        "away": ScriptedSource([SourceNotFound("away")]),
    }
    results, seen = streampose.stream(sources, model=model), []
    for _ in range(21):
        seen.append((await anext(results)).frame.stream)
    assert (seen.count("gone"), seen.count("whole")) == (1, 20)
    with pytest.raises(SourceNotFound, match="gone") as caught:
        await anext(results)
    assert caught.value.__notes__ == ["stream 'gone' failed: gone", "stream 'away' failed: away"]


async def test_one_of_several_that_is_not_there_is_told_before_any_begins(model: Path):
    with pytest.raises(SourceNotFound, match=r"no file at nope\.mp4") as caught:
        await anext(streampose.stream({"whole": ScriptedSource(range(3)), "gone": "nope.mp4"}, model=model))
    assert caught.value.__notes__ == [f"stream 'gone' failed: {caught.value}"]


def test_where_no_descriptor_is_left_an_ordinary_loop_is_told_in_our_words(monkeypatch: pytest.MonkeyPatch):
    def short(_: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(asyncio.Runner, "get_loop", short)
    with pytest.raises(streampose.StreamposeError, match=rf"no thread .*loop: OSError: .*{os.strerror(errno.EMFILE)}"):
        next(streampose.results(ScriptedSource(range(3))))


def test_where_no_thread_can_be_started_that_is_told_in_our_words(monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", full)
    with pytest.raises(streampose.StreamposeError, match=r"no thread .*loop: RuntimeError: can't start new thread"):
        next(streampose.results(ScriptedSource(range(3))))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing is forked here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_may_use_an_estimator_that_its_parent_uses(monkeypatch: pytest.MonkeyPatch):
    """It has none of the threads that would give it back."""
    monkeypatch.setattr(streampose.api, "_LEAVING_S", 0.05)
    estimator = FakeEstimator()
    of_the_parent = streampose.results(ScriptedSource([0]), estimators=estimator)
    next(of_the_parent)
    if (child := os.fork()) == 0:
        signal.alarm(10)
        found = 0
        try:
            found = len(list(streampose.results(ScriptedSource(range(3)), estimators=estimator)))
        finally:
            os._exit(found)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    assert list(of_the_parent) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing is forked here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_is_told_that_its_parent_s_results_are_not_its_own(model: Path):
    results = streampose.results(ScriptedSource(range(30)), model=model)
    next(results)
    if (child := os.fork()) == 0:
        signal.alarm(10)
        try:
            next(results)
        except streampose.StreamposeError as error:
            os._exit("forked" not in str(error))
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert len(list(results)) == 29


async def test_several_of_one_source_are_refused(model: Path):
    source = ScriptedSource(range(3))
    with pytest.raises(ConfigError, match="have one ScriptedSource"):
        await anext(streampose.stream([source, source], model=model))


@pytest.mark.parametrize("source", [None, b"x", [None], {"a": b"x"}, {}, []], ids=repr)
async def test_what_is_no_source_is_said(source: object, model: Path):
    with pytest.raises(ConfigError, match="there is no source" if source in ({}, []) else "source that is none"):
        await anext(streampose.stream(source, model=model))


async def test_contradictions_are_said(model: Path):
    choice = streampose.ModelChoice(model=model)
    estimator = streampose.load_estimator(choice)
    for wrong in (
        {"estimators": [estimator], "model": model},
        {"estimators": [estimator], "options": streampose.EngineOptions()},
        {"estimators": []},
        {"estimators": "nano"},
        {"estimators": FakeEstimator},
        {"model": model, "options": {"device": "cpu"}},
        {"choice": choice, "model": model},
        {"budget_s": 0},
        {"budget_s": -1.0},
    ):
        with pytest.raises(ConfigError):
            await anext(streampose.stream(ScriptedSource([0]), **wrong))
    estimator.close()
