"""How fast the engines are alone: the runs that an estimator asks for, recorded, then repeated on ready tensors."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, cycle
from typing import Any

import numpy as np

from streampose.errors import StreamposeError
from streampose.frame import Image
from streampose.inference.loading import PoseEstimator

__all__ = ["EngineRate", "engine_rate"]

_BATCHES = (1, 4, 8)
# So many different batches are recorded: enough to be real, and to fit into memory.
_RECORDED = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRate:
    """The best rate of the engines alone, and the batch that gave it."""

    fps: float
    batch: int


def engine_rate(
    estimators: Sequence[PoseEstimator],
    pictures: Sequence[Image],
    *,
    seconds: float = 1.0,
    batches: Sequence[int] = _BATCHES,
) -> EngineRate:
    """Frames a second of the engines on ready tensors, nothing beside.

    What is in the models' graphs is part of it (for fused ones all pre- and post-processing); sending pictures is not.

    Each estimator gets a thread and runs the same engine calls (detection of the batch, key points of its people) over
    and over; the best batch size counts.

    Args:
        estimators: as `load_estimators` gives them; nobody else may use them meanwhile.
        pictures: what the streams show; batches are made of them.
        seconds: for each batch size.
        batches: the sizes to try.

    Raises:
        ModelError: a model failed.
    """
    best = EngineRate(fps=0.0, batch=0)
    for batch in batches:
        works = [_Work(estimator, pictures, batch) for estimator in estimators]
        begin, until = time.perf_counter(), time.perf_counter() + seconds
        threads = [threading.Thread(target=work.repeat, args=(until,), name="streampose-bound") for work in works]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if error := next((work.error for work in works if work.error is not None), None):
            raise error
        fps = sum(work.frames for work in works) / (time.perf_counter() - begin)
        if fps > best.fps:
            best = EngineRate(fps=fps, batch=batch)
    return best


class _Work:
    """One estimator's engine calls for a few batches."""

    def __init__(self, estimator: PoseEstimator, pictures: Sequence[Image], batch: int) -> None:
        self.frames = 0
        self.error: StreamposeError | None = None
        self._batch = batch
        self._rounds: list[list[Callable[[], Any]]] = []
        for i in range(_RECORDED):
            # Neighbours differ little and are shared out evenly: every batch has some of everything.
            chosen = [pictures[(i + k * len(pictures) // batch) % len(pictures)] for k in range(batch)]
            calls: list[Callable[[], Any]] = []
            with _recording(estimator, calls):
                estimator(chosen)
            self._rounds.append(calls)
        for call in chain(*self._rounds):
            call()

    def repeat(self, until: float) -> None:
        try:
            for calls in cycle(self._rounds):
                for call in calls:
                    call()
                self.frames += self._batch
                if time.perf_counter() >= until:
                    return
        except StreamposeError as error:
            self.error = error


class _Tap:
    """Stands in for an engine and notes its runs."""

    def __init__(self, engine: Any, calls: list[Callable[[], Any]]) -> None:
        self._engine, self._calls = engine, calls

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def run(self, *args: Any, **kwargs: Any) -> Any:
        # Copies: an engine's caller may use its buffers again.
        args, kwargs = _copied(args), {key: _copied(value) for key, value in kwargs.items()}
        self._calls.append(lambda: self._engine.run(*args, **kwargs))
        return self._engine.run(*args, **kwargs)


def _copied(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.copy()
    return type(value)(map(_copied, value)) if isinstance(value, list | tuple) else value


@contextmanager
def _recording(estimator: PoseEstimator, calls: list[Callable[[], Any]]) -> Iterator[None]:
    """Note every run of the estimator's engines, in order."""
    models: Sequence[Any] = estimator.models
    engines = [model.engine for model in models]
    try:
        for model in models:
            model.engine = _Tap(model.engine, calls)
        yield
    finally:
        for model, engine in zip(models, engines, strict=True):
            model.engine = engine
