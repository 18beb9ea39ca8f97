"""An estimator on its thread, and on another one what is sent ahead of it."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import Any, ClassVar

import numpy as np

from streampose.cores import stay_on_core
from streampose.errors import ConfigError, EngineFailed, ModelOutputError, StreamposeError, WorkerStuck
from streampose.frame import Image
from streampose.inference.estimator import Estimator
from streampose.pose import Poses
from streampose.typed import Typed
from streampose.worker import Nothing, Worker

__all__ = ["EngineThread", "close_all", "free", "give_up", "is_lent", "listed"]

log = logging.getLogger("streampose")

# From the decision to the engine's thread, by way of the event loop and Python's lock.
_HANDING_OVER_S = 0.003
_TAKEN = (
    "an estimator runs in another pipeline: give each its own, or one pipeline all streams, or close the other first "
    "(a loop that was left, over `results` or `stream`, by `close` or `aclose`)"
)
_LEFT = "an estimator still computes a batch that hung as its loop was left, and was left behind: load another one"


class _Lent:
    """An estimator that is one thread's, until that has let go of it."""

    def __init__(self, estimator: Estimator, *, closes: bool) -> None:
        self._estimator, self._closes, self.given_up = estimator, closes, False
        if (other := _lent.setdefault(id(estimator), self)) is not self:
            raise other.refusal()

    def refusal(self) -> ConfigError:
        """Nobody else may have it now."""
        return ConfigError(_LEFT if self.given_up else _TAKEN)

    def close(self) -> None:
        """Give it back, and close it if it is this one's to close."""
        try:
            if self._closes:
                self._estimator.close()
        finally:
            self.give_back()

    def give_back(self) -> None:
        """Others may have it."""
        del _lent[id(self._estimator)]


# By identity: an estimator need be neither hashable nor weakly referable.
_lent: dict[int, _Lent] = {}
if hasattr(os, "register_at_fork"):  # a child has none of the threads
    os.register_at_fork(after_in_child=_lent.clear)


def listed(estimators: Estimator | Sequence[Estimator]) -> list[Estimator]:
    """One, or several, as a list.

    Raises:
        ConfigError: there is none, or one twice, or what is none.
    """
    several = list(estimators) if isinstance(estimators, Sequence) else [estimators]
    if not all(callable(one) and not isinstance(one, type) for one in several):
        raise ConfigError(f"estimators are what load_estimators gives, not {estimators!r:.80}")
    if not several or len({id(one) for one in several}) < len(several):
        raise ConfigError("a pipeline needs at least one estimator, and each of them once")
    return several


def is_lent(estimator: Estimator) -> bool:
    """Whether it runs in a pipeline."""
    return id(estimator) in _lent


def free(estimators: Sequence[Estimator]) -> Sequence[Estimator]:
    """These, as they are.

    Raises:
        ConfigError: one runs in a pipeline.
    """
    for estimator in estimators:
        if (lent := _lent.get(id(estimator))) is not None:
            raise lent.refusal()
    return estimators


def give_up(estimators: Sequence[Estimator]) -> None:
    """They have been waited for long enough: who closes their threads leaves those that compute behind, and warns."""
    for estimator in estimators:
        if (lent := _lent.get(id(estimator))) is not None:
            lent.given_up = True


def _sound(poses: list[Poses]) -> list[Poses]:
    """The same: what has no numbers would else fail in a tracker or an output, which would be blamed for it.

    Raises:
        EngineFailed: it is no list.
        ModelOutputError: a number is none.
    """
    if not isinstance(poses, Sequence | np.ndarray):
        raise EngineFailed(f"the model gave {type(poses).__name__}, not a list of Poses, one for each picture")
    for found in poses:
        if isinstance(found, Poses) and len(found) and not found.is_finite():
            raise ModelOutputError(
                "the model gave a point, box or score that is NaN or infinite: a point that is not known is 0, 0 with "
                "the score 0"
            )
    return poses


class EngineThread:
    """Runs batches one after the other, in the order of the calls; a call need not wait for the one before it.

    An estimator may have an ``ahead``, which sends pictures to the device while another batch computes there; what it
    gives goes with these pictures into its call. Ours have on a GPU.

    Latent pictures are made on its threads.

    Args:
        estimator: what runs.
        name: of its threads.
        core: the one that it stays on (`stay_on_core`); `None` = it runs where there is room.
        closes: the estimator with this.

    Raises:
        ConfigError: the estimator runs on another one.
        StreamposeError: the system has no room for another thread.
    """

    closing_s: ClassVar[float] = 10.0
    """How long a batch that is running is waited for at the end."""

    def __init__(self, estimator: Estimator, name: str, core: int | None = None, *, closes: bool = True) -> None:
        self._estimator, self._name = estimator, name
        self._lent = _Lent(estimator, closes=closes)
        try:
            self._runs = Worker(self._lent, name)
        except StreamposeError:
            self._lent.give_back()
            raise
        if core is not None:
            self._runs.start(stay_on_core, core)
        self._ahead: Callable[[Sequence[Image]], Any] | None = getattr(estimator, "ahead", None)
        self._sending_s = 0.0
        self._sends: Worker[Nothing] | None = None

    @property
    def lead_s(self) -> float:
        """How long before it is free its next batch has to be given to it, so that it goes on without a pause; 0 =
        nothing is gained by that, as on a CPU, which has its cores busy in any pause.
        """
        return _HANDING_OVER_S + self._sending_s if self._sending_s else 0.0

    def __call__(self, images: Sequence[Image]) -> asyncio.Future[list[Poses]]:
        """The people of each image; it is on its way when this returns.

        Raises:
            Exception: whatever the estimator raised, when awaited.
        """
        estimator: Callable[..., list[Poses]] = self._estimator
        if self._ahead is None:
            return self._runs.start(lambda: _sound(estimator(list(images))))
        if self._sends is None:  # not before: where there is no room for a second thread, `aclose` ends the first
            self._sends = Worker(Nothing(), f"{self._name}-ahead")
        sent: Future[Any] = Future()
        self._sends.start(self._send, images, sent)
        # Its thread waits for the other one: on the way through the event loop the device would be idle.
        return self._runs.start(lambda: _sound(estimator(list(images), sent.result())))

    def _send(self, images: Sequence[Image], sent: Future[Any]) -> None:
        assert self._ahead is not None
        began_at = time.monotonic()
        try:
            pixels = self._ahead(images)
        except BaseException as error:  # noqa: BLE001 - raised where the result is asked for
            sent.set_exception(error)
            return
        if pixels is not None:
            self._sending_s += 0.2 * (time.monotonic() - began_at - self._sending_s)
        sent.set_result(pixels)

    async def aclose(self) -> None:
        """End the threads, after any call in progress, and close the estimator if it is this one's to close.

        Raises:
            WorkerStuck: a call did not return in time, and nobody had given it up (`give_up`).
            Exception: whatever the estimator's `close` raised.
        """
        limit_s = 0.5 if self._lent.given_up else self.closing_s
        workers: list[Worker[Any]] = [self._runs] if self._sends is None else [self._runs, self._sends]
        try:
            with Typed(EngineFailed, "closing: "):
                await _side_by_side(worker.aclose(limit_s) for worker in workers)
        except WorkerStuck as error:
            if not self._lent.given_up:
                raise
            log.warning("%s", error)


async def close_all(engines: Iterable[EngineThread]) -> None:
    """Close them side by side: of several that hang none is waited for after the others.

    Raises:
        Exception: what the first of them raised; what others did is logged.
    """
    await _side_by_side(engine.aclose() for engine in engines)


async def _side_by_side(closings: Iterable[Awaitable[None]]) -> None:
    closing = asyncio.gather(*closings, return_exceptions=True)
    try:
        ends = await asyncio.shield(closing)
    except asyncio.CancelledError:
        # All have begun by now: cancelled before, they would leave their threads, and estimators lent, for ever.
        closing.cancel()
        await asyncio.wait([closing])
        raise
    errors = [error for error in ends if error is not None]
    for error in errors[1:]:
        log.warning("%s", error)
    if errors:
        raise errors[0]
