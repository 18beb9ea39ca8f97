"""Top-down estimators: first the people, then the key points of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streampose.errors import ModelMismatch
from streampose.frame import Image
from streampose.inference.boxes import Found
from streampose.inference.card import Card, Kind
from streampose.inference.engine import Engine
from streampose.inference.frame_model import FrameModel
from streampose.inference.heatmap import decode_heatmaps, decode_simcc
from streampose.inference.on_models import Model, OnModels, check_points
from streampose.inference.pixels import Pixels
from streampose.inference.preprocess import crop_batch, crop_frames, from_crop, to_blob
from streampose.pose import Poses, Skeleton

__all__ = ["KeypointModel", "TopDown", "WholeFrame"]

Floats = NDArray[np.float32]


def _heatmap(outputs: Sequence[NDArray[Any]], card: Card) -> tuple[Floats, Floats]:
    (maps,) = outputs
    points, scores = decode_heatmaps(
        maps.astype(np.float32, copy=False), card.refine, blur_px=card.blur_px, udp=card.udp
    )
    edge = 1 if card.udp else 0
    cells = np.array([maps.shape[3] - edge, maps.shape[2] - edge], np.float32)
    return points * ((np.array(card.size_px, np.float32) - edge) / cells), scores


def _simcc(outputs: Sequence[NDArray[Any]], card: Card) -> tuple[Floats, Floats]:
    x_bins, y_bins = outputs
    return decode_simcc(x_bins, y_bins, x_bins.shape[2] / card.size_px[0])


def _movenet(outputs: Sequence[NDArray[Any]], card: Card) -> tuple[Floats, Floats]:
    """MoveNet single pose: (n, 1, 17, 3) of y, x in 0 … 1, score."""
    rows = outputs[0][:, 0].astype(np.float32, copy=False)
    points = np.ascontiguousarray(rows[..., 1::-1]) * np.array(card.size_px, np.float32)
    return points, np.clip(rows[..., 2], 0, 1)


_DECODERS: dict[str, Callable[[Sequence[NDArray[Any]], Card], tuple[Floats, Floats]]] = {
    "heatmap": _heatmap,
    "vitpose": _heatmap,
    "simcc": _simcc,
    "movenet": _movenet,
}


class KeypointModel(Model):
    """The key points of people whose boxes are known.

    Args:
        engine: the model.
        card: what it wants and gives.

    Raises:
        ModelMismatch: the model takes whole pictures, not crops.
    """

    def __init__(self, engine: Engine, card: Card) -> None:
        if card.kind is not Kind.KEYPOINTS or card.skeleton is None:
            alone = "on its own as --model" if card.kind is Kind.ONE_STAGE else "as --detector"
            raise ModelMismatch(
                f"{engine.path.name} is a {card.kind.value} ({card.family}), not a key-point model: give it {alone}"
            )
        super().__init__(engine, card)
        self.skeleton: Skeleton = card.skeleton

    def __call__(
        self, images: Sequence[Image], boxes: Floats, owners: Sequence[int] | None = None, pixels: Pixels | None = None
    ) -> tuple[Floats, Floats]:
        """Key points of n people.

        Args:
            images: the pictures.
            boxes: (n, 4) x1 y1 x2 y2 in picture pixels.
            owners: for each person the number of the picture; `None` = one in each.
            pixels: of the pictures, where others need them, too.

        Returns:
            (n, k, 2) picture pixels and (n, k) scores in [0, 1].
        """
        self.timings.start()
        frames = crop_frames(boxes, self.card)
        owners = range(len(images)) if owners is None else owners
        if self.engine.fused:
            return self._in_graph(frames, owners, pixels or Pixels(images, self._staging))
        pictures = [images[owner] for owner in owners]
        blob = to_blob(crop_batch(pictures, list(frames), self.card), self.card, self.engine.input_dtype)
        self.timings.lap("crop")
        outputs = self.engine.run(blob)
        self.timings.lap("keypoints")
        points, scores = _DECODERS[self.card.family](outputs, self.card)
        check_points(points.shape[1], self.skeleton, self.engine.path.name)
        points = from_crop(points, frames, self.card)
        self.timings.lap("decode")
        return points, scores

    def _in_graph(self, frames: Floats, owners: Sequence[int], pixels: Pixels) -> tuple[Floats, Floats]:
        self.timings.lap("crop")
        (points,) = self.engine.run(pixels.rows[owners], frames, shared=pixels)
        self.timings.lap("keypoints")
        return np.ascontiguousarray(points[..., :2]), np.ascontiguousarray(points[..., 2])

    def warm_up(self, sizes: Sequence[int]) -> None:
        """Run once for each batch size."""
        width, height = self.card.size_px
        if self.engine.fused:
            black, box = np.zeros((height, width, 3), np.uint8), np.array([[0, 0, width, height]], np.float32)
            self.engine.prepare(sizes, lambda size: self([black], np.repeat(box, size, axis=0), [0] * size))
        else:
            self.engine.warm_up(self.card.item_shape, sizes)


class TopDown(OnModels):
    """A detector, then key points for the people of all pictures of the batch together.

    Raises:
        ModelMismatch: a model is not of the kind for its place.
    """

    def __init__(self, detector: FrameModel, keypoints: KeypointModel) -> None:
        super().__init__(detector, keypoints)
        self._detector, self._keypoints = detector, keypoints
        self.skeleton = keypoints.skeleton

    def _people(self, images: Sequence[Image], pixels: Pixels | None) -> list[Poses]:
        if pixels is None and (self._detector.engine.fused or self._keypoints.engine.fused):
            pixels = Pixels(images, self._staging)
        found = self._detector(images, pixels)
        counts = [len(f.boxes) for f in found]
        if not sum(counts):
            return [Poses.empty(self.skeleton) for _ in images]
        owners = [i for i, count in enumerate(counts) for _ in range(count)]
        points, scores = self._keypoints(images, np.concatenate([f.boxes for f in found]), owners, pixels)
        ends = np.cumsum(counts)
        return [
            self._poses(f, points[end - count : end], scores[end - count : end])
            for f, count, end in zip(found, counts, ends, strict=True)
        ]

    def _poses(self, found: Found, points: Floats, scores: Floats) -> Poses:
        return Poses(skeleton=self.skeleton, points=points, scores=scores, boxes=found.boxes, box_scores=found.scores)

    def describe(self) -> str:
        """One line: what runs where."""
        return f"{self._detector.describe()} + {self._keypoints.describe()}{self._keypoints.engine.note}"


class WholeFrame(OnModels):
    """A key-point model alone, for one person who fills a good part of the picture, as before a webcam.

    Args:
        keypoints: the model.
        min_score: below this mean score of the points that score at all there is nobody.
    """

    # A point counts towards "somebody is there" from this score on.
    _SEEN = 0.1

    def __init__(self, keypoints: KeypointModel, min_score: float = 0.3) -> None:
        super().__init__(keypoints)
        self._keypoints, self._min_score = keypoints, min_score
        self.skeleton = keypoints.skeleton

    def _people(self, images: Sequence[Image], pixels: Pixels | None) -> list[Poses]:
        # The card's padding is for boxes around people; here the crop is the picture itself.
        padding = self._keypoints.card.padding
        boxes = np.array([_shrunk(image.shape[1], image.shape[0], padding) for image in images], np.float32)
        points, scores = self._keypoints(images, boxes, pixels=pixels)
        return [self._poses(p, s) for p, s in zip(points, scores, strict=True)]

    def _poses(self, points: Floats, scores: Floats) -> Poses:
        seen = scores >= self._SEEN
        score = float(scores.mean())
        # At least a quarter of the points, and sure of them on the whole.
        if seen.sum() < len(scores) / 4 or scores[seen].mean() < self._min_score:
            return Poses.empty(self.skeleton)
        box = np.concatenate([points[seen].min(axis=0), points[seen].max(axis=0)])
        return Poses(
            skeleton=self.skeleton,
            points=points[None],
            scores=scores[None],
            boxes=box[None],
            box_scores=np.array([score], np.float32),
        )

    def describe(self) -> str:
        """One line: what runs where."""
        return f"{self._keypoints.describe()}, one person in the whole frame{self._keypoints.engine.note}"


def _shrunk(width: int, height: int, padding: float) -> tuple[float, float, float, float]:
    """The box that, grown by `padding`, is the picture."""
    dx, dy = width * (1 - 1 / padding) / 2, height * (1 - 1 / padding) / 2
    return dx, dy, width - dx, height - dy
