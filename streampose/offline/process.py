"""Many recordings through one pipeline, each to its end.

    models, through the one `Pipeline`, into a spool ─▶ refine: tracking, and what looks ahead ─▶ files, videos
    (as many recordings at once as engines can use)     (beside the models, on a thread for each recording)

Whatever stops it, the same call goes on where it was: see `job.py`.
"""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from streampose.batching import FixedBatch
from streampose.cores import available_cores
from streampose.errors import ConfigError, SinkUnavailable, SourceError, StreamposeError
from streampose.inference.estimator import Estimator
from streampose.inference.loading import usual_batch
from streampose.offline.finishing import Finishing, Interrupted
from streampose.offline.inputs import Input
from streampose.offline.job import Job, State
from streampose.offline.plan import Plan
from streampose.offline.refinement import Report
from streampose.offline.spool import Spool, SpoolSink
from streampose.pipeline import Pipeline
from streampose.skeletons import said_of
from streampose.sources import Excerpt
from streampose.streams import Outcome, Stream
from streampose.typed import Typed
from streampose.worker import Worker

__all__ = ["Progress", "Stage", "process"]


class Stage(Enum):
    """Where a recording is."""

    WAITING = "waiting"
    MODELS = "models"
    FINISHING = "finishing"
    DONE = "done"
    SKIPPED = "there already"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(slots=True, kw_only=True)
class Progress:
    """How far one recording is; changes while it runs."""

    name: str
    total: int | None
    """Frames that will come, as far as its header says."""
    stage: Stage = Stage.WAITING
    what: str = ""
    """What is being made."""
    frames: int = 0
    """Of those, how many are done in this stage."""
    passes: int = 1
    """How often its frames are gone through: by the models, and for each video that is drawn."""
    passed: int = 0
    """Passes before this one."""
    passing: bool = True
    """Whether what is being made is a pass of its own; files and ids are not, beside models and videos."""
    reused: int = 0
    """Frames that an earlier run had brought through the models."""
    people: int = 0
    error: Exception | None = None
    report: Report | None = None


async def process(
    inputs: Sequence[Input],
    folder: Path,
    plan: Plan,
    load: Callable[[], Sequence[Estimator]],
    *,
    stop: asyncio.Event,
    watch: Callable[[Sequence[Progress]], None] = lambda _: None,
) -> list[Progress]:
    """Bring every recording to its end, or as far as can be until `stop` is set.

    Args:
        inputs: with unique names.
        folder: for what comes out; made if it is not there.
        plan: what is wanted.
        load: gives the engines; called on a thread, and only if a recording needs them.
        stop: set it to break off: what is on its way is kept.
        watch: called once, with what is going to change.

    Returns:
        How each one ended.

    Raises:
        ModelError: the models cannot be loaded or run.
        SinkUnavailable: the folder cannot be made, or is being written to by somebody else.
        ConfigError: something that would be written is one of the recordings.
        FormatUnreadable: a format cannot hold people of the models' skeleton.
    """
    _spare(inputs, folder, plan)
    try:
        work = folder / ".streampose"
        work.mkdir(parents=True, exist_ok=True)
        # No recording is called so: their names begin with no dot.
        with FileLock(work / ".lock").acquire(timeout=0):
            if (left := work / "lock").is_file():  # by an earlier version, where the work on one called "lock" goes
                left.unlink()
            return await _Run(inputs, folder, plan, stop).run(load, watch)
    except Timeout as error:
        raise SinkUnavailable(f"{folder} is being written to by another streampose: wait, or name another") from error
    except OSError as error:
        if isinstance(error, StreamposeError):
            raise
        raise SinkUnavailable(f"{folder} cannot be made: {error.strerror}") from error


def _spare(inputs: Sequence[Input], folder: Path, plan: Plan) -> None:
    """See that no recording is written over, and that none lies in a folder that is replaced."""
    paths = {place: path for one in inputs for path in one.paths for place in (path.resolve(), path.resolve().parent)}
    for one in inputs:
        for name in plan.names(Job(input=one, folder=folder)):
            if (path := paths.get((folder / name).resolve())) is not None:
                raise ConfigError(f"{folder / name} would be written over {path}: name another folder with -o")


class _Run:
    def __init__(self, inputs: Sequence[Input], folder: Path, plan: Plan, stop: asyncio.Event) -> None:
        self._plan, self._stop = plan, stop
        self._jobs = [Job(input=one, folder=folder) for one in inputs]
        self._progress = {
            job.name: Progress(name=job.name, total=_total(job, plan), passes=1 + len(plan.drawings))
            for job in self._jobs
        }
        cores = available_cores()
        self._reading = asyncio.Semaphore(plan.at_once or max(2, cores // 2))
        self._finishing = asyncio.Semaphore(max(1, cores // 2))
        self._stopped = threading.Event()
        self._pipeline: Pipeline | None = None
        self._skeleton: dict[str, Any] = {}

    async def run(
        self, load: Callable[[], Sequence[Estimator]], watch: Callable[[Sequence[Progress]], None]
    ) -> list[Progress]:
        watch(list(self._progress.values()))
        states = {job.name: state for job in self._jobs if (state := self._state(job)) is not None}
        async with AsyncExitStack() as stack:
            if not all(state.whole for state in states.values()):
                estimators = await asyncio.to_thread(load)
                self._skeleton = said_of(estimators[0].skeleton)
                policy = FixedBatch(self._plan.batch or usual_batch(estimators, live=False))
                pipeline = Pipeline([], estimators, policy=policy, keep_running=True)
                self._pipeline = await stack.enter_async_context(pipeline)
                self._plan.check(estimators[0].skeleton)
            try:
                await self._all(states)
            except* StreamposeError as failures:
                raise failures.exceptions[0] from failures.exceptions[0].__cause__
        return list(self._progress.values())

    def _state(self, job: Job) -> State | None:
        """How far it was; `None` = it cannot even be looked at, and has failed."""
        try:
            return job.load(self._plan.found(job))
        except (OSError, ConfigError) as error:
            progress = self._progress[job.name]
            progress.stage, progress.error = Stage.FAILED, error
            return None

    async def _all(self, states: Mapping[str, State]) -> None:
        async with asyncio.TaskGroup() as group:
            listening = group.create_task(self._listen())
            if self._pipeline is not None:
                group.create_task(self._pipeline.run())
            jobs = [group.create_task(self._job(job, states[job.name])) for job in self._jobs if job.name in states]
            if jobs:
                await asyncio.wait(jobs)
            listening.cancel()
            if self._pipeline is not None:
                self._pipeline.stop()

    async def _listen(self) -> None:
        await self._stop.wait()
        self._stopped.set()
        if self._pipeline is not None:
            self._pipeline.stop()

    async def _job(self, job: Job, state: State) -> None:
        progress = self._progress[job.name]
        try:
            async with self._reading:
                broken = await self._find(job, state, progress)
            async with self._finishing:
                ended = await self._finish(job, state, progress)
                # What is left is of drawings that were cut off and are not wanted any more.
                await asyncio.to_thread(shutil.rmtree, job.pieces, ignore_errors=True)
            progress.stage, progress.error = (ended if broken is None else Stage.FAILED), broken
        except Interrupted:
            progress.stage = Stage.STOPPED
        except (StreamposeError, OSError) as error:
            progress.stage, progress.error = Stage.FAILED, error

    async def _find(self, job: Job, state: State, progress: Progress) -> SourceError | None:
        """Bring the frames that are missing through the models.

        Returns:
            Why the recording breaks off, if it does: what comes before is worth having.
        """
        if self._stop.is_set():
            raise Interrupted
        if state.whole:
            progress.frames = progress.reused = state.frames
            return None
        assert self._pipeline is not None
        spool = await asyncio.to_thread(Spool.look, job.found)
        progress.stage, progress.what = Stage.MODELS, "poses"
        progress.frames = progress.reused = spool.frames
        for key, value in self._skeleton.items():
            setattr(state, key, value)
        job.save(state)

        def tick(people: int) -> None:
            progress.frames += 1
            progress.people += people

        resume_at = 0 if spool.last is None else spool.last[0] + 1
        source = Excerpt(job.input.source(self._plan.hwaccel), self._plan.cut, resume_at=resume_at, known=spool.last)
        await self._pipeline.add(Stream(name=job.name, source=source, sinks=[SpoolSink(spool, tick)]))
        await self._pipeline.ended(job.name)
        report = await self._pipeline.remove(job.name)
        state.frames = progress.frames
        if isinstance(report.error, SourceError) and state.frames:
            return report.error
        if report.error is not None:
            raise report.error
        state.whole = report.outcome is Outcome.ENDED
        job.save(state)
        return None

    async def _finish(self, job: Job, state: State, progress: Progress) -> Stage:
        """Make what is not there yet.

        Returns:
            How it ended.
        """
        if self._stop.is_set():
            raise Interrupted
        if not state.frames:
            raise ConfigError(f"no frame of {job.name} lies in the part that was asked for")
        wanted = self._plan.outputs(job, state) if state.poses == self._plan.poses(state) else {}
        if wanted and wanted.items() <= state.outputs.items() and all((job.folder / name).exists() for name in wanted):
            return Stage.SKIPPED if progress.reused == state.frames else Stage.DONE
        drawn = {f"{job.name}{drawing.suffix}" for drawing in self._plan.drawings}
        progress.stage, progress.what, progress.total = Stage.FINISHING, "", state.frames
        progress.passed, progress.passing = 1, False

        def tick(what: str, done: int) -> None:
            if what != progress.what:
                progress.passed += progress.what in drawn
                progress.what, progress.passing = what, what in drawn
            progress.frames = done

        finishing = Finishing(job=job, state=state, plan=self._plan, tick=tick, stopped=self._stopped)
        worker = Worker(finishing, f"finish-{job.name}")
        try:
            progress.report = await worker.call(Typed(StreamposeError, passing=(Interrupted,))(finishing))
        finally:
            await worker.aclose(timeout_s=30.0)
        progress.frames, progress.passed = state.frames, progress.passes
        return Stage.DONE


def _total(job: Job, plan: Plan) -> int | None:
    try:
        info = job.input.info()
    except (SourceError, OSError):  # which is this recording's own, when its turn comes
        return None
    return None if info is None else plan.cut.frames(info)
