"""Drawn people with exact labels: the package's own, as many as wanted."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from streampose.sources import SyntheticSource
from training.nano.photos import Person, Photo, write_labels

__all__ = ["draw_figures"]

# Seeds from here on; `streampose demo` and the tests use small ones.
FIRST_SEED = 10_000


def draw_figures(folder: Path, labels: Path, count: int) -> None:
    """Draw `count` pictures, each another cast in another room, and write their labels."""
    folder.mkdir(parents=True, exist_ok=True)
    photos = []
    for number in range(count):
        rng = np.random.default_rng(number)
        sizes = [(640, 360), (480, 640), (640, 480)]
        width, height = sizes[int(rng.integers(3))]
        source = SyntheticSource(
            people=int(rng.integers(1, 5)), width_px=width, height_px=height, seed=FIRST_SEED + number, live=False
        )
        index = int(rng.integers(0, 300))
        path = folder / f"figures{number:05d}.png"
        cv2.imwrite(str(path), source.render(index))
        truth = source.truth(index)
        people, ignore = [], []
        for points, scores, box in zip(truth.points, truth.scores, truth.boxes, strict=True):
            if min(box[2:] - box[:2]) < 6:
                continue
            if (scores == 1).sum() < 3:
                ignore.append(box)
                continue
            level = np.where(scores == 0, np.nan, np.where(scores == 1, 1.0, 0.5))
            people.append(Person(box=box, points=np.column_stack([points, level]).astype(np.float32), by_hand=True))
        photos.append(Photo(path=path, width=width, height=height, people=people, ignore=ignore, complete=True))
    write_labels(labels, photos)
