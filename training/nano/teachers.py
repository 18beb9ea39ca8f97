"""Teachers: published models that say what they see in a photo, each asked twice, the second time in the mirror.

The idea is knowledge distillation (Hinton et al., 2015) with flip-test averaging (Newell et al., ECCV 2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from streampose.inference.boxes import Limits
from streampose.inference.engine import Engine, EngineOptions
from streampose.inference.family import read_card
from streampose.inference.frame_model import FrameModel
from streampose.inference.top_down import KeypointModel
from streampose.skeletons import COCO_17
from training.nano.photos import Floats, Person, Photo

__all__ = ["MIRROR", "Teachers", "iou"]

MIRROR = np.array(
    [
        COCO_17.points.index(name.replace("left", "?").replace("right", "left").replace("?", "right"))
        for name in COCO_17.points
    ]
)
"""Each key point's place in the mirrored picture."""

# Teachers' boxes: from SURE on a person, below DOUBT nobody, between them nobody is asked.
SURE, DOUBT = 0.45, 0.25


class Teachers:
    """Detectors and one key-point model.

    Args:
        detectors: files, each with the side of its square input or `None`.
        pose: file.
        threads: of each model.
    """

    def __init__(self, detectors: Sequence[tuple[Path, int | None]], pose: Path, threads: int = 1) -> None:
        options = EngineOptions(device="cpu", threads=threads)
        self._detectors = []
        for path, side in detectors:
            engine = Engine(path, options)
            card = read_card(engine.signature, path.name, size_px=None if side is None else (side, side))
            self._detectors.append(FrameModel(engine, card, Limits(min_score=0.1, max_overlap=0.6, max_people=50)))
        engine = Engine(pose, options)
        self._pose = KeypointModel(engine, read_card(engine.signature, pose.name))

    def label(self, photo: Photo) -> None:
        """Complete what is known by hand: boxes where none were drawn, points where none were marked."""
        image, _ = photo.read()
        if not photo.complete:
            self._find(photo, image)
        people = [p for p in photo.people if min(p.box[2:] - p.box[:2]) >= 8]
        photo.ignore += [p.box for p in photo.people if p.by_hand and min(p.box[2:] - p.box[:2]) < 8]
        photo.people = people
        if people:
            said = self._points(image, np.array([p.box for p in people], np.float32))
            for person, points in zip(people, said, strict=True):
                if person.points is None:
                    person.points = points
                elif person.by_many:
                    person.points = joined(person.points, points, person.box)
                else:
                    person.points = completed(person.points, points)

    def _find(self, photo: Photo, image: np.ndarray) -> None:
        """Boxes that the detectors and their mirror images agree about."""
        votes = []
        for detector in self._detectors:
            plain, mirrored = detector([image, np.ascontiguousarray(image[:, ::-1])])
            back = mirrored.boxes.copy()
            back[:, [0, 2]] = image.shape[1] - mirrored.boxes[:, [2, 0]]
            votes += [(plain.boxes, plain.scores), (back, mirrored.scores)]
        boxes, scores = fused(votes)
        hand = [p for p in photo.people if p.by_hand]
        photo.people = []
        for person in hand:
            # The main person's joints: the found box that holds them gives the outline.
            overlap = iou(person.box[None], boxes)[0] if len(boxes) else np.zeros(0, np.float32)
            if len(overlap) and overlap.max() >= 0.4:
                best = int(overlap.argmax())
                person.box, person.score = boxes[best], float(max(scores[best], SURE))
                boxes, scores = np.delete(boxes, best, 0), np.delete(scores, best)
                photo.people.append(person)
            else:
                # Joints, but no outline that anybody confirms: good for key points, not for boxes.
                photo.people.append(person)
                photo.ignore.append(person.box)
        for box, score in zip(boxes, scores, strict=True):
            if score >= SURE:
                photo.people.append(Person(box=box, score=float(score)))
            elif score >= DOUBT:
                photo.ignore.append(box)

    def _points(self, image: np.ndarray, boxes: Floats) -> Floats:
        """(n, 17, 3): the mean of both looks; where they are apart, the score is lower."""
        n, width = len(boxes), image.shape[1]
        back = boxes.copy()
        back[:, [0, 2]] = width - boxes[:, [2, 0]]
        flipped = np.ascontiguousarray(image[:, ::-1])
        points, scores = self._pose([image] * n + [flipped] * n, np.concatenate([boxes, back]))
        one, two = points[:n], points[n:][:, MIRROR].copy()
        two[..., 0] = width - 1 - two[..., 0]  # points count pixels, boxes their edges
        s1, s2 = scores[:n], scores[n:][:, MIRROR]
        weight = np.stack([s1, s2])[..., None] + 1e-6
        mean = (one * weight[0] + two * weight[1]) / weight.sum(axis=0)
        size = np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))[:, None]
        apart = np.linalg.norm(one - two, axis=2) / size
        agreed = (s1 + s2) / 2 * np.exp(-((apart / 0.15) ** 2))
        return np.concatenate([mean, agreed[..., None]], axis=2).astype(np.float32)

    def close(self) -> None:
        """Let go of the sessions."""
        for model in (*self._detectors, self._pose):
            model.close()


def completed(hand: Floats, said: Floats) -> Floats:
    """What is marked by hand as it is, the rest from the teacher, (17, 3)."""
    return np.where(np.isnan(hand[:, 2:]), said, hand)


def joined(hand: Floats, said: Floats, box: Floats) -> Floats:
    """What many hands and the teacher say together, (17, 3).

    By hand wins where the teacher is unsure. Where the teacher is sure of another place, the mark may be one of the
    wrong ones of crowd-sourced sets: left and right are exchanged if that settles it, else the point is not asked.
    """
    size = float(np.sqrt(np.prod(box[2:] - box[:2])))
    marked = ~np.isnan(hand[:, 2])
    apart = np.linalg.norm(hand[:, :2] - said[:, :2], axis=1) / size
    other = hand[MIRROR]
    apart_other = np.linalg.norm(other[:, :2] - said[:, :2], axis=1) / size
    sure = marked & ~np.isnan(other[:, 2]) & (said[:, 2] > 0.5)
    if sure.sum() >= 4 and np.nanmean(apart_other[sure]) < 0.5 * np.nanmean(apart[sure]):
        hand, apart = other, apart_other
        marked = ~np.isnan(hand[:, 2])
    out = said.copy()
    for j in np.flatnonzero(marked):
        if apart[j] < 0.06 and said[j, 2] > 0.4:
            out[j, :2] = (hand[j, :2] + said[j, :2]) / 2
            out[j, 2] = 1.0
        elif said[j, 2] > 0.75 and apart[j] > 0.15:
            out[j, 2] = np.nan
        else:
            out[j] = hand[j]
    return out


def fused(votes: Sequence[tuple[Floats, Floats]]) -> tuple[Floats, Floats]:
    """Boxes of several looks at one picture as one set: weighted boxes fusion (Solovyev et al., 2021).

    Args:
        votes: for each look (n, 4) boxes and (n,) scores.

    Returns:
        (m, 4) and (m,); who was seen by some looks only scores less.
    """
    rows = [(s, b, look) for look, (boxes, scores) in enumerate(votes) for b, s in zip(boxes, scores, strict=True)]
    clusters: list[list[tuple[float, Floats, int]]] = []
    means: list[Floats] = []
    for row in sorted(rows, key=lambda r: -r[0]):
        overlap = iou(row[1][None], np.array(means, np.float32))[0] if means else np.zeros(0, np.float32)
        place = next((int(i) for i in np.argsort(-overlap) if overlap[i] > 0.6), None)
        if place is None or any(look == row[2] for _, _, look in clusters[place]):
            if place is None:
                clusters.append([row])
                means.append(row[1])
            continue
        clusters[place].append(row)
        weights = np.array([s for s, _, _ in clusters[place]], np.float32)
        means[place] = np.average([b for _, b, _ in clusters[place]], axis=0, weights=weights).astype(np.float32)
    scores = [sum(s for s, _, _ in cluster) / len(votes) for cluster in clusters]
    return np.array(means, np.float32).reshape(-1, 4), np.array(scores, np.float32)


def iou(a: Floats, b: Floats) -> Floats:
    """(n, m): intersection over union of each pair of boxes."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inside = np.prod(np.clip(high - low, 0, None), axis=2)
    area_a, area_b = np.prod(a[:, 2:] - a[:, :2], axis=1), np.prod(b[:, 2:] - b[:, :2], axis=1)
    return (inside / np.maximum(area_a[:, None] + area_b[None] - inside, 1e-6)).astype(np.float32)


def draw(photo: Photo) -> np.ndarray:
    """The photo with its labels, to look at."""
    image, _ = photo.read()
    for person in photo.people:
        x1, y1, x2, y2 = map(round, map(float, person.box))
        cv2.rectangle(image, (x1, y1), (x2, y2), (0, 255, 0) if person.score >= SURE else (0, 0, 255), 1)
        for x, y, s in person.points if person.points is not None else []:
            if s > 0.2:
                cv2.circle(image, (round(float(x)), round(float(y))), 2, (255, 0, round(255 * float(s))), -1)
    for box in photo.ignore:
        x1, y1, x2, y2 = map(round, map(float, box))
        cv2.rectangle(image, (x1, y1), (x2, y2), (0, 0, 0), 1)
    return image
