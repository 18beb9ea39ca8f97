"""People as figures of plain colour, for models to look at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from streampose.frame import Image
from streampose.pose import Poses
from streampose.render.palette import HAND_COLOURS, HAND_EDGES, Palette
from streampose.render.parts import LIGHT, Parts, Show
from streampose.render.style import Colour
from streampose.skeletons import COCO_WHOLEBODY_133, FACE, LEFT_HAND, RIGHT_HAND

__all__ = ["draw_figures"]

Floats: TypeAlias = NDArray[np.floating[Any]]

# Sixteenths of a pixel, so that slow movement is smooth.
_SHIFT = 4
_HEAD = {"nose", "left_eye", "right_eye", "left_ear", "right_ear"}
_FAR = 3


def draw_figures(image: Image, poses: Poses, palette: Palette, parts: Parts | None = None) -> None:
    """Draw people on a picture, in place; larger ones above smaller ones.

    Args:
        image: (H, W, 3) uint8 BGR.
        poses: of any skeleton, in the picture's own pixels.
        palette: how.
        parts: what.
    """
    parts = parts or Parts()
    limit = palette.min_score if parts.min_score is None else parts.min_score
    reach = np.array(image.shape[1::-1]) * _FAR
    near = np.all(np.abs(poses.points) < reach, axis=2)  # nothing farther away is seen, and it would overflow
    poses = replace(poses, points=np.where(near[..., None], poses.points, 0), scores=np.where(near, poses.scores, -1))
    body, seen = poses.to(palette.body), poses.seen(limit)
    body_seen = body.seen(limit)
    whole = poses.skeleton == COCO_WHOLEBODY_133
    usual = palette.width.px(min(image.shape[:2]))
    width = parts.width_px or max(1, round(usual * parts.width))
    hand_width = parts.hand_width_px or max(1, round(usual * parts.hand_width / 2))
    for row in np.argsort((poses.boxes[:, 2:] - poses.boxes[:, :2]).clip(0).prod(axis=1), kind="stable").tolist():
        if parts.width > 0:
            _draw_body(image, body.points[row], body_seen[row], palette, head=parts.head, width=width)
        if not whole:
            continue
        points, there = poses.points[row], seen[row]
        if palette.hands and parts.hands and parts.hand_width > 0:
            for hand in (LEFT_HAND, RIGHT_HAND):
                _draw_hand(image, points[hand], there[hand], palette.hand_joints, hand_width)
        if palette.face and parts.face != "none":
            white = round(255 * LIGHT[parts.face])
            _dots(image, points[FACE][there[FACE]], [(white,) * 3] * int(there[FACE].sum()), max(1, width * 3 / 4))


def _draw_body(
    image: Image, points: Floats, seen: NDArray[np.bool_], palette: Palette, *, head: Show, width: int
) -> None:
    light = _head_light(palette, head)
    for (a, b), colour in zip(palette.limbs, palette.limb_colours, strict=True):
        share = min(light[a], light[b])
        if seen[a] and seen[b] and share:
            shade = _dimmed(colour, share * palette.limb_light)
            (_ellipse if palette.ellipses else _line)(image, points[a], points[b], width, shade)
    rows = [i for i in range(len(points)) if seen[i] and light[i]]
    _dots(image, points[rows], [_dimmed(palette.point_colours[i], light[i]) for i in rows], width)


@lru_cache(maxsize=32)
def _head_light(palette: Palette, head: Show) -> tuple[float, ...]:
    """Of each point, how bright it is."""
    return tuple(LIGHT[head] if name in _HEAD else 1.0 for name in palette.body.points)


def _draw_hand(image: Image, points: Floats, seen: NDArray[np.bool_], joints: Colour, width: int) -> None:
    for (a, b), colour in zip(HAND_EDGES, HAND_COLOURS, strict=True):
        if seen[a] and seen[b]:
            _line(image, points[a], points[b], width, colour)
    _dots(image, points[seen], [joints] * int(seen.sum()), max(1, width))


def _dimmed(colour: Colour, light: float) -> Colour:
    blue, green, red = colour
    return int(blue * light), int(green * light), int(red * light)


def _fixed(point: Floats) -> tuple[int, int]:
    x, y = np.rint(point * (1 << _SHIFT)).astype(int).tolist()
    return x, y


def _line(image: Image, a: Floats, b: Floats, width: int, colour: Colour) -> None:
    cv2.line(image, _fixed(a), _fixed(b), colour, max(1, width), cv2.LINE_AA, _SHIFT)


def _ellipse(image: Image, a: Floats, b: Floats, width: int, colour: Colour) -> None:
    middle, along = (a + b) / 2, b - a
    length = float(np.hypot(*along))
    angle = math.degrees(math.atan2(float(along[1]), float(along[0])))
    axes = _fixed(np.array([length / 2, width]))
    cv2.ellipse(image, _fixed(middle), axes, angle, 0, 360, colour, cv2.FILLED, cv2.LINE_AA, _SHIFT)


def _dots(image: Image, points: Floats, colours: Sequence[Colour], radius: float) -> None:
    for point, colour in zip(points, colours, strict=True):
        cv2.circle(image, _fixed(point), round(radius * (1 << _SHIFT)), colour, cv2.FILLED, cv2.LINE_AA, _SHIFT)
