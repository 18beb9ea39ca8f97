"""How fast the engines are alone: the runs that an estimator asks for, recorded, then repeated on ready tensors."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, cycle, repeat
from typing import Any

import numpy as np

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
        begin = time.perf_counter()
        with ThreadPoolExecutor(len(works), "streampose-bound") as pool:
            frames = sum(pool.map(_Work.repeat, works, repeat(begin + seconds)))
        fps = frames / (time.perf_counter() - begin)
        if fps > best.fps:
            best = EngineRate(fps=fps, batch=batch)
    return best


class _Work:
    """One estimator's engine calls for a few batches."""

    def __init__(self, estimator: PoseEstimator, pictures: Sequence[Image], batch: int) -> None:
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

    def repeat(self, until: float) -> int:
        """Again and again, until a time: how many frames that were."""
        done, rounds = 0, cycle(self._rounds)
        while not done or time.perf_counter() < until:
            for call in next(rounds):
                call()
            done += self._batch
        return done


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
