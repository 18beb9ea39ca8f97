"""The models of a window: loaded beside the running streams, and exchanged by a key."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from streampose.errors import ChecksumMismatch, EngineFailed, StreamposeError
from streampose.inference import zoo
from streampose.inference.engine import EngineOptions
from streampose.inference.loading import ModelChoice, PoseEstimator, load_estimators
from streampose.inference.switch import Switch
from streampose.typed import Typed

__all__ = ["Models", "choices_of"]

log = logging.getLogger("streampose")

Load = Callable[[ModelChoice], Sequence[PoseEstimator]]


class Models:
    """Loads one model after the other on a thread of its own and puts it into the engines, between two batches.

    Args:
        choices: by name; the first is loaded first.
        options: how they are run.
        throughput: see `load_estimators`.
        load: makes the estimators of a choice, always as many; for tests.
    """

    def __init__(
        self,
        choices: Mapping[str, ModelChoice],
        options: EngineOptions,
        *,
        throughput: bool = False,
        load: Load | None = None,
    ) -> None:
        self._choices = dict(choices)
        self.names = tuple(choices)
        """The models there are to choose from."""
        if options.sessions is None and not throughput:
            options = replace(options, sessions=1)
        self._options = options
        self._make: Load = load or (lambda choice: load_estimators(choice, self._options, throughput=throughput))
        self.engines = [Switch() for _ in options.each() for _ in range(options.sessions or 1)]
        """What the pipeline runs. `load` makes them as many as there are estimators; `start` fills those there are."""
        self.error: StreamposeError | None = None
        """Why there is no model at all."""
        self.on_loading: Callable[[str], None] = lambda name: None
        """Told, on the loading thread, that a model is being loaded, …"""
        self.on_loaded: Callable[[str, Sequence[PoseEstimator]], None] = lambda name, estimators: None
        """… that it takes the next batch, …"""
        self.on_failed: Callable[[str, StreamposeError], None] = lambda name, error: None
        """… or that it cannot be had: the one before goes on."""
        self._at = 0
        self.current = self.names[0]
        """The one that was loaded last."""
        self._thread: threading.Thread | None = None

    @property
    def ready(self) -> bool:
        """Whether there is a model yet."""
        return self.engines[0].ready

    @property
    def loading(self) -> bool:
        """Whether one is being loaded."""
        return self._thread is not None and self._thread.is_alive()

    def load(self) -> None:
        """Load the first one, here.

        Raises:
            StreamposeError: it cannot be had.
        """
        self.on_loading(self.names[0])
        estimators = self._make(self._choices[self.names[0]])
        self.on_loaded(self.names[0], estimators)
        self.engines[:] = [Switch(estimator) for estimator in estimators]
        # Those that come later have to be as many.
        self._options = replace(self._options, sessions=len(estimators) // len(self._options.each()))

    def start(self) -> None:
        """Begin to load the first one."""
        self._go(0)

    def next(self) -> bool:
        """Begin to load the next one; whether there is one, and no other is being loaded."""
        if len(self.names) < 2 or self.loading:
            return False
        self._go((self._at + 1) % len(self.names))
        return True

    def choose(self, name: str) -> bool:
        """Begin to load this one; whether it is known, and no other is being loaded."""
        if name not in self._choices or self.loading:
            return False
        if name != self.current:
            self._go(self.names.index(name))
        return True

    def close(self) -> None:
        """Wait for what is being loaded: it cannot be interrupted."""
        if self._thread is not None:
            self._thread.join()

    def _go(self, at: int) -> None:
        self._at = at
        self._thread = threading.Thread(target=self._run, args=(self.names[at],), name="streampose-models", daemon=True)
        self._thread.start()

    def _run(self, name: str) -> None:
        self.on_loading(name)
        try:
            with Typed(EngineFailed):  # nobody awaits this thread: whoever listens is told
                estimators = self._make(self._choices[name])
                if len(estimators) != len(self.engines):
                    raise EngineFailed(f"it takes {len(estimators)} sessions, not {len(self.engines)}")
        except StreamposeError as error:
            if not self.ready:
                self.error = error
            self.on_failed(name, error)
            return
        self.current = name
        # Told first: the new one's figures must not stand under the old one's name.
        self.on_loaded(name, estimators)
        for engine, estimator in zip(self.engines, estimators, strict=True):
            engine.put(estimator)


def choices_of(choice: ModelChoice, others: Sequence[str]) -> dict[str, ModelChoice]:
    """The models that a window goes through: the one that was chosen, then the others, or those on this machine.

    Args:
        choice: the first.
        others: names or files, of models that do all, or ``DETECTOR+POSE``; none = every one-stage and key-point model
            that has been pulled, the latter behind the detector of `choice`.
    """
    plain = replace(choice, model=None, detector=None, pose=None, family=None, detector_family=None, skeleton=None)
    choices = {_name_of(choice): choice}
    for text in others or _on_this_machine():
        detector, plus, pose = text.partition("+")
        if plus:
            other = replace(plain, detector=detector or choice.detector, pose=pose)
        elif (known := zoo.entries().get(text)) is not None and known.kind == "keypoints":
            other = replace(plain, detector=choice.detector, detector_family=choice.detector_family, pose=text)
        else:
            other = replace(plain, model=text)
        choices.setdefault(_name_of(other) if other.model is not None or plus else text, other)
    return choices


def _name_of(choice: ModelChoice) -> str:
    names = [_short(m) for m in (choice.model, choice.detector, choice.pose) if m is not None]
    return "+".join(names) or zoo.NANO


def _short(model: object) -> str:
    return str(model).replace("\\", "/").rpartition("/")[2].removesuffix(".onnx")


def _on_this_machine() -> list[str]:
    found = []
    for name, entry in zoo.entries().items():
        try:
            if entry.kind in {"one-stage", "keypoints", "pair"} and zoo.cached(name) is not None:
                found.append(name)
        except ChecksumMismatch as error:
            log.warning("%s", error)
    return found
