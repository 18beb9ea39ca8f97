"""Many streams, one set of engines.

    source ─▶ ingress ─┐                        ┌▶ outbox ─▶ finish (track, smooth, draw) ─▶ sinks    (per stream)
    source ─▶ ingress ─┼▶ batcher ─▶ engines ───┼▶ outbox ─▶ finish ─▶ sinks
    source ─▶ ingress ─┘                        └▶ …

`Pipeline.run` starts one task for the batcher and one for each stream's `Flow`, where the way of its frames is.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from typing import Any, Self

from streampose.batching import Batcher, BatchPolicy, FixedBatch, LatencyBatch, check_policy
from streampose.clock import Clock, SystemClock
from streampose.cores import available_cores
from streampose.engine_thread import EngineThread, close_all, free, listed
from streampose.errors import ConfigError, StreamposeError
from streampose.flow import Flow
from streampose.inference.estimator import Estimator
from streampose.metrics import EngineMetrics, Snapshot, StreamMetrics
from streampose.share import lane_of
from streampose.streams import Stream, StreamReport, Trace, check, check_all, check_apart

__all__ = ["Pipeline"]


class Pipeline:
    """Many streams through one set of engines.

    Args:
        streams: what to run; names are unique.
        estimators: the engines, one thread each; on a CPU several of one thread mostly beat one of many.
        close_estimators: at its end; `False` keeps them for another pipeline, and closing them is yours.
        policy: sizes the batches; by default `FixedBatch` when no stream is live, else `LatencyBatch`.
        clock: for tests.
        engine_name: what computes, for displays (say, ``"CUDA"``).
        keep_running: run until `stop`, also without any stream; others may be added at any time.
        trace: is told of each frame's way.

    Leaving its context ends a `run` that goes on in a task: as `stop` does, or by an exception as cancelling it does.
    All methods but `snapshot` belong to the event loop: from other threads, use ``loop.call_soon_threadsafe``.

    Raises:
        ConfigError: no stream, or two with one name, source, sink or file; an estimator twice, or none; nonsense.
    """

    def __init__(
        self,
        streams: Collection[Stream],
        estimators: Estimator | Sequence[Estimator],
        *,
        close_estimators: bool = True,
        policy: BatchPolicy | None = None,
        clock: Clock | None = None,
        engine_name: str | None = None,
        keep_running: bool = False,
        trace: Trace | None = None,
    ) -> None:
        if not streams and not keep_running:
            raise ConfigError("a pipeline needs at least one stream")
        check_all(streams)
        self._engines = listed(estimators)
        live = keep_running or any(stream.source.live for stream in streams)
        self._policy = check_policy(policy or (LatencyBatch() if live else FixedBatch()))
        self._clock, self._cores = clock or SystemClock(), available_cores()
        self._close_estimators, self._engine_name, self._trace = close_estimators, engine_name, trace
        self._engine_metrics, self._removed = EngineMetrics(), StreamMetrics()
        self._started_at = self._clock.now()
        self._flows = {stream.name: self._flow(stream, streams) for stream in streams}
        self._tasks: dict[Flow, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._runner: asyncio.Task[Any] | None = None
        self._begun, self._changed, self._ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._keep_running, self._holds = keep_running, 0
        self._batcher: Batcher | None = None
        self._stack, self._stopping, self._over = AsyncExitStack(), False, False

    def _flow(self, stream: Stream, among: Collection[Stream]) -> Flow:
        lane = lane_of(stream, among, self._policy, len(self._engines))
        return Flow(
            stream,
            lane,
            self._clock,
            engine_name=self._engine_name,
            trace=self._trace,
            latent=lambda: lane.live and self._cores_have_engines(),
            stop_all=self.stop,
            alone=lambda: not self._keep_running and not self._running(),
        )

    def _cores_have_engines(self) -> bool:
        """Whether each core has an engine, so that no other could convert pictures while one computes."""
        return len(self._engines) >= self._cores and all(getattr(e, "single_threaded", False) for e in self._engines)

    async def __aenter__(self) -> Self:
        # Recordings are decoded ahead as fast as they can be: they do as well, or better, where everything may move.
        stay = self._cores_have_engines() and (self._keep_running or any(f.lane.live for f in self._flows.values()))
        engines, metrics = list[EngineThread](), self._engine_metrics
        async with AsyncExitStack() as starting:  # there may be no room for another thread
            starting.push_async_callback(close_all, engines)
            for i, one in enumerate(free(self._engines)):
                engines.append(EngineThread(one, f"engine-{i}", i if stay else None, closes=self._close_estimators))
            self._batcher = Batcher(engines, self._policy, self._clock, metrics=metrics, on_failure=self.stop)
            self._stack = starting.pop_all()
        return self

    async def __aexit__(self, kind: object, *_: object) -> None:
        self._begun.set()  # or it never will be
        try:
            if self._runner is not None:
                await self._end(self._runner, at_once=kind is not None)
        finally:
            self._over = True
            for flow in self._flows.values():
                self._stack.push_async_callback(self._let_go, flow)
            await self._stack.aclose()

    async def _end(self, runner: asyncio.Task[Any], *, at_once: bool) -> None:
        """End the `run` that goes on in this task; who is cancelled meanwhile wants it at once, too."""
        self.stop()
        try:
            if at_once:
                runner.cancel()
            await self._ended.wait()
        except asyncio.CancelledError:
            runner.cancel()
            await self._ended.wait()
            raise

    async def _let_go(self, flow: Flow) -> None:
        """Of one that never ran close the source: who pushes into it learns that nobody takes it."""
        if flow.report.outcome is None and flow not in self._tasks and self._batcher is not None:
            flow.stop()
            await flow.run(self._batcher)

    @property
    def reports(self) -> Mapping[str, StreamReport]:
        """How each stream is doing, by name."""
        return {name: flow.report for name, flow in self._flows.items()}

    def snapshot(self) -> Snapshot:
        """All figures, now; from any thread."""
        now, flows = self._clock.now(), dict(self._flows)
        return Snapshot(
            elapsed_s=now - self._started_at,
            streams={n: flow.lane.metrics.snapshot(now, len(flow.lane.ingress)) for n, flow in flows.items()},
            engine=dataclasses.replace(
                self._engine_metrics.snapshot(),
                engines=len(self._engines),
                memory_refusals=sum(getattr(e, "memory_refusals", 0) for e in self._engines),  # users' need not say so
                held_up_s=0.0 if self._batcher is None else self._batcher.held_up_s(now),
            ),
            removed=self._removed.snapshot(now),
        )

    def stop(self) -> None:
        """Stop reading; what is on its way is still delivered, outputs are finished, and `run` returns."""
        self._stopping = True
        for flow in self._flows.values():
            flow.stop()
        self._changed.set()

    async def add(self, stream: Stream) -> None:
        """Let a stream join; it is opened beside the others, and nobody waits for it.

        Raises:
            ConfigError: its name is taken, it makes no sense, or the pipeline is stopping or has run.
        """
        self._check_new(stream)
        flow = self._flows[stream.name] = self._flow(stream, [stream, *self._running()])
        if self._group is not None:
            self._start(flow, self._group)

    def _running(self) -> list[Stream]:
        return [flow.stream for flow in self._flows.values() if flow.report.outcome is None]

    def _check_new(self, stream: Stream, old: str | None = None) -> None:
        check(stream)
        if stream.name in self._flows and stream.name != old:
            raise ConfigError(f"a stream named {stream.name!r} is there already")
        if self._stopping or self._over:
            raise ConfigError(f"stream {stream.name!r} comes too late: the pipeline is stopping, or has run")
        check_apart([stream, *(other for other in self._running() if other.name != old)])

    def _named(self, name: str) -> Flow:
        if (flow := self._flows.get(name)) is None:
            raise ConfigError(f"no stream is named {name!r}")
        return flow

    async def ended(self, name: str) -> StreamReport:
        """Wait until a stream has come to its end, whatever ends it; first, if need be, until `run` begins.

        Raises:
            ConfigError: there is no such stream.
        """
        flow = self._named(name)
        await self._begun.wait()
        if (task := self._tasks.get(flow)) is not None:
            await asyncio.wait([task])
        return flow.report

    async def remove(self, name: str, *, drain_s: float = 10.0) -> StreamReport:
        """Stop a stream: what is on its way is delivered, its outputs are finished, and its name is free again.

        Args:
            name: of the stream; one that has ended or failed can be removed, too.
            drain_s: after so long it is cut off.

        Raises:
            ConfigError: there is no such stream.
        """
        flow = self._named(name)
        flow.stop()
        if (task := self._tasks.get(flow)) is not None:
            _, late = await asyncio.wait([task], timeout=drain_s)
            if late:
                task.cancel()
                await asyncio.wait([task])
        await self._let_go(flow)
        if self._flows.get(name) is flow:  # nobody else has removed it meanwhile
            del self._flows[name]
            self._removed.merge(flow.lane.metrics)
        return flow.report

    def set_budget(self, name: str, budget_s: float | None) -> None:
        """Let a live stream's frames that come from now on have another deadline; `None` = the policy's.

        Raises:
            ConfigError: there is no such stream, or the budget is not positive.
        """
        flow = self._named(name)
        check(dataclasses.replace(flow.stream, budget_s=budget_s))
        flow.lane.budget_s = budget_s

    async def replace(self, stream: Stream) -> None:
        """`remove` the stream of this name, and then `add` this one. Cancelled, it has stopped the old one, which has
        still to be removed.

        Raises:
            ConfigError: there is no such stream, or the new one makes no sense; the old one then goes on.
        """
        self._check_new(stream, old=stream.name)
        with self.held_open():
            await self.remove(stream.name)
            await self.add(stream)

    @contextmanager
    def held_open(self) -> Iterator[None]:
        """While it lasts `run` goes on until `stop`, also without any stream: others will come."""
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1
            self._changed.set()

    def _start(self, flow: Flow, group: asyncio.TaskGroup) -> None:
        assert self._batcher is not None
        task = self._tasks[flow] = group.create_task(flow.run(self._batcher), name=flow.stream.name)
        task.add_done_callback(lambda _: self._tasks.pop(flow))
        task.add_done_callback(lambda _: self._changed.set())

    async def run(self) -> Mapping[str, StreamReport]:
        """Run until every stream has ended; a stream that fails ends alone (see its report).

        Cancelling it cuts everything off at once; outputs are still closed as valid files.

        Returns:
            How each stream ended.

        Raises:
            ModelError: an engine failed, which ends every stream.
            PolicyError: the batch policy is broken.
        """
        if self._batcher is None:
            raise RuntimeError("use the pipeline as a context: async with Pipeline(…) as pipeline")
        if self._over or self._group is not None:
            raise RuntimeError("a pipeline runs once, and within its context: make another one")
        self._started_at, self._runner = self._clock.now(), asyncio.current_task()
        try:
            async with asyncio.TaskGroup() as self._group:
                batcher = self._group.create_task(self._batcher.run(), name="batcher")
                for flow in self._flows.values():
                    self._start(flow, self._group)
                self._begun.set()
                while self._tasks or ((self._keep_running or self._holds) and not self._stopping):
                    self._changed.clear()
                    await self._changed.wait()
                self._over = True
                self._batcher.close()
                await batcher
        except* StreamposeError as failures:
            raise failures.exceptions[0] from failures.exceptions[0].__cause__
        finally:
            self._group, self._runner, self._over = None, None, True
            self._ended.set()
        return self.reports
