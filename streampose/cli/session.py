"""One run from the command line: models, pipeline, progress, Ctrl-C, summary."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import cv2
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

import streampose
from streampose.batching import BatchPolicy, FixedBatch, Gated, LatencyBatch
from streampose.cli.roster import Roster
from streampose.cli.say import console, fail, has_watcher, say
from streampose.errors import redact
from streampose.inference.engine import EngineOptions
from streampose.inference.loading import ModelChoice, PoseEstimator, describe_all, load_estimators
from streampose.metrics import Snapshot
from streampose.observe.watch import Watch, WatchOptions
from streampose.pipeline import Pipeline
from streampose.preview import Models, Preview, Screen, choices_of
from streampose.streams import Outcome, Stream, StreamReport

__all__ = ["Session", "interrupts", "run_session", "start_session"]

_REFRESH_S = 0.2
# What a live source is taken to bring before it has been opened.
_USUAL_FPS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What to run, and how to show it."""

    streams: Sequence[Stream]
    choice: ModelChoice
    options: EngineOptions
    budget_s: float
    batch: int | None = None
    stop_after_s: float | None = None
    quiet: bool = False
    watch: WatchOptions = field(default_factory=WatchOptions)
    """What looks at it from outside."""
    preview: Preview | None = None
    """The windows of the streams."""
    roster: Roster | None = None
    """Changes the streams while they run; not with windows."""
    other_models: Sequence[str] = ()
    """What a window's key goes on to; none = those on this machine."""

    @property
    def live(self) -> bool:
        """Whether any stream is."""
        return any(stream.source.live for stream in self.streams)

    def policy(self) -> BatchPolicy:
        """The one for these streams."""
        if self.live:
            return LatencyBatch(self.budget_s, max_frames=self.batch or 16)
        return FixedBatch(self.batch or 4)


def start_session(session: Session) -> int:
    """Run it, with its windows on this thread if it has some, and return the exit code.

    Raises:
        StreamposeError: the models cannot be loaded or run, or there is no screen.
    """
    work = run_session(session)
    if session.preview is None:
        return asyncio.run(work)
    try:
        return session.preview.run(work)
    except asyncio.CancelledError:  # by Ctrl-C, before there was anything to drain
        say("cut off")
        return 130


async def run_session(session: Session) -> int:
    """Run it, and return the exit code.

    Raises:
        StreamposeError: the models cannot be loaded or run.
    """
    async with Watch(session.watch, version=streampose.__version__) as watch:
        if watch.port is not None and not session.quiet:
            say(f"[dim]metrics at port {watch.port}[/dim]")
        return await _run(session, watch)


async def _run(session: Session, watch: Watch) -> int:
    # OpenCV's own threads only get into the way of the engines': every stage here has its thread already.
    cv2.setNumThreads(1)
    if session.preview is not None:
        return await _run_with_windows(session, watch, session.preview)
    # On a thread: whoever asks meanwhile is answered.
    load = partial(load_estimators, throughput=not session.live, demand_fps=_USUAL_FPS * len(session.streams))
    estimators = await asyncio.to_thread(load, session.choice, session.options)
    _describe(session, estimators)
    engine_name = "GPU" if estimators[0].on_gpu else "CPU"
    async with Pipeline(
        session.streams, estimators, policy=session.policy(), engine_name=engine_name, trace=watch.trace
    ) as pipeline:
        return await _to_its_end(session, watch, pipeline)


async def _run_with_windows(session: Session, watch: Watch, preview: Preview) -> int:
    """Live streams begin to be seen while the models load; recordings wait for them, to be run by all cores."""
    choices = choices_of(session.choice, session.other_models)
    models = Models(choices, session.options, throughput=not session.live)
    preview.on_loaded = lambda estimators: _describe(session, estimators)
    preview.follow(models)
    policy: BatchPolicy = session.policy()
    try:
        if session.live:
            models.start()
            policy = Gated(policy, lambda: models.ready)
        else:
            await asyncio.to_thread(models.load)
        async with Pipeline(session.streams, models.engines, policy=policy, trace=watch.trace) as pipeline:
            return await _to_its_end(session, watch, pipeline, models)
    finally:
        await asyncio.to_thread(models.close)


def _describe(session: Session, estimators: Sequence[PoseEstimator]) -> None:
    if not session.quiet:
        say(f"[dim]{describe_all(estimators)}[/dim]")


async def _to_its_end(session: Session, watch: Watch, pipeline: Pipeline, models: Models | None = None) -> int:
    """Run the pipeline to its end, whoever ends it."""
    loop, preview = asyncio.get_running_loop(), session.preview
    running = asyncio.create_task(pipeline.run())
    watch.begin(pipeline)

    def stop() -> None:
        # What waits for a model that never comes cannot be delivered.
        if models is None or models.ready:
            pipeline.stop()
        else:
            running.cancel()

    if preview is not None and models is not None:
        preview.on_stop = lambda: loop.call_soon_threadsafe(stop)
        if preview.screen.quit or models.error is not None:
            stop()
    changing = contextlib.nullcontext() if session.roster is None else session.roster.listening(pipeline)
    with changing, interrupts(watch.stopping(stop), running.cancel, None if preview is None else preview.screen):
        if session.stop_after_s is not None:
            loop.call_later(session.stop_after_s, pipeline.stop)
        try:
            await _watched(pipeline, running, session)
        except asyncio.CancelledError:
            if models is not None and models.error is not None:
                raise models.error from None
            if preview is not None and preview.screen.quit:
                return 0
            say("cut off")
            return 130
    if not session.quiet and (summary := _summary(pipeline.snapshot(), pipeline.reports)):
        say(summary)
    failed = [(name, report.error) for name, report in pipeline.reports.items() if report.outcome is Outcome.FAILED]
    for name, error in failed:
        fail(redact(f"{name}: {error}" if len(pipeline.reports) > 1 else str(error)))
    return 1 if failed else 0


@contextlib.contextmanager
def interrupts(
    stop: Callable[[], object], cancel: Callable[[], object], screen: Screen | None = None
) -> Iterator[None]:
    """The first Ctrl-C (or SIGTERM) drains, the second cuts off. With windows, they have the signals' thread."""
    loop = asyncio.get_running_loop()
    count = 0

    def interrupted() -> None:
        nonlocal count
        count += 1
        if count == 1:
            say("stopping: delivering what is on its way (Ctrl-C again cuts it off)")
            stop()
        else:
            cancel()

    if screen is not None:
        screen.on_interrupt = lambda: loop.call_soon_threadsafe(interrupted)
        yield
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    previous = {}
    for number in signals:
        try:
            loop.add_signal_handler(number, interrupted)
        except NotImplementedError:  # Windows' event loop has none
            previous[number] = signal.signal(number, lambda *_: loop.call_soon_threadsafe(interrupted))
    try:
        yield
    finally:
        for number in signals:
            if number in previous:
                signal.signal(number, previous[number])
            else:
                loop.remove_signal_handler(number)


async def _watched(pipeline: Pipeline, running: asyncio.Task[Mapping[str, StreamReport]], session: Session) -> None:
    """Wait for the run, showing how it goes: a bar each for recordings, a line each for live streams."""
    if session.quiet or not has_watcher():
        await running
        return
    display = _LiveLines() if session.live else _Bars()
    with Live(display.draw(pipeline), console=console, refresh_per_second=8, transient=True) as shown:
        while not running.done():
            await asyncio.wait([running], timeout=_REFRESH_S)
            shown.update(display.draw(pipeline))
    await running


class _Bars:
    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
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
                name,
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


def _summary(snapshot: Snapshot, reports: Mapping[str, StreamReport]) -> str:
    lines = []
    for name, figures in snapshot.streams.items():
        outcome, info = reports[name].outcome, reports[name].info
        if outcome is Outcome.FAILED and not figures.delivered:
            continue  # its error says it all
        ended = outcome.value if outcome else "not run"
        fps = figures.delivered / snapshot.elapsed_s if snapshot.elapsed_s > 0 else 0.0
        drops = f", {figures.dropped_total} dropped" if figures.dropped_total else ""
        decode = f", decode: {info.decoder}" if info and (info.hwaccel or info.hwaccel_note) else ""
        lines.append(
            f"{name}: {ended} after {figures.delivered} frames{drops}{_reconnects(reports[name])}, {fps:.1f} fps, "
            f"latency p50 {_ms(figures.latency_p50_s)} p99 {_ms(figures.latency_p99_s)}{decode}"
        )
    engine = snapshot.engine
    if engine.batches:
        lines.append(
            f"[dim]{engine.batches} batches of {engine.frames / engine.batches:.1f} frames, "
            f"{engine.people} people, {snapshot.elapsed_s:.1f} s[/dim]"
        )
    return "\n".join(lines)


def _reconnects(report: StreamReport) -> str:
    link = report.link
    if link is None or not link.lost:
        return ""
    causes = ", ".join(f"{cause} {count}" for cause, count in link.lost.most_common())
    return f", {link.reconnects} reconnect{'s' * (link.reconnects != 1)} (lost: {causes})"


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.0f} ms"
