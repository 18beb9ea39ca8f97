"""Models that take whole pictures: detectors and one-stage pose models."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streampose.errors import EngineFailed, ModelMismatch
from streampose.frame import Image
from streampose.inference.boxes import DECODERS, Found, Limits
from streampose.inference.card import Card, Fit, Kind
from streampose.inference.engine import Engine
from streampose.inference.on_models import Model, OnModels, check_points
from streampose.inference.pixels import Pixels
from streampose.inference.preprocess import Placement, frame_batch, to_blob
from streampose.pose import Poses

__all__ = ["FrameModel", "OneStage"]

log = logging.getLogger("streampose")

# Of the coarsest features of nearly all detectors; Ultralytics' say so where theirs is another.
_STRIDE = 32


class FrameModel(Model):
    """Finds people in whole pictures.

    Args:
        engine: the model.
        card: what it wants and gives.
        limits: what counts as a person; a fused engine was made with them.

    Raises:
        ModelMismatch: the model takes crops, not pictures.
    """

    def __init__(self, engine: Engine, card: Card, limits: Limits | None = None) -> None:
        if card.kind is Kind.KEYPOINTS:
            raise ModelMismatch(
                f"{engine.path.name} is a {card.kind.value} ({card.family}): it cannot find people. Give it as --pose, "
                "with a --detector"
            )
        super().__init__(engine, card)
        self.limits = limits or Limits()

    def __call__(self, images: Sequence[Image], pixels: Pixels | None = None) -> list[Found]:
        """The people of each picture, in picture pixels.

        Args:
            images: (H, W, 3) uint8 BGR.
            pixels: of these, where others need them, too.
        """
        self.timings.start()
        if self.engine.fused:
            return self._in_graph(images, pixels or Pixels(images, self._staging))
        placements = [self.place(image) for image in images]
        found: dict[int, Found] = {}
        for size in dict.fromkeys(placement.input_px for placement in placements):
            alike = [i for i, placement in enumerate(placements) if placement.input_px == size]
            found |= zip(alike, self._alike([images[i] for i in alike], [placements[i] for i in alike]), strict=True)
        return [found[i] for i in range(len(images))]

    def place(self, image: Image) -> Placement:
        """Where a picture lies in the input."""
        return Placement.of(image, self.card, stride=self._stride)

    def _alike(self, images: Sequence[Image], placements: Sequence[Placement]) -> list[Found]:
        batch = frame_batch(images, placements, self.card.fill)
        blob = to_blob(batch, self.card, self.engine.input_dtype)
        self.timings.lap("preprocess")
        outputs = [_single(output) for output in self.engine.run(blob)]
        self.timings.lap("detect")
        decode, card = DECODERS[self.card.family], replace(self.card, size_px=placements[0].input_px)
        found = [
            _placed(decode([output[i] for output in outputs], card, self.limits), placement)
            for i, placement in enumerate(placements)
        ]
        self.timings.lap("decode")
        return found

    @property
    def _stride(self) -> int | None:
        """What the sides of a rectangular input are multiples of; `None` = it is as its card says."""
        asked = self.engine.options.rect
        wanted = self.card.rect if asked is None else asked
        return self._open_to if wanted and not self.engine.on_gpu else None

    @cached_property
    def _open_to(self) -> int | None:
        """`_stride`, if half the height can be run: a graph may say that its size is open, and hold numbers of one.

        An odd multiple, since its stride may be twice as much.
        """
        card, signature = self.card, self.engine.signature
        if signature.inputs[0].shape[2:] != (None, None) or card.channels_last or card.fit is Fit.STRETCH:
            return None
        said = signature.ultralytics("stride")
        stride = max(_STRIDE, said) if isinstance(said, int) else _STRIDE
        width, height = card.size_px
        half = min(height, stride * (height // stride // 2 | 1))
        try:
            self.engine.run(np.zeros((1, 3, half, width), self.engine.input_dtype))
        except EngineFailed as error:
            log.info("%s runs at %d×%d only: %s", self.engine.path.name, width, height, error)
            return None
        return stride

    def _in_graph(self, images: Sequence[Image], pixels: Pixels) -> list[Found]:
        places = [Placement.of(image, self.card) for image in images]
        place = np.array([(*p.offset, *p.fitted_px) for p in places], np.float32)
        self.timings.lap("preprocess")
        (people,) = self.engine.run(pixels.rows, place, shared=pixels)
        self.timings.lap("detect")
        found = [_found(rows[rows[:, 4] > 0]) for rows in people]
        self.timings.lap("decode")
        return found

    def warm_up(self, sizes: Sequence[int]) -> None:
        """Run once for each batch size."""
        width, height = self.card.size_px
        if self.engine.fused:
            black = np.zeros((height, width, 3), np.uint8)
            self.engine.prepare(sizes, lambda size: self([black] * size))
        else:
            self.engine.warm_up(self.card.item_shape, sizes)
            _ = self._stride  # tried now, not with the first picture


def _single(output: NDArray[Any]) -> NDArray[Any]:
    """Coordinates of 16 bits would be added and halved in 16 bits: those from 2048 on know no halves, nor odd ones."""
    return output.astype(np.float32, copy=False) if np.issubdtype(output.dtype, np.floating) else output


def _found(rows: NDArray[np.float32]) -> Found:
    """(n, 5 + 3·k) rows of a fused graph."""
    points = rows[:, 5:]
    k = points.shape[1] // 3
    found = Found(boxes=rows[:, :4], scores=rows[:, 4], points=points.reshape(len(rows), k, 3) if k else None)
    return found.in_sight()


def _placed(found: Found, placement: Placement) -> Found:
    points = found.points
    if points is not None:
        points = np.concatenate([placement.to_picture(points[..., :2]), points[..., 2:]], axis=2)
    return replace(found, boxes=placement.boxes_to_picture(found.boxes), points=points).in_sight()


class OneStage(OnModels):
    """An estimator whose one model gives boxes and key points at once.

    Raises:
        ModelMismatch: the model gives no key points.
    """

    def __init__(self, model: FrameModel) -> None:
        if model.card.kind is not Kind.ONE_STAGE or model.card.skeleton is None:
            raise ModelMismatch(
                f"{model.engine.path.name} is a {model.card.kind.value} ({model.card.family}): it gives boxes but no "
                "key points. Give it as --detector, with a --pose model"
            )
        super().__init__(model)
        self._model = model
        self.skeleton = model.card.skeleton

    def _people(self, images: Sequence[Image], pixels: Pixels | None) -> list[Poses]:
        return [self._poses(found) for found in self._model(images, pixels)]

    def _poses(self, found: Found) -> Poses:
        assert found.points is not None
        check_points(found.points.shape[1], self.skeleton, self._model.engine.path.name)
        return Poses(
            skeleton=self.skeleton,
            points=np.ascontiguousarray(found.points[..., :2]),
            scores=np.clip(found.points[..., 2], 0, 1),
            boxes=found.boxes,
            box_scores=found.scores,
        )

    def describe(self) -> str:
        """One line: what runs where."""
        return self._model.describe() + self._model.engine.note
