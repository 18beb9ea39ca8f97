"""A key-point model alone, before a webcam."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streampose.frame import Image
from streampose.inference.card import Card, Kind
from streampose.inference.preprocess import crop_frames
from streampose.inference.top_down import WholeFrame
from streampose.skeletons import COCO_17

PICTURE = np.zeros((90, 120, 3), np.uint8)


class Seeing:
    """Sees so many points, surely."""

    skeleton = COCO_17
    card = Card(family="movenet", kind=Kind.KEYPOINTS, size_px=(160, 120), skeleton=COCO_17, padding=1.25)

    def __init__(self, count: int) -> None:
        self.crops = np.zeros((0, 4))
        self._scores = np.where(np.arange(17) < count, 0.9, 0.0).astype(np.float32)

    def __call__(self, images: Sequence[Image], boxes: np.ndarray, pixels: object = None) -> tuple[np.ndarray, ...]:
        self.crops = crop_frames(boxes, self.card)
        points = np.random.default_rng(0).uniform(0, 90, (len(images), 17, 2)).astype(np.float32)
        return points, np.tile(self._scores, (len(images), 1))


def test_less_than_a_quarter_of_the_points_is_nobody():
    assert [len(WholeFrame(Seeing(count))([PICTURE])[0]) for count in (0, 4, 5, 17)] == [0, 0, 1, 1]


def test_the_crop_is_the_picture():
    seeing = Seeing(17)
    WholeFrame(seeing)([PICTURE])
    np.testing.assert_allclose(seeing.crops, [[60, 45, 120, 90]], rtol=1e-6)
