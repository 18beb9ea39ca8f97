"""The photos in memory, with their labels, brought to a size that training wants."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from training.nano.photos import Photo, read_labels

__all__ = ["Album", "Page", "body_mask"]

LONGEST_PX = 640
"""Photos are kept with no side longer than this: ten thousand athletes of 320 fit into 3 GB."""


@dataclass(slots=True)
class Page:
    """One photo in memory."""

    image: NDArray[np.uint8]
    photo: Photo
    """Its labels, in the pixels of `image`."""


class Album:
    """The labelled photos of several folders.

    Args:
        labels: files of `label`.
        weights: how often each file's photos are looked at, relative to their number.
        held_out: those kept for checking, or all others.
    """

    def __init__(self, labels: Sequence[Path], weights: Sequence[float], *, held_out: bool) -> None:
        self.pages: list[Page] = []
        shares: list[float] = []
        for file, weight in zip(labels, weights, strict=True):
            for photo in read_labels(file):
                if _is_held_out(photo.path) == held_out:
                    self.pages.append(_page(photo))
                    shares.append(weight)
        self.weights = np.array(shares)
        self._empty = [page for page in self.pages if not page.photo.people and not page.photo.ignore]

    def background(self, rng: np.random.Generator) -> NDArray[np.uint8]:
        """A photo with nobody; where there is none, a photo of anything."""
        pages = self._empty or self.pages
        return pages[int(rng.integers(len(pages)))].image


def _is_held_out(path: Path) -> bool:
    """One photo of forty, the same ones in every run."""
    return zlib.crc32(path.name.encode()) % 40 == 0


def _page(photo: Photo) -> Page:
    image, scale = photo.read(LONGEST_PX)
    photo.height, photo.width = image.shape[:2]
    for person in photo.people:
        person.box = person.box * scale
        if person.points is not None:
            # Points count pixels by their middles, boxes by their edges.
            person.points = person.points.copy()
            person.points[:, :2] = (person.points[:, :2] + 0.5) * scale - 0.5
    photo.ignore = [box * scale for box in photo.ignore]
    return Page(image, photo)


_LIMBS = (
    (5, 7), (7, 9), (6, 8), (8, 10), (11, 13), (13, 15), (12, 14), (14, 16), (5, 6), (11, 12), (5, 11), (6, 12),
)  # fmt: skip


def body_mask(points: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32] | None:
    """Roughly where a body is, (H, W, 1) in [0, 1]: thick limbs, the trunk, a disc for the head.

    `None`: its shoulders and hips are not all known.
    """
    seen = points[:, 2] > 0.3
    if not seen[[5, 6, 11, 12]].all() or seen.sum() < 10:
        return None
    xy = points[:, :2]
    trunk = float(np.linalg.norm((xy[5] + xy[6] - xy[11] - xy[12]) / 2))
    breadth = max(4, round(0.42 * max(trunk, float(np.linalg.norm(xy[5] - xy[6])))))
    mask = np.zeros(shape, np.uint8)
    at = [(round(float(x)), round(float(y))) for x, y in xy]
    for a, b in _LIMBS:
        if seen[a] and seen[b]:
            cv2.line(mask, at[a], at[b], 255, breadth)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.array([at[5], at[6], at[12], at[11]], np.int32)), 255)
    face = xy[:5][seen[:5]]
    neck = (xy[5] + xy[6]) / 2
    head = face.mean(axis=0) if len(face) else neck + 0.4 * (neck - (xy[11] + xy[12]) / 2)
    cv2.circle(mask, (round(float(head[0])), round(float(head[1]))), max(3, round(0.75 * breadth)), 255, -1)
    soft = cv2.GaussianBlur(mask, (0, 0), max(0.8, breadth / 8))
    return (soft.astype(np.float32) / 255)[..., None]
