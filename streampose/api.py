"""The short ways: results of one source, as an async iterator or an ordinary one."""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, ParamSpec, TypeAlias

from streampose.batching import FixedBatch, LatencyBatch
from streampose.channel import Channel, Overflow
from streampose.errors import ChannelClosed, ConfigError
from streampose.frame import StreamInfo
from streampose.inference.engine import EngineOptions
from streampose.inference.estimator import Estimator
from streampose.inference.loading import ModelChoice, load_estimators, usual_batch
from streampose.pipeline import Pipeline
from streampose.render import Renderer
from streampose.result import Result
from streampose.sinks.sink import StopRequested
from streampose.sources import Source, open_source
from streampose.streams import Stream, check
from streampose.tracking import OneEuro, Tracker

__all__ = ["results", "stream"]


async def stream(
    source: str | Path | int | Source,
    *,
    model: str | Path | None = None,
    detector: str | Path | None = None,
    pose: str | Path | None = None,
    choice: ModelChoice | None = None,
    options: EngineOptions | None = None,
    estimators: Sequence[Estimator] | None = None,
    live: bool | None = None,
    budget_s: float = 0.1,
    track: bool = True,
    smooth: bool = False,
    pictures: bool = False,
) -> AsyncGenerator[Result, None]:
    """The people in every frame of a source, as they come.

    A live source drops what the loop around this does not take in time; a recording waits for it. Who leaves the loop
    before its end, and does not want to wait for Python to notice that, closes it::

        async with contextlib.aclosing(streampose.stream("rtsp://camera/1")) as results:
            async for result in results: ...

    The loop must leave the event loop free (no `time.sleep`, no `cv2.waitKey`): in code that is not asynchronous take
    `results`.

    Args:
        source: what `open_source` understands, a camera's number, or a source.
        model: one that does all, a path or a name from the zoo; without any, `streampose-nano`; or
        detector: a detector and
        pose: a key-point model; or
        choice: all of it, with limits (`min_score`, `max_people`) and what a model does not say of itself.
        options: how models are run.
        estimators: those that are loaded already (`load_estimators`); they stay open for the next source.
        live: play a recording at its own speed.
        budget_s: latency that a live stream aims at, from capture to result.
        track: give people identities.
        smooth: calm their key points, too.
        pictures: draw them (`Result.picture`).

    Raises:
        StreamposeError: of the kind that fits; results that came before are not lost.
    """
    opened = open_source(str(source), live=live) if isinstance(source, str | Path | int) else source
    wants = [model, detector, pose, choice, options]
    if estimators is not None and any(want is not None for want in wants):
        raise ConfigError("estimators are loaded already: leave out which models, and options")
    if choice is not None and any(want is not None for want in wants[:3]):
        raise ConfigError("a choice says all of the models: leave out model, detector and pose")
    one = Stream(
        name="stream",  # not the source: a URL may hold a password, and names are shown
        source=opened,
        budget_s=budget_s,
        sinks=[handover := _Handover(wants_picture=pictures)],
        tracker=Tracker() if track or smooth else None,
        smoother=OneEuro() if smooth else None,
        renderer=Renderer(hud=False) if pictures else None,
    )
    check(one)
    # Of what is live the newest result alone waits for the loop.
    handover.results = results = Channel[Result](1, Overflow.DROP_OLDEST) if opened.live else Channel(2)
    keep = estimators is not None
    if estimators is None:
        choice = choice or ModelChoice(model=model, detector=detector, pose=pose)
        estimators = await asyncio.to_thread(load_estimators, choice, options, throughput=not opened.live)
    most = usual_batch(estimators, live=opened.live)
    policy = LatencyBatch(budget_s, max_frames=most) if opened.live else FixedBatch(most)
    async with Pipeline([one], estimators, policy=policy, close_estimators=not keep) as pipeline:
        running = asyncio.create_task(pipeline.run())
        running.add_done_callback(lambda _: results.close())
        try:
            async for result in results:
                yield result
        finally:
            results.close()
            pipeline.stop()
            await running
    if (error := pipeline.reports[one.name].error) is not None:
        raise error


P = ParamSpec("P")
_Results: TypeAlias = AsyncGenerator[Result, None]
_Ordinary: TypeAlias = Generator[Result, None, None]
_Loop: TypeAlias = tuple[asyncio.AbstractEventLoop, asyncio.Event]


def _with_parameters_of(
    generate: Callable[P, _Results],
) -> Callable[[Callable[[_Results], _Ordinary]], Callable[P, _Ordinary]]:
    """Let a function of what another one makes be called with the other one's arguments."""

    def decorate(iterate: Callable[[_Results], _Ordinary]) -> Callable[P, _Ordinary]:
        @functools.wraps(iterate)
        def made(*args: P.args, **options: P.kwargs) -> _Ordinary:
            return iterate(generate(*args, **options))

        signature = inspect.signature(generate, eval_str=True)
        made.__signature__ = signature.replace(return_annotation=_Ordinary)  # type: ignore[attr-defined]
        return made

    return decorate


@_with_parameters_of(stream)
def results(coming: _Results) -> _Ordinary:
    """What `stream` gives, with its arguments, as an ordinary iterator, for code that is not asynchronous::

        for result in streampose.results(0):
            cv2.imshow("camera", result.frame.image)
            cv2.waitKey(1)

    The pipeline runs on a thread of its own, so it goes on while the loop around this computes. Leaving the loop ends
    it, at the latest when the iterator is collected; to be sure of when, ``contextlib.closing(streampose.results(…))``.

    Raises:
        StreamposeError: of the kind that fits; results that came before are not lost.
    """
    made: Future[_Loop] = Future()

    async def home() -> None:
        over = asyncio.Event()
        made.set_result((asyncio.get_running_loop(), over))
        await over.wait()

    def live() -> None:
        try:
            asyncio.run(home())
        except BaseException as error:
            if made.done():
                raise
            made.set_exception(error)

    thread = threading.Thread(target=live, name="streampose-results", daemon=True)
    thread.start()
    loop, over = made.result()
    asking: list[asyncio.Task[Any]] = []

    async def following() -> Result | None:
        asking[:] = [task for task in [asyncio.current_task()] if task is not None]
        return await anext(coming, None)

    async def end() -> None:
        for task in asking:  # by Ctrl-C; else it is done
            task.cancel()
            await asyncio.wait([task])
        await coming.aclose()

    try:
        while (result := asyncio.run_coroutine_threadsafe(following(), loop).result()) is not None:
            yield result
    finally:
        if sys.is_finalizing():  # a script that has ended: the thread is gone
            return  # noqa: B012 - there is nobody to tell
        ending = asyncio.run_coroutine_threadsafe(end(), loop)
        ending.add_done_callback(lambda _: loop.call_soon_threadsafe(over.set))
        if threading.current_thread() is not thread:  # Python may collect the iterator there
            ending.result()
            thread.join()


class _Handover:
    """A sink that puts results into a channel of the event loop that made it."""

    results: Channel[Result]

    def __init__(self, *, wants_picture: bool) -> None:
        self.wants_picture = wants_picture
        self._loop = asyncio.get_running_loop()

    def open(self, stream: str, info: StreamInfo) -> None:
        """Nothing to open."""

    def write(self, result: Result) -> None:
        """Wait until the loop has taken it, if it is that kind of channel."""
        try:
            asyncio.run_coroutine_threadsafe(self.results.put(result), self._loop).result()
        except ChannelClosed:
            raise StopRequested from None

    def close(self) -> None:
        """Nothing to close."""
