"""How `streampose process` goes, and went."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from streampose.cli.say import console, dim, has_watcher, say
from streampose.offline.process import Progress as Recording
from streampose.offline.process import Stage
from streampose.redaction import redact

__all__ = ["show", "summary"]

_REFRESH_S = 0.25
# Bars at a time, beside the one for all: as many as a terminal shows without scrolling.
_BARS = 12
_BUSY = (Stage.MODELS, Stage.FINISHING)
_ENDED = (Stage.DONE, Stage.SKIPPED, Stage.FAILED)
_TOLD = (Stage.DONE, Stage.SKIPPED, Stage.STOPPED)  # of one that failed, its error says it all


async def show(running: asyncio.Future[list[Recording]], recordings: Sequence[Recording]) -> list[Recording]:
    """Wait for the end, and say of each recording how it went once it is through.

    Who looks on sees a bar for each that is worked on, and one for all frames together.
    """
    bars, told = _Bars(), set[str]()
    live = Live(bars.draw(recordings), console=console, refresh_per_second=4, transient=True) if has_watcher() else None
    with live or nullcontext():
        while not running.done():
            await asyncio.wait([running], timeout=_REFRESH_S)
            for recording in recordings:
                if recording.stage in _TOLD and recording.name not in told:
                    told.add(recording.name)
                    say(_line(recording))
            if live is not None:
                live.update(bars.draw(recordings))
    return await running


class _Bars:
    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            TextColumn("{task.fields[what]}", style="dim", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self._all = self._progress.add_task("all", total=None, what="")
        self._tasks: dict[str, tuple[str, TaskID]] = {}

    def draw(self, recordings: Sequence[Recording]) -> Progress:
        """The bars as they are now."""
        busy = [recording for recording in recordings if recording.stage in _BUSY][:_BARS]
        for name in self._tasks.keys() - {recording.name for recording in busy}:
            self._progress.remove_task(self._tasks.pop(name)[1])
        for recording in busy:
            known = self._tasks.get(recording.name)
            if known is None or known[0] != recording.what:  # its time is counted for each thing that is made
                if known is not None:
                    self._progress.remove_task(known[1])
                task = self._progress.add_task(
                    recording.name, total=recording.total, what=recording.what.removeprefix(recording.name)
                )
                known = self._tasks[recording.name] = (recording.what, task)
            self._progress.update(known[1], completed=recording.frames, total=recording.total)
        done, total = frames_of(recordings)
        self._progress.update(self._all, completed=done, total=total, what=f"{_ended(recordings)} of {len(recordings)}")
        return self._progress


def frames_of(recordings: Sequence[Recording]) -> tuple[int, int | None]:
    """Frames that were gone through, in all passes, and of how many; `None` = a length that counts is not known."""
    if not recordings or any(r.total is None and r.stage not in _ENDED for r in recordings):
        through = {Stage.FINISHING, Stage.DONE, Stage.SKIPPED}
        return sum(
            r.frames if r.stage is Stage.MODELS else r.total or 0 if r.stage in through else 0 for r in recordings
        ), None
    done = total = 0
    for r in recordings:
        whole = (r.total or 0) * r.passes
        if r.stage in _BUSY or r.stage is Stage.STOPPED:
            done += min(whole, (r.total or 0) * r.passed + r.frames * r.passing)
        elif r.stage is not Stage.WAITING:
            done += whole
        total += whole
    return done, total


def _ended(recordings: Sequence[Recording]) -> int:
    return sum(r.stage in _ENDED for r in recordings)


def summary(recordings: Sequence[Recording], seconds: float, folder: Path) -> Text:
    """Of all of them together."""
    fresh = sum(max(0, _found(r) - r.reused) for r in recordings if r.stage in {Stage.DONE, Stage.STOPPED})
    rate = f", {fresh / seconds:.1f} frames a second" if fresh and seconds > 0 else ""
    done = sum(r.stage in {Stage.DONE, Stage.SKIPPED} for r in recordings)
    failed = sum(r.stage is Stage.FAILED for r in recordings)
    lost = f", {failed} failed" if failed else ""
    words = dim(f"{done} of {len(recordings)} in {redact(str(folder))}{lost}, {seconds:.1f} s{rate}")
    if any(r.stage is Stage.STOPPED for r in recordings):
        words = Text("\n").join([words, Text("the same command goes on from here")])
    return words


def _line(r: Recording) -> str:
    """How one went."""
    if r.stage is Stage.SKIPPED:
        return f"{r.name}: {r.stage.value}"
    if r.stage is Stage.STOPPED and r.passed and r.what:
        doing = "drawing" if r.passing else "making"
        return f"{r.name}: {r.stage.value} while {doing} {r.what}, {r.frames} of {r.total}"
    before = f" ({r.reused} of them before)" if r.reused else ""
    return f"{r.name}: {r.stage.value}, {_found(r)} frame{'s' * (_found(r) != 1)}{before}{_said(r)}"


def _found(r: Recording) -> int:
    """Frames that are through the models."""
    return r.total or 0 if r.passed else r.frames


def _said(recording: Recording) -> str:
    """What the second pass reports."""
    report = recording.report
    if report is None or not (report.spans or report.filled or report.missing):
        return ""
    words = []
    if report.spans:
        words.append("person " + ", ".join(str(span.id) for span in report.spans))
    words += [f"{at_s:.2f} s: person {old} → {new}" for at_s, old, new in report.switches]
    if report.filled:
        words.append(f"{report.filled} filled in")
    if report.missing:
        spans = ", ".join(f"{a:.2f} to {b:.2f} s" for _, a, b in report.missing[:5])
        words.append(f"missing {spans}" + (f" and {len(report.missing) - 5} more" if len(report.missing) > 5 else ""))
    return "; " + "; ".join(words)
