"""How a run goes, while it goes and in the end."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

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
from rich.table import Table
from rich.text import Text

from streampose.cli.say import console, dim, has_watcher
from streampose.metrics import Cause, Place, Snapshot
from streampose.pipeline import Pipeline
from streampose.streams import Outcome, StreamReport

__all__ = ["show_progress", "summary"]

_REFRESH_S = 0.2


async def show_progress(pipeline: Pipeline, running: asyncio.Task[Mapping[str, StreamReport]], *, live: bool) -> None:
    """Wait for the run, showing how it goes: a bar each for recordings, a line each for live streams."""
    if not has_watcher():
        await running
        return
    display = _LiveLines() if live else _Bars()
    with Live(display.draw(pipeline), console=console, refresh_per_second=8, transient=True) as shown:
        while not running.done():
            await asyncio.wait([running], timeout=_REFRESH_S)
            shown.update(display.draw(pipeline))
    await running


class _Bars:
    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[fps]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self._tasks: dict[str, TaskID] = {}

    def draw(self, pipeline: Pipeline) -> Progress:
        snapshot = pipeline.snapshot()
        for name in self._tasks.keys() - snapshot.streams.keys():
            self._progress.remove_task(self._tasks.pop(name))
        for name, figures in snapshot.streams.items():
            if (task := self._tasks.get(name)) is None:
                task = self._tasks[name] = self._progress.add_task(name, total=None, fps="")
            info = pipeline.reports[name].info
            fps = "" if figures.fps is None else f"{figures.fps:.0f} fps"
            self._progress.update(task, completed=figures.delivered, total=info.frames if info else None, fps=fps)
        return self._progress


class _LiveLines:
    def draw(self, pipeline: Pipeline) -> Table:
        table = Table(box=None, pad_edge=False, header_style="dim")
        for column in ("stream", "fps", "p50", "p95", "batch", "people", "dropped", ""):
            table.add_column(column, justify="left" if column == "stream" else "right")
        for name, figures in pipeline.snapshot().streams.items():
            report = pipeline.reports[name]
            table.add_row(
                Text(name),
                "-" if figures.fps is None else f"{figures.fps:.1f}",
                _ms(figures.recent_p50_s),
                _ms(figures.recent_p95_s),
                str(figures.batch_size),
                str(figures.people),
                str(figures.dropped_total),
                _state(report),
            )
        return table


def _state(report: StreamReport) -> str:
    if report.outcome is not None:
        return report.outcome.value
    link = report.link
    if link is not None and link.cause is not None:
        return f"{link.state.value}: {link.cause}"
    return "opening" if report.info is None else "running"


def summary(snapshot: Snapshot, reports: Mapping[str, StreamReport], *, live: bool) -> Text:
    """A line for each stream, of live ones with their latency, and one for the engine; empty = nothing to say."""
    lines: list[Text] = []
    for name, figures in snapshot.streams.items():
        outcome, info = reports[name].outcome, reports[name].info
        if outcome is Outcome.FAILED and not figures.delivered:
            continue  # its error says it all
        ended = outcome.value if outcome else "not run"
        if outcome and info is None and (link := reports[name].link) is not None:
            why = f" ({link.cause})" if link.cause else ""  # of the first try there is none until it is over
            lines.append(Text(f"{name}: {ended}, was never there{why}, tries: {link.tries + 1}"))
            continue
        fps = figures.delivered / snapshot.elapsed_s if snapshot.elapsed_s > 0 else 0.0
        drops = f", {figures.dropped_total} dropped" if figures.dropped_total else ""
        if missed := figures.dropped.get((Place.SINK, Cause.OVERFLOW), 0):
            drops += f", {missed} not taken in time by outputs"
        if unsent := figures.dropped.get((Place.SINK, Cause.UNSENT), 0):
            drops += f", {unsent} not sent"
        decode = f", decode: {info.decoder}" if info and (info.hwaccel or info.hwaccel_note) else ""
        latency = f", latency p50 {_ms(figures.latency_p50_s)} p99 {_ms(figures.latency_p99_s)}" if live else ""
        words = f"{name}: {ended} after {figures.delivered} frames{drops}{_reconnects(reports[name])}, {fps:.1f} fps"
        lines.append(Text(words + latency + decode))
    engine = snapshot.engine
    if engine.batches:
        people = snapshot.removed.people_total + sum(figures.people_total for figures in snapshot.streams.values())
        words = (
            f"{engine.batches} batches of {engine.frames / engine.batches:.1f} frames, "
            f"{people} people, {snapshot.elapsed_s:.1f} s"
        )
        lines.append(dim(words))
    return Text("\n").join(lines)


def _reconnects(report: StreamReport) -> str:
    link = report.link
    if link is None or not link.lost:
        return ""
    causes = ", ".join(f"{cause} {count}" for cause, count in link.lost.most_common())
    return f", {link.reconnects} reconnect{'s' * (link.reconnects != 1)} (lost: {causes})"


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.0f} ms"
