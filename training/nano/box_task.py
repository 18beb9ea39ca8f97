"""What the detector is taught: where people are, in photos, in mosaics of photos, and where nobody is."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from training.nano.album import Album, Page, body_mask
from training.nano.look import degraded, lit
from training.nano.network import BoxNet, centres
from training.nano.pose_task import device_of, normal
from training.nano.precision import average_precision, best_threshold

__all__ = ["BoxTask"]

GREY = 114
MOST = 40
"""People a picture; more are not taught."""


class BoxTask:
    """The detector's examples, loss and measure.

    Args:
        side: of the square input, pixels.

    Raises:
        ValueError: the album is empty.
    """

    def __init__(self, album: Album, check: Album, side: int) -> None:
        self.side = side
        self._album, self._check = album, check
        if not album.pages:
            raise ValueError("there are no photos to learn from")
        self._shares = album.weights / album.weights.sum()
        self.checked = sum(len(page.photo.people) for page in check.pages)
        self._cells = centres(side, side)

    def network(self) -> BoxNet:
        """A new one."""
        return BoxNet()

    def batches(self, batch: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Endless: (b, side, side, 3) uint8 BGR and (b, MOST, 5) x1 y1 x2 y2 weight.

        The weight is of a person 1 or a teacher's score, 0 for no row, -1 for a place that is not asked.
        """
        rng = np.random.default_rng(seed)
        while True:
            examples = [self._mosaic(rng) if rng.random() < 0.55 else self._single(rng) for _ in range(batch)]
            images, rows = zip(*examples, strict=True)
            yield torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(rows))

    def loss(self, network: torch.nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Quality focal loss on the scores, GIoU on the boxes.

        Li et al., NeurIPS 2020, and Rezatofighi et al., CVPR 2019.
        """
        images, rows = batch
        logits, edges = network(normal(images))
        logits, edges = logits.float(), edges.float()
        cells = self._cells.to(logits.device)
        boxes = _boxes(cells, edges)
        quality, target, asked = assign(cells, logits.detach().sigmoid(), boxes.detach(), rows)
        chance = logits.sigmoid()
        focus = (quality - chance.detach()).abs() ** 2
        score = (F.binary_cross_entropy_with_logits(logits, quality, reduction="none") * focus * asked).sum()
        taught = quality > 0
        apart = ((1 - giou(boxes[taught], target[taught])) * quality[taught]).sum()
        return (score + 2.0 * apart) / quality.sum().clamp(min=4.0)

    @torch.no_grad()
    def measure(self, network: torch.nn.Module) -> float:
        """Average precision at IoU 0.5 on photos held out."""
        return average_precision(self._check, self._found(network))

    @torch.no_grad()
    def threshold(self, network: torch.nn.Module) -> tuple[float, float] | None:
        """The score of the best F1 on photos held out, and that F1."""
        return best_threshold(self._check, self._found(network))

    def _found(self, network: torch.nn.Module) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        found = []
        for page in self._check.pages:
            image, scale = fitted(page.image, self.side)
            logits, edges = (
                a.float().cpu() for a in network(normal(torch.from_numpy(image[None]).to(device_of(network))))
            )
            boxes, scores = _boxes(self._cells, edges)[0].numpy(), logits.sigmoid()[0].numpy()
            best = np.argsort(-scores)[:300]
            best = best[scores[best] > 0.05]
            corners = boxes[best].copy()
            corners[:, 2:] -= corners[:, :2]
            kept = cv2.dnn.NMSBoxes(corners.tolist(), scores[best].tolist(), 0.05, 0.6)
            chosen = best[np.array(kept, int).reshape(-1)]
            found.append((boxes[chosen] / scale, scores[chosen]))
        return found

    def _page(self, rng: np.random.Generator) -> Page:
        return self._album.pages[int(rng.choice(len(self._album.pages), p=self._shares))]

    def _single(self, rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """One photo, zoomed out, or into a part of it."""
        page = self._page(rng)
        canvas = np.full((self.side, self.side, 3), GREY, np.uint8)
        rows: list[NDArray[np.float32]] = []
        height, width = page.image.shape[:2]
        zoom = self.side / max(height, width) * float(np.exp(rng.uniform(np.log(0.5), np.log(2.0))))
        if rng.random() < 0.3:
            x, y = 0.0, 0.0
            zoom = self.side / max(height, width)
        else:
            x, y = (rng.uniform(min(0, self.side - s * zoom), max(0, self.side - s * zoom)) for s in (width, height))
        _paste(canvas, rows, page, zoom, (x, y), (0, 0, self.side, self.side), rng)
        self._add_body(canvas, rows, rng)
        return self._finished(canvas, rows, rng)

    def _mosaic(self, rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Four photos around a point (Bochkovskiy et al., 2020: YOLOv4)."""
        side = self.side
        canvas = np.full((side, side, 3), GREY, np.uint8)
        rows: list[NDArray[np.float32]] = []
        mx, my = (int(rng.uniform(0.25, 0.75) * side) for _ in range(2))
        for x1, y1, x2, y2 in ((0, 0, mx, my), (mx, 0, side, my), (0, my, mx, side), (mx, my, side, side)):
            page = self._page(rng)
            height, width = page.image.shape[:2]
            zoom = max((x2 - x1) / width, (y2 - y1) / height) * float(np.exp(rng.uniform(np.log(0.6), np.log(1.8))))
            x = rng.uniform(*sorted((float(x1), x2 - width * zoom)))
            y = rng.uniform(*sorted((float(y1), y2 - height * zoom)))
            _paste(canvas, rows, page, zoom, (x, y), (x1, y1, x2, y2), rng)
        return self._finished(canvas, rows, rng)

    def _add_body(self, canvas: NDArray[np.uint8], rows: list[NDArray[np.float32]], rng: np.random.Generator) -> None:
        """Somebody from another photo, cut out along the limbs, small and anywhere."""
        if rng.random() > 0.25:
            return
        page = self._page(rng)
        for person in page.photo.people[:1]:
            mask = None if person.points is None else body_mask(person.points, page.image.shape[:2])
            if mask is None:
                continue
            x1, y1 = np.clip(np.floor(person.box[:2]), 0, None).astype(int)
            x2, y2 = np.ceil(person.box[2:]).astype(int)
            body, cover = page.image[y1:y2, x1:x2], mask[y1:y2, x1:x2]
            if min(body.shape[:2]) < 8:
                continue
            tall = self.side * float(np.exp(rng.uniform(np.log(0.15), np.log(0.7))))
            share = tall / body.shape[0]
            size = (max(4, round(body.shape[1] * share)), max(4, round(tall)))
            if max(size) >= self.side:
                continue
            body = cv2.resize(body, size, interpolation=cv2.INTER_AREA)
            cover = cv2.resize(cover, size, interpolation=cv2.INTER_AREA)[..., None]
            x, y = int(rng.integers(0, self.side - size[0])), int(rng.integers(0, self.side - size[1]))
            place = canvas[y : y + size[1], x : x + size[0]]
            place[:] = (body * cover + place * (1 - cover)).astype(np.uint8)
            # Whoever is mostly behind the new one is not asked for.
            new = np.array([x, y, x + size[0], y + size[1], 1.0], np.float32)
            for row in rows:
                inside = np.clip(np.minimum(row[2:4], new[2:4]) - np.maximum(row[:2], new[:2]), 0, None)
                if np.prod(inside) > 0.6 * np.prod(row[2:4] - row[:2]):
                    row[4] = -1
            rows.append(new)

    def _finished(
        self, canvas: NDArray[np.uint8], rows: list[NDArray[np.float32]], rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        canvas = degraded(lit(canvas, rng), rng)
        out = np.zeros((MOST, 5), np.float32)
        rows = sorted(rows, key=lambda r: -r[4])[:MOST]
        if rows:
            out[: len(rows)] = rows
        if rng.random() < 0.5:
            canvas = canvas[:, ::-1]
            kept = out[:, 4] != 0
            out[kept, 0], out[kept, 2] = self.side - out[kept, 2], self.side - out[kept, 0]
        return np.ascontiguousarray(canvas), out


def _paste(
    canvas: NDArray[np.uint8], rows: list[NDArray[np.float32]], page: Page, zoom: float, at: tuple[float, float],
    window: tuple[int, int, int, int], rng: np.random.Generator,
) -> None:  # fmt: skip
    """A page's picture, zoomed, its corner `at`, as far as it is within the window; and its people."""
    x1, y1, x2, y2 = window
    image = page.image
    share = 1.0
    if zoom < 0.6:
        share = min(1.0, zoom * 1.4)
        image = cv2.resize(image, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
    half = 0.5 * zoom / share - 0.5
    matrix = np.array([[zoom / share, 0, at[0] - x1 + half], [0, zoom / share, at[1] - y1 + half]])
    area = canvas[y1:y2, x1:x2]
    cv2.warpAffine(
        image, matrix, (x2 - x1, y2 - y1), dst=area, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT,
        borderValue=(GREY,) * 3,
    )  # fmt: skip
    canvas[y1:y2, x1:x2] = area
    corner = np.array([*at, *at])
    for person in page.photo.people:
        if not page.photo.complete and person.score < 0.45:
            continue
        full = person.box * zoom + corner
        seen = np.concatenate([np.maximum(full[:2], window[:2]), np.minimum(full[2:], window[2:])])
        extent = seen[2:] - seen[:2]
        if min(extent) < 3:
            continue
        share_seen = np.prod(extent) / max(np.prod(full[2:] - full[:2]), 1e-6)
        weight = 1.0 if person.by_hand else min(1.0, 0.3 + person.score)
        # A sleeve at the edge is no person, and nobody can see people of five pixels.
        if share_seen < 0.25 or max(extent) < 9:
            weight = -1
        rows.append(np.array([*seen, weight], np.float32))
    for box in page.photo.ignore:
        seen = np.clip(box * zoom + corner, (x1, y1, x1, y1), (x2, y2, x2, y2))
        if min(seen[2:] - seen[:2]) >= 2:
            rows.append(np.array([*seen, -1], np.float32))


def fitted(image: NDArray[np.uint8], side: int) -> tuple[NDArray[np.uint8], float]:
    """As the estimator fits a picture: scaled, at the top-left of grey."""
    scale = side / max(image.shape[:2])
    canvas = np.full((side, side, 3), GREY, np.uint8)
    width, height = max(1, int(image.shape[1] * scale)), max(1, int(image.shape[0] * scale))
    canvas[:height, :width] = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return canvas, scale


def _boxes(cells: Tensor, edges: Tensor) -> Tensor:
    return torch.cat([cells[:, :2] - edges[..., :2], cells[:, :2] + edges[..., 2:]], -1)


@torch.no_grad()
def assign(cells: Tensor, scores: Tensor, boxes: Tensor, rows: Tensor, top: int = 10) -> tuple[Tensor, Tensor, Tensor]:
    """Which cells are taught which person: task-aligned assignment (Feng et al., ICCV 2021: TOOD).

    Args:
        cells: (n, 3).
        scores: (b, n) as the network says now.
        boxes: (b, n, 4) as the network says now.
        rows: (b, m, 5) as `BoxTask.batches` gives them.

    Returns:
        What each cell's score should be (b, n), the box it should give (b, n, 4), and whether it is asked (b, n).
    """
    n = scores.shape[1]
    people = rows[..., 4] > 0
    centre = cells[None, None, :, :2]
    inside = ((centre > rows[:, :, None, :2]) & (centre < rows[:, :, None, 2:4])).all(-1) & people[..., None]
    overlap = _iou(rows[:, :, None, :4], boxes[:, None])
    # Who is smaller than the grid still gets the cell nearest to the middle.
    middle = (rows[..., None, :2] + rows[..., None, 2:4]) / 2
    apart = (centre - middle).norm(dim=-1) / cells[:, 2]
    inside |= (apart < 0.75) & people[..., None]
    align = scores[:, None].clamp(min=1e-4) ** 0.5 * overlap.clamp(min=1e-3) ** 4 * inside
    # In the first steps all boxes are equally wrong: the nearest cells then.
    align = align + 1e-9 * inside / (1 + apart)
    limit = align.topk(min(top, n), dim=2).values[..., -1:]
    chosen = (align >= limit) & inside
    align = align * chosen
    owner = align.argmax(1)
    taught = chosen.any(1)
    picked = torch.gather(align, 1, owner[:, None])[:, 0]
    best_align = align.amax(2).clamp(min=1e-12)
    best_overlap = (overlap * chosen).amax(2)
    level = picked * torch.gather(best_overlap / best_align, 1, owner)
    weight = torch.gather(rows[..., 4].clamp(min=0), 1, owner)
    quality = torch.where(taught, (level * weight).clamp(0, 1), torch.zeros_like(level))
    target = torch.gather(rows[..., :4], 1, owner[..., None].expand(-1, -1, 4))
    ignored = ((centre > rows[:, :, None, :2]) & (centre < rows[:, :, None, 2:4])).all(-1) & (rows[..., 4] < 0)[
        ..., None
    ]
    asked = (taught | ~ignored.any(1)).float()
    return quality, target, asked


def _iou(a: Tensor, b: Tensor) -> Tensor:
    size = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0).prod(-1)
    return size / ((a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - size + 1e-7)


def giou(a: Tensor, b: Tensor) -> Tensor:
    """(n,) for (n, 4) pairs."""
    size = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0).prod(-1)
    union = (a[:, 2:] - a[:, :2]).prod(-1) + (b[:, 2:] - b[:, :2]).prod(-1) - size + 1e-7
    hull = (torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).prod(-1) + 1e-7
    return size / union - (hull - union) / hull
