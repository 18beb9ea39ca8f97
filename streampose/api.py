"""The short ways: results of a source, or of several, as an async iterator or an ordinary one."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import inspect
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, ParamSpec, TypeAlias, cast

from streampose.batching import FixedBatch, LatencyBatch
from streampose.engine_thread import give_up, is_lent, listed
from streampose.errors import ConfigError, StreamposeError
from streampose.handover import Handover
from streampose.inference.engine import EngineOptions
from streampose.inference.estimator import Estimator
from streampose.inference.loading import ModelChoice, load_estimators, usual_batch
from streampose.pipeline import Pipeline
from streampose.render import Renderer
from streampose.result import Result
from streampose.sources import Source, open_source
from streampose.streams import Stream, check, check_apart
from streampose.tracking import OneEuro, Tracker
from streampose.typed import Typed

__all__ = ["results", "stream"]

_LEAVING_S = 10.0

_Given: TypeAlias = str | Path | int | Source


async def stream(
    source: _Given | Mapping[str, _Given] | Sequence[_Given],
    *,
    model: str | Path | None = None,
    detector: str | Path | None = None,
    pose: str | Path | None = None,
    choice: ModelChoice | None = None,
    options: EngineOptions | None = None,
    estimators: Estimator | Sequence[Estimator] | None = None,
    live: bool | None = None,
    budget_s: float = 0.1,
    track: bool = True,
    smooth: bool = False,
    pictures: bool = False,
) -> AsyncGenerator[Result, None]:
    """The people in every frame of a source, or of several, as they come.

    A live source drops what the loop around this does not take in time; a recording waits for it. Several share the
    models, and the loop takes their results in turns (`Result.frame.stream` says whose one is); one that fails lets
    the others go on (one that is not there at all is told before any begins). Who leaves the loop before its end, and
    does not want to wait for Python to notice that, closes
    it::

        async with contextlib.aclosing(streampose.stream("rtsp://camera/1")) as results:
            async for result in results: ...

    The loop must leave the event loop free (no `time.sleep`, no `cv2.waitKey`): in code that is not asynchronous take
    `results`.

    Args:
        source: what `open_source` understands, a camera's number, or a source; or several: by their names, or a list
            of them, which are then called ``0``, ``1``, ….
        model: one that does all, a path or a name from the zoo; without any, `streampose-nano`; or
        detector: a detector and
        pose: a key-point model; or
        choice: all of it, with limits (`min_score`, `max_people`) and what a model does not say of itself.
        options: how models are run.
        estimators: those that are loaded already (`load_estimators`), or one; they stay open for the next source.
        live: `True` plays a recording at its own speed; `False` asks for every frame, also of drawn figures (a camera
            is refused); `None` = as the source is by nature.
        budget_s: latency that a live stream aims at, seconds from capture to result.
        track: give people identities.
        smooth: calm their key points, too.
        pictures: draw them (`Result.picture`).

    Raises:
        StreamposeError: of the kind that fits; results that came before are not lost. Of several sources it comes when
            all have ended, is that of the first of them, as given, that failed, and its notes tell which did. A warning
            is logged at once.
    """
    wants = [model, detector, pose, choice, options]
    if estimators is not None and any(want is not None for want in wants):
        raise ConfigError("estimators are loaded already: leave out which models, and options")
    if choice is not None and any(want is not None for want in wants[:3]):
        raise ConfigError("a choice says all of the models: leave out model, detector and pose")
    # Not called as the source: a URL may hold a password, and names are shown.
    if isinstance(source, Mapping):
        several: dict[str, _Given] = dict(source)
    elif isinstance(source, Sequence) and not isinstance(source, str | bytes | bytearray):
        several = {str(i): one for i, one in enumerate(source)}
    else:
        several = {"stream": cast("_Given", source)}
    if not several:
        raise ConfigError("there is no source: give one at least")
    handover, streams = Handover(), []
    async with contextlib.AsyncExitStack() as stack:
        with contextlib.ExitStack() as unopened:  # who pushes pictures learns that nobody takes them
            for each in several.values():
                unopened.push(functools.partial(_close_unopened, each))
            for name, one in several.items():
                with _of(name if len(several) > 1 else None):
                    opened = open_source(one, live=live) if isinstance(one, str | Path | int) else one
                streams.append(
                    Stream(
                        name=name,
                        source=opened,
                        budget_s=budget_s,
                        sinks=[handover.sink(live=getattr(opened, "live", False), wants_picture=pictures)],
                        tracker=Tracker() if track or smooth else None,
                        smoother=OneEuro() if smooth else None,
                        renderer=Renderer(hud=False) if pictures else None,
                    )
                )
                check(streams[-1])
            check_apart(streams)
            any_live = any(made.source.live for made in streams)
            if keep := estimators is not None:
                estimators = listed(estimators)
                await _given_back(estimators)
            else:
                choice = choice or ModelChoice(model=model, detector=detector, pose=pose)
                load = functools.partial(load_estimators, throughput=not any_live, streams=len(streams))
                estimators = await asyncio.to_thread(load, choice, options)
            most = usual_batch(estimators, live=any_live)
            policy = LatencyBatch(budget_s, max_frames=most) if any_live else FixedBatch(most)
            pipeline = Pipeline(streams, estimators, policy=policy, close_estimators=not keep)
            await stack.enter_async_context(pipeline)
            unopened.pop_all()
        running = asyncio.create_task(pipeline.run())
        running.add_done_callback(lambda _: handover.close())
        try:
            async for result in handover:
                yield result
        finally:
            handover.close()
            pipeline.stop()
            await _come_to_end(running, estimators)
    errors = {name: report.error for name, report in pipeline.reports.items() if report.error is not None}
    for first in errors.values():
        if len(streams) > 1:
            for name, error in errors.items():
                first.add_note(f"stream {name!r} failed: {error}")
        raise first


def _close_unopened(source: object, _: object, error: BaseException | None, __: object) -> None:
    """For an error before it is opened. That one is told; one of `close`, which may not expect this, beside it."""
    if error is not None and callable(close := getattr(source, "close", None)) and not isinstance(source, type):
        try:
            Typed(StreamposeError, "closing: ")(close)()
        except StreamposeError as unclosed:
            error.add_note(str(unclosed))


async def _come_to_end(running: asyncio.Task[Any], estimators: Sequence[Estimator]) -> None:
    """All that is left to wait for is the models: nobody takes results any more. One that hangs is left behind."""
    try:
        async with asyncio.timeout(_LEAVING_S):
            await running
    except (TimeoutError, asyncio.CancelledError) as error:
        give_up(estimators)
        if not isinstance(error, TimeoutError):
            raise


async def _given_back(estimators: Sequence[Estimator]) -> None:
    """Wait for those of a loop that was left a moment ago, and that Python is about to close; not for ever."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LEAVING_S):
            while any(map(is_lent, estimators)):  # noqa: ASYNC110 - they are given back on threads of any loop
                await asyncio.sleep(0.01)


@contextlib.contextmanager
def _of(name: str | None) -> Iterator[None]:
    """Whose an error is, where there are several."""
    try:
        yield
    except StreamposeError as error:
        if name is not None:
            error.add_note(f"stream {name!r} failed: {error}")
        raise


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
            with asyncio.Runner() as runner:
                runner.get_loop()  # may find no descriptors; then nothing has begun
                runner.run(home())
        except BaseException as error:
            if made.done():
                raise
            made.set_exception(error)

    thread = threading.Thread(target=live, name="streampose-results", daemon=True)
    with Typed(StreamposeError, "no thread with an event loop: "):
        thread.start()
        loop, over = made.result()
    asking: list[asyncio.Task[Any]] = []

    async def following() -> Result | None:
        asking[:] = [task for task in [asyncio.current_task()] if task is not None]
        return await anext(coming, None)

    def ask() -> Result | None:
        if not thread.is_alive():
            raise StreamposeError("their thread is gone: a forked process cannot go on with the results of its parent")
        return asyncio.run_coroutine_threadsafe(following(), loop).result()

    async def end() -> None:
        for task in asking:  # by Ctrl-C; else it is done
            task.cancel()
            await asyncio.wait([task])
        await coming.aclose()

    def leave() -> None:
        """A script ends, and still holds the iterator; or a forked child does, which has no such thread."""
        if thread.is_alive():
            with contextlib.suppress(TimeoutError):  # a driver that hangs must not keep the process alive
                asyncio.run_coroutine_threadsafe(end(), loop).result(_LEAVING_S)

    atexit.register(leave)
    try:
        while (result := ask()) is not None:
            yield result
    finally:
        atexit.unregister(leave)
        # Of a script that has ended, and in a forked child, it is gone.
        if thread.is_alive() and not sys.is_finalizing():
            ending = asyncio.run_coroutine_threadsafe(end(), loop)
            ending.add_done_callback(lambda _: loop.call_soon_threadsafe(over.set))
            if threading.current_thread() is not thread:  # Python may collect the iterator there
                ending.result()
                thread.join()
