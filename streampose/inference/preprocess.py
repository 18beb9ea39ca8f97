"""Pictures to model inputs, and the way back for coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from streampose.frame import Image
from streampose.inference.card import Card, Fit

__all__ = ["Placement", "crop_batch", "crop_frames", "frame_batch", "from_crop", "to_blob"]

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where a picture lies in a model's input: input = picture · scale + offset."""

    offset: tuple[int, int]
    """Left and top."""
    fitted_px: tuple[int, int]
    """Width and height there."""
    size_px: tuple[int, int]
    """Width and height of the picture."""
    input_px: tuple[int, int]
    """Width and height of the input."""

    @classmethod
    def of(cls, image: Image, card: Card, *, stride: int | None = None) -> Placement:
        """As the card wants it.

        Args:
            stride: the input ends at the next multiple of it from where the picture does; `None` = it is the card's.
        """
        width, height = card.size_px
        h, w = image.shape[:2]
        new_w, new_h = width, height
        if card.fit is not Fit.STRETCH:
            # Rounded down, as YOLOX does; the exact scale is kept for each direction, so nothing is lost by it.
            new_w, new_h = min(width, max(1, w * height // h)), min(height, max(1, h * width // w))
            if stride is not None:
                width, height = (min(n, -(-m // stride) * stride) for n, m in ((width, new_w), (height, new_h)))
        x, y = ((width - new_w) // 2, (height - new_h) // 2) if card.fit is Fit.CENTER else (0, 0)
        return cls(offset=(x, y), fitted_px=(new_w, new_h), size_px=(w, h), input_px=(width, height))

    @property
    def scale(self) -> tuple[float, float]:
        """Input pixels to a picture pixel, in each direction."""
        return self.fitted_px[0] / self.size_px[0], self.fitted_px[1] / self.size_px[1]

    def to_picture(self, points: Floats) -> Floats:
        """(…, 2) input pixels → picture pixels, as these models were trained: labels were scaled, nothing else."""
        return np.asarray(
            (points - np.asarray(self.offset, np.float32)) / np.asarray(self.scale, np.float32), np.float32
        )

    def boxes_to_picture(self, boxes: Floats) -> Floats:
        """(n, 4) corners in input pixels → picture pixels, clipped to the picture."""
        corners = self.to_picture(boxes.reshape(-1, 2, 2))
        return np.clip(corners, 0, np.array(self.size_px, np.float32)).reshape(-1, 4)


def frame_batch(images: Sequence[Image], placements: Sequence[Placement], fill: int) -> NDArray[np.uint8]:
    """Whole pictures at the model's size.

    Args:
        images: one or more.
        placements: where each lies; of one `input_px`.
        fill: grey value around them.

    Returns:
        (n, H, W, 3) uint8 BGR.
    """
    width, height = placements[0].input_px
    batch = np.empty((len(images), height, width, 3), np.uint8)
    for canvas, image, placement in zip(batch, images, placements, strict=True):
        (x, y), (w, h) = placement.offset, placement.fitted_px
        if (w, h) != (width, height):
            canvas[:] = fill
        cv2.resize(image, (w, h), dst=canvas[y : y + h, x : x + w], interpolation=cv2.INTER_LINEAR)
    return batch


def crop_frames(boxes: Floats, card: Card) -> Floats:
    """What each person's crop shows: the box grown to the input's shape and by the card's padding.

    Args:
        boxes: (n, 4) x1 y1 x2 y2.

    Returns:
        (n, 4) centre x, centre y, width, height in picture pixels.
    """
    aspect = card.size_px[0] / card.size_px[1]
    size = np.maximum(boxes[:, 2:] - boxes[:, :2], 1.0)
    width = np.maximum(size[:, 0], size[:, 1] * aspect) * card.padding
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    return np.column_stack([centre, width, width / aspect]).astype(np.float32)


def crop_batch(images: Sequence[Image], frames: Sequence[Floats], card: Card) -> NDArray[np.uint8]:
    """One crop per person.

    Args:
        images: n pictures, one for each crop (the same one may come again).
        frames: n × (4,) from `crop_frames`.

    Returns:
        (n, H, W, 3) uint8 BGR; black outside the picture.
    """
    width, height = card.size_px
    batch = np.empty((len(images), height, width, 3), np.uint8)
    edge = 1 if card.udp else 0
    for out, image, (cx, cy, w, h) in zip(batch, images, frames, strict=True):
        # Input pixel → picture pixel, which is the way warpAffine wants it with WARP_INVERSE_MAP.
        sx, sy = w / (width - edge), h / (height - edge)
        matrix = np.array([[sx, 0, cx - sx * (width - edge) / 2], [0, sy, cy - sy * (height - edge) / 2]], np.float64)
        cv2.warpAffine(image, matrix, (width, height), dst=out, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return batch


def from_crop(points: Floats, frames: Floats, card: Card) -> Floats:
    """(n, k, 2) pixels of the crops → picture pixels; the other way round of `crop_batch`."""
    edge = 1 if card.udp else 0
    size = np.array(card.size_px, np.float32) - edge
    centre, extent = frames[:, None, :2], frames[:, None, 2:]
    return ((points / size - 0.5) * extent + centre).astype(np.float32, copy=False)


def to_blob(batch: NDArray[np.uint8], card: Card, dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
    """Pixels to the tensor that the model takes: channel order, layout, (x − mean) / std; whole numbers as they are.

    A look-up for each plane takes 0.12 ms for 320×320 with warm caches and 0.28 with those that a model's run leaves;
    multiplying and adding 0.12 and 0.39, cv2.dnn.blobFromImage 1.4.

    Args:
        batch: (n, H, W, 3) uint8 BGR.

    Returns:
        (n, 3, H, W), or (n, H, W, 3) for `channels_last`, C-contiguous.
    """
    ordered = batch[..., ::-1] if card.rgb else batch
    if np.issubdtype(dtype, np.integer):  # such a model normalises by itself
        return np.ascontiguousarray(ordered if card.channels_last else ordered.transpose(0, 3, 1, 2), dtype)
    if card.channels_last:
        normal = (ordered - np.array(card.mean, np.float32)) / np.array(card.std, np.float32)
        return np.ascontiguousarray(normal, dtype)
    n, height, width, _ = batch.shape
    blob = np.empty((n, 3, height, width), np.float32)
    tables = _tables(card.mean, card.std)
    for planes, image in zip(blob, batch, strict=True):
        channels = cv2.split(image)
        for plane, channel, table in zip(planes, channels[::-1] if card.rgb else channels, tables, strict=True):
            cv2.LUT(channel, table, dst=plane)
    return blob if dtype == np.float32 else blob.astype(dtype)


@lru_cache
def _tables(mean: tuple[float, ...], std: tuple[float, ...]) -> list[Floats]:
    """For each channel, what each of the 256 values of a pixel becomes."""
    values = np.arange(256)
    return [((values - m) / s).astype(np.float32) for m, s in zip(mean, std, strict=True)]
