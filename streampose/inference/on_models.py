"""What all our estimators have: models, what each says and does, and all of them together."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Self

from streampose.errors import ConfigError, ModelOutputError
from streampose.frame import Image, is_picture, no_picture
from streampose.inference.card import Card
from streampose.inference.engine import Engine
from streampose.inference.pixels import Pixels, Staging
from streampose.inference.providers import DEVICE_OF
from streampose.inference.stopwatch import Stopwatch, total_seconds
from streampose.pose import Poses, Skeleton

__all__ = ["Model", "OnModels", "check_points"]

log = logging.getLogger("streampose")


def _check_pictures(images: Sequence[Image]) -> None:
    """What is none is said before models look at it, who would find nobody there. 0.3 µs each.

    Raises:
        ConfigError: one is none, and the message has its shape and dtype; or there is one picture alone.
    """
    if getattr(images, "ndim", 0) == 3:
        raise ConfigError("an estimator takes a list of pictures, and this is one picture: give it as [picture]")
    for image in images:
        if not is_picture(image):
            raise ConfigError(no_picture(image))


def check_points(count: int, skeleton: Skeleton, model: str) -> None:
    """Where a graph leaves open how many key points it gives, only its output says.

    Raises:
        ModelOutputError: the skeleton has another number.
    """
    if count != len(skeleton):
        raise ModelOutputError(
            f"{model} gives {count} key points, and its skeleton {skeleton.name} has {len(skeleton)}: "
            "name the right one (--skeleton, or ModelChoice's skeleton)"
        )


class Model(ABC):
    """A model of an estimator.

    Args:
        engine: runs it.
        card: what it wants and gives.
    """

    def __init__(self, engine: Engine, card: Card) -> None:
        self.engine, self.card = engine, card
        self.timings = Stopwatch()
        self._staging = Staging()

    @abstractmethod
    def warm_up(self, sizes: Sequence[int]) -> None:
        """Run once for each batch size."""

    def describe(self) -> str:
        """One line: what runs where."""
        width, height = self.card.size_px
        return f"{self.engine.path.name} ({self.card.family}, {width}×{height}, {self.engine.where})"

    def close(self) -> None:
        """Let go of the session."""
        self.engine.close()


class OnModels(ABC):
    """All models of an estimator."""

    def __init__(self, *models: Model) -> None:
        self.models = models
        """In the order in which they run."""
        self._staging = Staging()

    def __call__(self, images: Sequence[Image], pixels: Pixels | None = None) -> list[Poses]:
        """The people of each picture; `pixels` as `ahead` gave them."""
        _check_pictures(images)
        return self._people(images, pixels) if len(images) > 0 else []

    @abstractmethod
    def _people(self, images: Sequence[Image], pixels: Pixels | None) -> list[Poses]:
        """Of one picture or more."""

    @property
    def on_gpu(self) -> bool:
        """Whether the first runs on a GPU."""
        return self.models[0].engine.on_gpu

    @property
    def threads(self) -> int:
        """CPU threads of each of its sessions."""
        return self.models[0].engine.threads

    @property
    def single_threaded(self) -> bool:
        """Whether it computes on the thread that calls it alone; fused ones have their pictures joined by others."""
        return not any(model.engine.on_gpu or model.engine.fused or model.engine.threads > 1 for model in self.models)

    @property
    def device(self) -> str:
        """What the first runs on: ``tensorrt``, ``cuda`` or ``cpu``."""
        return DEVICE_OF[self.models[0].engine.provider]

    @property
    def max_batch(self) -> int:
        """Of one run of the first."""
        return self.models[0].engine.options.max_batch

    @property
    def memory_refusals(self) -> int:
        """How often the device had no memory for a batch."""
        return sum(model.engine.memory_refusals for model in self.models)

    def warm_up(self, sizes: Sequence[int] | None = None) -> None:
        """Run once for each batch size (`None` = all), so that no real frame pays for a first time."""
        for model in self.models:
            model.warm_up(range(1, model.engine.options.max_batch + 1) if sizes is None else sizes)

    @property
    def ahead(self) -> Callable[[Sequence[Image]], Pixels] | None:
        """Sends pictures to the GPU, on another thread than the one that runs, while that computes the batch before.

        What it gives goes with the pictures into the call. `None` where the CPU prepares them.
        """
        return self._send if self._fused_on_gpu() else None

    def _send(self, images: Sequence[Image]) -> Pixels:
        pixels = Pixels(images, self._staging)
        try:
            for engine in self._fused_on_gpu():
                engine.send(pixels)
        except Exception as error:  # the run sends them again, and there it is known what to do about it
            log.debug("pictures were not sent ahead: %s", error, exc_info=error)
        return pixels

    def _fused_on_gpu(self) -> list[Engine]:
        return [model.engine for model in self.models if model.engine.fused and model.engine.on_gpu]

    def stage_seconds(self) -> Mapping[str, float]:
        """Seconds spent so far in each of `STAGES`."""
        return total_seconds(*(model.timings for model in self.models))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the sessions; ``with load_estimator() as estimator:`` does so at its end."""
        for model in self.models:
            model.close()
