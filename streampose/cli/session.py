"""One run from the command line: models, pipeline, progress, Ctrl-C, summary."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import streampose
from streampose.batching import BatchPolicy, FixedBatch, Gated, LatencyBatch
from streampose.cli.mixture import Mixture
from streampose.cli.progress import show_progress, summary
from streampose.cli.roster import Roster
from streampose.cli.say import dim, fail, say
from streampose.cli.standard import to_nowhere
from streampose.cores import share_cores
from streampose.formats.coco import check_coco
from streampose.inference.engine import EngineOptions
from streampose.inference.loading import ModelChoice, PoseEstimator, describe_all, load_estimators, usual_batch
from streampose.interrupt import let_hang_ups_come
from streampose.loop import run_async
from streampose.observe.watch import Watch, WatchOptions
from streampose.pipeline import Pipeline
from streampose.pose import Skeleton
from streampose.preview import Models, Preview, Screen, choices_of
from streampose.redaction import redact
from streampose.sinks import CocoSink
from streampose.streams import Outcome, Stream
from streampose.worker import Nothing, Worker

__all__ = ["Session", "before_anything", "beside", "interrupts", "run_session", "start_session"]

T = TypeVar("T")

# `timeout` asks the process and then its group, within microseconds: that is one wish.
_SAME_WISH_S = 0.5


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

    def check(self, skeleton: Skeleton) -> None:
        """See before any work whether the outputs can hold what the models find.

        Raises:
            FormatUnreadable: one cannot.
        """
        if any(isinstance(sink, CocoSink) for stream in self.streams for sink in stream.sinks):
            check_coco(skeleton)

    def policy(self, usual_batch: int) -> BatchPolicy:
        """The one for these streams."""
        most = self.batch or usual_batch
        if self.live:
            return LatencyBatch(self.budget_s, max_frames=most)
        return FixedBatch(most) if self.roster is None else Mixture(self.budget_s, most)


def start_session(session: Session) -> int:
    """Run it, with its windows on this thread if it has some, and return the exit code.

    Raises:
        StreamposeError: the models cannot be loaded or run, or there is no screen.
    """
    work = run_session(session)
    listening = contextlib.nullcontext() if session.roster is None else session.roster.listening()
    with before_anything(), listening:
        let_hang_ups_come()
        return run_async(work) if session.preview is None else session.preview.run(work)


@contextlib.contextmanager
def before_anything() -> Iterator[None]:
    """Around a whole run: a Ctrl-C before there is anything to drain leaves at once, with 130.

    With windows on live streams it waits for the models: their thread is joined before this is reached.
    """
    try:
        yield
    except (KeyboardInterrupt, asyncio.CancelledError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # one more would go to the very end that is avoided here
        with contextlib.suppress(OSError):  # its terminal may be gone
            say("cut off")
        logging.shutdown()
        # A thread that loads a model may be inside of the runtime, where the interpreter's own end aborts the process.
        os._exit(130)
    # The interpreter's end takes every signal's handler away.
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_DFL:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


async def run_session(session: Session) -> int:
    """Run it, and return the exit code.

    Raises:
        StreamposeError: the models cannot be loaded or run.
    """
    async with Watch(session.watch, version=streampose.__version__) as watch:
        if watch.port is not None and not session.quiet:
            say(dim(f"metrics at port {watch.port}"))
        return await _run(session, watch)


async def _run(session: Session, watch: Watch) -> int:
    share_cores()
    if session.preview is not None:
        return await _run_with_windows(session, watch, session.preview)
    load = partial(load_estimators, throughput=not session.live, streams=len(session.streams))
    estimators = await beside(partial(load, session.choice, session.options))
    _describe(session, estimators)
    engine_name = "GPU" if estimators[0].on_gpu else "CPU"
    policy = session.policy(usual_batch(estimators, live=session.live))
    async with Pipeline(
        session.streams, estimators, policy=policy, engine_name=engine_name, trace=watch.trace
    ) as pipeline:
        session.check(estimators[0].skeleton)
        return await _to_its_end(session, watch, pipeline)


async def _run_with_windows(session: Session, watch: Watch, preview: Preview) -> int:
    """Live streams begin to be seen while the models load; recordings wait for them, to be run by all cores."""
    choices = choices_of(session.choice, session.other_models)
    models = Models(choices, session.options, throughput=not session.live)
    preview.on_loaded = lambda estimators: _describe(session, estimators)
    preview.follow(models)
    # There is a policy before there is an engine.
    policy = session.policy(16 if session.live else 4)
    try:
        if session.live:
            models.start()
            policy = Gated(policy, lambda: models.ready)
        else:
            await beside(models.load)
            session.check(models.engines[0].skeleton)
        async with Pipeline(session.streams, models.engines, policy=policy, trace=watch.trace) as pipeline:
            return await _to_its_end(session, watch, pipeline, models)
    finally:
        await asyncio.to_thread(models.close)


async def beside(load: Callable[[], T]) -> T:
    """Load on a thread of its own: whoever asks meanwhile is answered, and who is cancelled does not wait for it.

    Raises:
        Exception: whatever it raised.
    """
    # Not `asyncio.to_thread`: the end of a loop waits for that.
    worker = Worker(Nothing(), "loading")
    loading = worker.start(load)
    await asyncio.wait([loading])  # whoever is cancelled here leaves it behind
    await worker.aclose()
    return loading.result()


def _describe(session: Session, estimators: Sequence[PoseEstimator]) -> None:
    if not session.quiet:
        say(dim(describe_all(estimators)))


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
    changing = contextlib.nullcontext() if session.roster is None else session.roster.following(pipeline)
    with changing, interrupts(watch.stopping(stop), running.cancel, None if preview is None else preview.screen):
        if session.stop_after_s is not None:
            loop.call_later(session.stop_after_s, watch.stopping(pipeline.stop))
        try:
            await (running if session.quiet else show_progress(pipeline, running, live=session.live))
        except asyncio.CancelledError:
            if models is not None and models.error is not None:
                raise models.error from None
            if preview is not None and preview.screen.quit:
                return 0
            say("cut off")
            return 130
    if not session.quiet and (words := summary(pipeline.snapshot(), pipeline.reports, live=session.live)):
        say(words)
    failed = [(name, report.error) for name, report in pipeline.reports.items() if report.outcome is Outcome.FAILED]
    for name, error in failed:
        fail(redact(f"{name}: {error}" if len(pipeline.reports) > 1 else str(error)))
    return 1 if failed else 0


@contextlib.contextmanager
def interrupts(
    stop: Callable[[], object], cancel: Callable[[], object], screen: Screen | None = None
) -> Iterator[None]:
    """The first Ctrl-C (or SIGTERM) drains, the second cuts off; so does a terminal that is closed, but for its second.

    With windows, they have the signals' thread.
    """
    loop = asyncio.get_running_loop()
    terminals = [number for number in (1, 2) if os.isatty(number)]
    count, asked_at = 0, float("-inf")

    def interrupted(number: int = signal.SIGINT) -> None:
        nonlocal count, asked_at
        if number == signal.SIGTERM:
            if (now := loop.time()) - asked_at < _SAME_WISH_S:
                return
            asked_at = now
        count += 1
        # Before any word: where nobody can be told, it is obeyed all the same.
        if count == 1:
            stop()
        else:
            cancel()
        _let_go([number for number in terminals if not os.isatty(number)])
        if count == 1:
            with contextlib.suppress(OSError):
                say("stopping: delivering what is on its way (Ctrl-C again cuts it off)")

    def hung_up() -> None:
        if not count:
            interrupted()

    def hang_up(*_: object) -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # both the system and a shell send one
        _let_go(terminals)  # at once: the next word may be said before the loop has its turn
        loop.call_soon_threadsafe(hung_up)

    if screen is not None:
        screen.on_interrupt = lambda number: loop.call_soon_threadsafe(interrupted, number)
        yield
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    previous = {}
    # Not where it is ignored (nohup), or has another meaning (a roster).
    may_hang_up = hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_DFL
    if may_hang_up:
        signal.signal(signal.SIGHUP, hang_up)
    for number in signals:
        try:
            loop.add_signal_handler(number, interrupted, number)
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
        if may_hang_up and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            # What was stopped ends well, even if its terminal does not wait for that.
            signal.signal(signal.SIGHUP, (lambda *_: _let_go(terminals)) if count else signal.SIG_DFL)


def _let_go(terminals: Sequence[int]) -> None:
    """What is said on these goes nowhere from now on, instead of being an error."""
    with contextlib.suppress(OSError):  # no file can be opened any more
        for number in terminals:
            to_nowhere(number)
