"""Clips to try things on: people who walk, without pictures."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from streampose import Poses
from streampose.clip import Moment
from streampose.skeletons import COCO_17

TIME_BASE = Fraction(1, 1000)


def person(x: float, y: float = 100.0, size: float = 100.0, score: float = 1.0) -> tuple[np.ndarray, ...]:
    """Points (17, 2), scores, box of somebody around a place."""
    angle = np.arange(17) * 2.4
    points = np.column_stack([x + size / 3 * np.cos(angle), y + size / 2 * np.sin(angle)])
    return points, np.full(17, score), np.array([x - size / 3, y - size / 2, x + size / 3, y + size / 2])


def moment(ms: int, people: dict[int, tuple[np.ndarray, ...]]) -> Moment:
    rows = list(people.values())
    return Moment(
        stream="s",
        index=ms // 10,
        pts=ms,
        time_base=TIME_BASE,
        size_px=(640, 480),
        poses=Poses(
            skeleton=COCO_17,
            points=np.array([r[0] for r in rows], np.float32).reshape(-1, 17, 2),
            scores=np.array([r[1] for r in rows], np.float32).reshape(-1, 17),
            boxes=np.array([r[2] for r in rows], np.float32).reshape(-1, 4),
            box_scores=np.ones(len(rows), np.float32),
            ids=np.array(list(people), np.int64),
        ),
    )


def walk(times: list[int], *, speed: float = 50.0, who: int = 1, noise: float = 0.0, seed: int = 0) -> list[Moment]:
    rng = np.random.default_rng(seed)
    out = []
    for ms in times:
        points, scores, box = person(100 + speed * ms / 1000)
        out.append(moment(ms, {who: (points + rng.normal(0, noise, points.shape), scores, box)}))
    return out
