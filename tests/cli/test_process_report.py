"""What `process` shows: how far all of it is, and what it says in the end."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Sequence
from pathlib import Path

import pytest
from fakes import FakeEstimator
from rich.console import Console

from streampose.cli import process_report
from streampose.cli.process_report import _Bars, frames_of, show, summary
from streampose.inference.engine import EngineOptions
from streampose.inference.loading import ModelChoice
from streampose.motion.choice import Span
from streampose.offline.inputs import find_inputs
from streampose.offline.plan import Plan
from streampose.offline.process import Progress, Stage, process
from streampose.offline.refinement import Refinement, Report
from streampose.offline.videos import figure_video
from streampose.render import Parts


def one(stage: Stage, frames: int = 0, *, total: int | None = 100, passed: int = 0, passes: int = 2, reused: int = 0):
    return Progress(
        name=stage.name.lower(), total=total, stage=stage, frames=frames, passed=passed, passes=passes, reused=reused
    )


def test_all_frames_of_all_passes_are_counted():
    assert frames_of([one(Stage.WAITING), one(Stage.MODELS, 30), one(Stage.FINISHING, 20, passed=1)]) == (150, 600)
    assert frames_of([one(Stage.DONE, 100), one(Stage.SKIPPED), one(Stage.FAILED)]) == (600, 600)
    assert frames_of([one(Stage.MODELS, 30, total=None), one(Stage.MODELS, 5)]) == (35, None)


def test_a_recording_without_a_length_fills_no_bar():
    bars, nameless = _Bars(), one(Stage.MODELS, 30, total=None)
    bars.draw([])  # before anything is known
    bar = bars.draw([nameless, one(Stage.MODELS, 5)]).tasks[0]
    assert (bar.completed, bar.total) == (35, None)
    assert frames_of([one(Stage.FAILED, total=None), one(Stage.MODELS, 30)]) == (30, 200)  # it has no frames to come
    assert frames_of([one(Stage.SKIPPED, total=None), one(Stage.MODELS, 30)]) == (30, 200)
    bar = bars.draw([one(Stage.FAILED, total=None), one(Stage.MODELS, 30)]).tasks[0]
    assert (bar.completed, bar.total) == (30, 200)


async def test_the_bar_for_all_never_goes_back(tmp_path: Path):
    """Through models, ids, files and a video."""
    source = find_inputs(["synthetic:?size=128x96&seconds=1"])
    drawn = figure_video("coco", background="black", images=False, size_px=None, parts=Parts())
    clean = Refinement(link_s=1, fill_s=0.2, sigma_s=0.02)
    plan = Plan(
        choice=ModelChoice(),
        engine=EngineOptions(device="cpu"),
        refinement=clean,
        formats=("jsonl", "csv", "npz"),
        drawings=[drawn],
    )
    seen: list[tuple[int, int | None]] = []
    watched: list[Progress] = []

    def watch(progress: Sequence[Progress]) -> None:
        watched.extend(progress)

    async def look() -> None:
        while True:
            seen.append(frames_of(watched))
            await asyncio.sleep(0.001)

    looking = asyncio.create_task(look())
    await process(source, tmp_path, plan, lambda: [FakeEstimator()], stop=asyncio.Event(), watch=watch)
    looking.cancel()
    done = [frames for frames, _ in seen]
    assert done == sorted(done)
    assert watched[0].error is None
    assert frames_of(watched) == (60, 60)


async def said(recordings: list[Progress], capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What is told of recordings that have ended."""
    ended: asyncio.Future[list[Progress]] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(ended.set_result, recordings)
    assert await show(ended, recordings) == recordings
    return capsys.readouterr().err.splitlines()


async def test_what_was_done_and_what_not_is_said(capsys: pytest.CaptureFixture[str]):
    done = one(Stage.DONE, 100, reused=40)
    spans = (Span(id=3, first_s=0, last_s=1), Span(id=7, first_s=2, last_s=4))
    done.report = Report(people=(), spans=spans, missing=((7, 1.0, 2.0),), filled=5)
    recordings = [done, one(Stage.SKIPPED), one(Stage.STOPPED, 10), one(Stage.FAILED)]
    first, second, third = await said(recordings, capsys)
    assert first.startswith("done: done, 100 frames (40 of them before); person 3, 7; 2.00 s: person 3 → 7; ")
    assert first.endswith("; 5 filled in; missing 1.00 to 2.00 s")
    assert second == "skipped: there already"
    assert third == "stopped: stopped, 10 frames"
    last, end = summary(recordings, 2.0, Path("out")).plain.splitlines()
    assert last == "2 of 4 in out, 1 failed, 2.0 s, 35.0 frames a second"
    assert end == "the same command goes on from here"
    assert await said([one(Stage.DONE, 1)], capsys) == ["done: done, 1 frame"]


async def test_who_stops_while_something_is_made_is_told_how_far_that_is(capsys: pytest.CaptureFixture[str]):
    stopped = one(Stage.STOPPED, 31, total=500, passed=1, reused=500)
    stopped.what = "clip.coco.mp4"
    assert await said([stopped], capsys) == ["stopped: stopped while drawing clip.coco.mp4, 31 of 500"]
    assert frames_of([stopped]) == (531, 1000)  # and no bar jumps to its end
    assert "frames a second" not in summary([stopped], 2.0, Path("out")).plain  # none went through the models
    stopped.what, stopped.passing = "ids", False
    assert await said([stopped], capsys) == ["stopped: stopped while making ids, 31 of 500"]
    stopped.what = ""  # just before
    assert await said([stopped], capsys) == ["stopped: stopped, 500 frames (500 of them before)"]


async def test_in_a_log_each_is_said_as_soon_as_it_is_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(process_report, "_REFRESH_S", 0.001)
    running: asyncio.Future[list[Progress]] = asyncio.get_running_loop().create_future()
    recordings = [one(Stage.DONE, 7), one(Stage.MODELS, 3)]
    shown = asyncio.create_task(show(running, recordings))
    told = ""
    async with asyncio.timeout(5):
        while not told:
            await asyncio.sleep(0)
            told = capsys.readouterr().err
    assert told == "done: done, 7 frames\n"
    running.set_result(recordings)
    await shown
    assert capsys.readouterr().err == ""  # once


def test_names_and_folders_that_look_like_markup_are_shown_as_they_are():
    name = "x[/b] [old]"
    odd = one(Stage.MODELS, 10)
    odd.name, odd.what = name, f"{name}.coco.mp4"
    shown = Console(file=io.StringIO(), width=200, record=True)
    shown.print(_Bars().draw([odd]), summary([odd], 1.0, Path("takes [old]")))
    text = shown.export_text()
    assert f"{name} .coco.mp4" in text
    assert "in takes [old], " in text
