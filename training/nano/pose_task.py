"""What the key-point model is taught: crops of people, and how high each joint's map shall be at each place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from training.nano.album import Album, Page, body_mask
from training.nano.look import degraded, lit
from training.nano.network import PoseNet
from training.nano.photos import Person
from training.nano.teachers import MIRROR

__all__ = ["PoseTask"]

PADDING = 1.25
MEAN = torch.tensor([123.675, 116.28, 103.53]).view(1, 3, 1, 1)
STD = torch.tensor([58.395, 57.12, 57.375]).view(1, 3, 1, 1)
UPPER, LOWER = list(range(11)), list(range(11, 17))
# A Gaussian's standard deviation, as a share of the map's height.
SIGMA = 0.034


@dataclass(slots=True)
class Crop:
    """One training example."""

    image: NDArray[np.uint8]
    points: NDArray[np.float32]
    """(17, 3) x, y in [0, 1] of the crop, and the target's height; NaN = not asked. As in the estimator, whole numbers
    are the first pixels' places: pixel 0 of 96 is at 0, pixel 95 at 95/96."""


class PoseTask:
    """The key-point model's examples, loss and measure.

    Args:
        album: to learn from.
        check: held out.
        size: width and height of a crop.
        strength: how often crops are turned, damaged, hidden and moved elsewhere, 1 = as often as is good for long
            training; a little less in the end lets the network settle on pictures as they are.

    Raises:
        ValueError: nobody in the album is large enough to learn from.
    """

    def __init__(self, album: Album, check: Album, size: tuple[int, int], strength: float = 1.0) -> None:
        self.size, self._strength = size, strength
        self._album, self._check = album, check
        self._people, self._shares = _people(album)
        if not self._people:
            raise ValueError("nobody is large enough to learn from: 40 pixels and five joints at least")
        self.checked = len(_people(check)[0])

    def network(self) -> PoseNet:
        """A new one."""
        return PoseNet()

    def batches(self, batch: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Endless: (b, H, W, 3) uint8 BGR and (b, 17, 3)."""
        rng = np.random.default_rng(seed)
        while True:
            chosen = rng.choice(len(self._people), batch, p=self._shares)
            crops = [self._example(*self._people[i], rng) for i in chosen]
            images, points = np.stack([c.image for c in crops]), np.stack([c.points for c in crops])
            yield torch.from_numpy(images), torch.from_numpy(points)

    def loss(self, network: torch.nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Cross entropy of each map's pixels, summed over the map."""
        images, points = batch
        logits = network(normal(images)).float()
        target, asked = heatmaps(points, logits.shape[3], logits.shape[2])
        each = F.binary_cross_entropy_with_logits(logits, target, reduction="none").sum(dim=(2, 3))
        # What is left when the map is exactly right: subtracted, so that the figure says how far it is from that.
        least = (torch.special.entr(target) + torch.special.entr(1 - target)).sum(dim=(2, 3))
        return ((each - least) * asked).sum() / asked.sum()

    @torch.no_grad()
    def measure(self, network: torch.nn.Module) -> float:
        """PCK on photos held out: the share of joints within 0.1 of the box's height of their label."""
        people, _ = _people(self._check)
        right = total = 0
        for start in range(0, len(people), 64):
            crops = [self._plain(*p) for p in people[start : start + 64]]
            images = torch.from_numpy(np.stack([c.image for c in crops]))
            points = np.stack([c.points for c in crops])
            maps = network(normal(images.to(device_of(network)))).float().cpu()
            flat = maps.flatten(2).argmax(2)
            found = np.stack([flat % maps.shape[3] / maps.shape[3], flat // maps.shape[3] / maps.shape[2]], 2)
            apart = (found - points[..., :2]) * np.array([self.size[0] / self.size[1], 1])
            asked = points[..., 2] > 0.5
            right += int(((np.linalg.norm(apart, axis=2) < 0.08) & asked).sum())
            total += int(asked.sum())
        return right / max(total, 1)

    def _plain(self, page: Page, person: Person) -> Crop:
        return self._crop(page.image, person.points, person.box, 0.0, 1.0, np.zeros(2))

    def _example(self, page: Page, person: Person, rng: np.random.Generator) -> Crop:
        image, points, box = page.image, person.points.copy(), person.box
        if rng.random() < 0.12 * self._strength and (mask := body_mask(points, image.shape[:2])) is not None:
            image = self._elsewhere(image, mask, rng)
        sure = points[:, 2] > 0.3
        if rng.random() < 0.35 and sure.sum() >= 8:
            half = UPPER if rng.random() < 0.75 else LOWER
            if rng.random() < 0.3:
                half = [0, 1, 2, 3, 4, 5, 6]
            xy = points[half][sure[half]][:, :2]
            if len(xy) >= 4:
                low, high = xy.min(axis=0), xy.max(axis=0)
                margin = rng.uniform(0.1, 0.3) * max(high - low)
                box = np.concatenate([low - margin, high + margin])
                if rng.random() < 0.6:
                    image, points, box = _cut(image, points, box)
        elif rng.random() < 0.1:
            # A picture that ends somewhere in the person.
            side, at = int(rng.integers(4)), rng.uniform(0.1, 0.5)
            box = box.copy()
            extent = box[2:] - box[:2]
            box[side] += extent[side % 2] * at * (1 if side < 2 else -1)
            image, points, box = _cut(image, points, box)
        angle = float(np.clip(rng.normal(0, 22), -60, 60)) if rng.random() < 0.6 * self._strength else 0.0
        scale = float(np.exp(np.clip(rng.normal(0, 0.2), -0.45, 0.4)))
        shift = np.clip(rng.normal(0, 0.06, 2), -0.15, 0.15)
        crop = self._crop(image, points, box, angle, scale, shift)
        if rng.random() < 0.5:
            crop.image = crop.image[:, ::-1]
            crop.points = crop.points[MIRROR].copy()
            crop.points[:, 0] = 1 - 1 / self.size[0] - crop.points[:, 0]
        crop.image = lit(crop.image, rng)
        if rng.random() < self._strength:
            crop.image = degraded(crop.image, rng)
        crop.image = np.ascontiguousarray(crop.image)
        if rng.random() < 0.3 * self._strength:
            self._hide(crop, rng)
        return crop

    def _crop(
        self, image: NDArray[np.uint8], points: NDArray[np.float32], box: NDArray[np.float32],
        angle: float, scale: float, shift: NDArray[np.float64],
    ) -> Crop:  # fmt: skip
        """As the estimator crops, then turned, scaled and shifted."""
        width, height = self.size
        extent = np.maximum(box[2:] - box[:2], 1)
        tall = max(extent[1], extent[0] * height / width) * PADDING * scale
        centre = (box[:2] + box[2:]) / 2 + shift * tall
        zoom = height / tall
        radians = np.deg2rad(angle)
        turn = zoom * np.array([[np.cos(radians), -np.sin(radians)], [np.sin(radians), np.cos(radians)]])
        offset = np.array([width, height]) / 2 - turn @ centre
        if zoom < 0.5:
            share = max(0.1, zoom * 1.5)
            image = cv2.resize(image, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
            # Pixels are counted at their middles, and the middle of the first one has moved.
            half = np.full(2, 0.5 / share - 0.5)
            matrix = np.column_stack([turn / share, offset + turn @ half])
        else:
            matrix = np.column_stack([turn, offset])
        out = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR)
        moved = points.copy()
        moved[:, :2] = (points[:, :2] @ turn.T + offset) / (width, height)
        return Crop(np.asarray(out, np.uint8), moved.astype(np.float32))

    def _elsewhere(
        self, image: NDArray[np.uint8], mask: NDArray[np.float32], rng: np.random.Generator
    ) -> NDArray[np.uint8]:
        """The same body before another background."""
        height, width = image.shape[:2]
        other = cv2.resize(self._album.background(rng), (width, height), interpolation=cv2.INTER_AREA)
        return (image * mask + other * (1 - mask)).astype(np.uint8)

    def _hide(self, crop: Crop, rng: np.random.Generator) -> None:
        """Something before the person: joints behind it are still asked, but not as surely."""
        height, width = crop.image.shape[:2]
        for _ in range(int(rng.integers(1, 3))):
            w, h = (np.array([width, height]) * rng.uniform(0.1, 0.45, 2)).astype(int)
            x, y = int(rng.integers(0, width - w)), int(rng.integers(0, height - h))
            if rng.random() < 0.5:
                other = self._album.background(rng)
                oy = int(rng.integers(0, max(1, other.shape[0] - h)))
                ox = int(rng.integers(0, max(1, other.shape[1] - w)))
                patch = other[oy : oy + h, ox : ox + w]
                crop.image[y : y + patch.shape[0], x : x + patch.shape[1]] = patch
            else:
                crop.image[y : y + h, x : x + w] = rng.integers(0, 256, 3)
            at = crop.points[:, :2] * (width, height)
            hidden = (at[:, 0] >= x) & (at[:, 0] < x + w) & (at[:, 1] >= y) & (at[:, 1] < y + h)
            crop.points[hidden, 2] *= 0.6


def _people(album: Album) -> tuple[list[tuple[Page, Person]], NDArray[np.float64]]:
    """Who can be asked for key points, and how often."""
    people, shares = [], []
    for page, weight in zip(album.pages, album.weights, strict=True):
        for person in page.photo.people:
            # Of somebody whose face fits into twenty pixels nothing can be learned.
            if person.points is None or max(person.box[2:] - person.box[:2]) < 40:
                continue
            sure = np.nan_to_num(person.points[:, 2]) > 0.35
            if sure.sum() >= 5:
                people.append((page, person))
                shares.append(weight * (1.0 if page.photo.complete or sure.sum() >= 9 else 0.6))
    return people, np.array(shares) / max(np.sum(shares), 1e-9)


def _cut(
    image: NDArray[np.uint8], points: NDArray[np.float32], box: NDArray[np.float32]
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
    """As if the photo ended at the box: what is outside is not there, neither pixels nor joints."""
    height, width = image.shape[:2]
    x1, y1 = np.clip(np.floor(box[:2]), 0, (width - 8, height - 8)).astype(int)
    x2, y2 = np.clip(np.ceil(box[2:]), (x1 + 8, y1 + 8), (width, height)).astype(int)
    points = points.copy()
    gone = (points[:, 0] < x1) | (points[:, 0] >= x2) | (points[:, 1] < y1) | (points[:, 1] >= y2)
    points[gone, 2] = 0
    points[:, :2] -= (x1, y1)
    return image[y1:y2, x1:x2], points, np.array([0, 0, x2 - x1, y2 - y1], np.float32)


def device_of(network: torch.nn.Module) -> torch.device:
    """Where the network computes; an exported one has no parameters and computes on the CPU."""
    return next((p.device for p in network.parameters()), torch.device("cpu"))


def normal(images: Tensor) -> Tensor:
    """(b, H, W, 3) uint8 BGR → (b, 3, H, W) as both networks take them: RGB, ImageNet's mean and deviation."""
    planes = images.permute(0, 3, 1, 2).float().flip(1)
    mean, deviation = MEAN.to(images.device), STD.to(images.device)
    return ((planes - mean) / deviation).contiguous(memory_format=torch.channels_last)


def heatmaps(points: Tensor, width: int, height: int) -> tuple[Tensor, Tensor]:
    """Targets (b, 17, height, width), a Gaussian of its own height each, and which are asked (b, 17)."""
    asked = ~points[..., 2].isnan()
    level = points[..., 2].nan_to_num().clamp(0, 1)
    sigma = SIGMA * height
    x = torch.arange(width, device=points.device) - points[..., :1].nan_to_num(-9) * width
    y = torch.arange(height, device=points.device) - points[..., 1:2].nan_to_num(-9) * height
    gauss_x, gauss_y = torch.exp(-(x**2) / (2 * sigma**2)), torch.exp(-(y**2) / (2 * sigma**2))
    target = level[..., None, None] * gauss_y[..., :, None] * gauss_x[..., None, :]
    return target.clamp(0, 0.995), asked.float()
