"""Drawing people."""

from __future__ import annotations

import colorsys
from dataclasses import replace
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from streampose.frame import Image
from streampose.pose import Poses, Skeleton
from streampose.render.anatomy import anatomy
from streampose.render.brush import Shape, lines, paint
from streampose.render.parts import LIGHT, Parts
from streampose.render.style import Colour, Style
from streampose.render.tile import Canvas, Font, Tile, stamp

__all__ = ["draw_poses"]

Floats: TypeAlias = NDArray[np.floating[Any]]

_ALL = Parts()
# Points farther outside than so many pictures would overflow OpenCV's fixed-point numbers; nothing of them is seen.
_FAR = 3
# Along and down from each corner of a box, clockwise from the top left.
_ARMS = np.array([(1, 0), (0, 1), (-1, 0), (0, 1), (-1, 0), (0, -1), (1, 0), (0, -1)])


def draw_poses(image: Image, poses: Poses, style: Style, parts: Parts = _ALL) -> None:
    """Draw people on a picture: the smaller ones, mostly farther away, below the larger ones; labels above all.

    Args:
        image: (H, W, 3) uint8 BGR, changed in place.
        poses: who; of any skeleton.
        style: how.
        parts: what of them; its score limit comes before the style's.
    """
    if parts.min_score is not None:
        style = replace(style, min_score=parts.min_score, sure_score=max(style.sure_score, parts.min_score))
    height, width = image.shape[:2]
    reach = np.array([width, height]) * _FAR
    near = np.all(np.abs(poses.points) < reach, axis=2)
    opacities = np.where(near & poses.seen(style.min_score), _opacities(poses.scores, style), 0)
    opacities = opacities * _shares(poses.skeleton, parts)
    boxes = np.clip(np.nan_to_num(poses.boxes), -np.tile(reach, 2), np.tile(reach, 2))
    sizes = np.ptp(boxes.reshape(-1, 2, 2), axis=1).max(axis=1) if len(poses) else np.zeros(0)
    order = np.argsort(sizes, kind="stable").tolist()
    for row in order:
        line_px = _line_px(float(sizes[row]), min(height, width)) if style.line_px is None else style.line_px
        points = np.where(near[row, :, None], poses.points[row], 0)
        paint(image, _body(poses.skeleton, points, opacities[row], style, parts=parts, line_px=line_px), style.outline)
    for row in order:
        person = None if poses.ids is None else int(poses.ids[row])
        if style.boxes:
            paint(
                image, _corners(boxes[row], _person_colour(person), max(1.0, min(height, width) / 360)), style.outline
            )
        if style.ids and person is not None:
            _label(image, boxes[row], person)


def _opacities(scores: Floats, style: Style) -> Floats:
    """How solid a point of each score is, if it is drawn."""
    range_ = max(style.sure_score - style.min_score, 1e-6)
    sure = np.clip((scores - style.min_score) / range_, 0, 1)
    return np.asarray(style.faint + (1 - style.faint) * sure)


def _line_px(size_px: float, short_side_px: int) -> float:
    """Width of a limb: a 90th of the person, between what a picture of this size can show and what would cover it."""
    return float(np.clip(size_px / 90, max(1.2, short_side_px / 300), short_side_px / 60))


@lru_cache(maxsize=32)
def _shares(skeleton: Skeleton, parts: Parts) -> Floats:
    """(k,) what each point's opacity is multiplied by."""
    of = anatomy(skeleton)
    shares = np.where(of.hands, float(parts.hands and parts.hand_width > 0), float(parts.width > 0))
    shares = np.where(of.face, LIGHT[parts.face], shares)
    return np.where(of.head, shares * LIGHT[parts.head], shares)


def _body(
    skeleton: Skeleton, points: Floats, opacities: Floats, style: Style, *, parts: Parts, line_px: float
) -> list[Shape]:
    """The bones and joints of one person, bones first; `line_px` is the usual width of a limb."""
    of = anatomy(skeleton)
    limb_px = parts.width_px or line_px * (parts.width or 1.0)
    hands_px = parts.hand_width_px or of.widths * line_px * parts.hand_width
    widths = np.where(of.hands, hands_px, of.widths * limb_px)
    colours = {"left": style.left, "right": style.right, "middle": style.middle}
    bones = lines(
        points[of.starts],
        points[of.ends],
        np.minimum(widths[of.starts], widths[of.ends]),
        rim=_rim_px(limb_px),
        colours=[colours[side] for side in of.edge_sides],
        opacities=np.minimum(opacities[of.starts], opacities[of.ends]) * style.bones,
    )
    joints = lines(
        points,
        points,
        widths * 1.6,
        rim=_rim_px(limb_px),
        colours=[colours[side] for side in of.point_sides],
        opacities=opacities * style.points,
    )
    return bones + joints


def _rim_px(line_px: float) -> float:
    return max(0.6, line_px / 5)


def _corners(box: Floats, colour: Colour, line_px: float) -> list[Shape]:
    """The four corners of a box, two lines each."""
    corners = box[[[0, 1], [2, 1], [2, 3], [0, 3]]].repeat(2, axis=0)
    arms = 0.16 * min(box[2] - box[0], box[3] - box[1]) * _ARMS
    return lines(
        corners,
        corners + arms,
        np.full(8, line_px),
        rim=_rim_px(line_px),
        colours=[colour] * 8,
        opacities=np.ones(8),
    )


def _label(image: Image, box: Floats, person: int) -> None:
    """The id above the box, or inside of it at the picture's upper edge."""
    tile = _label_tile(str(person), max(7, round(min(image.shape[:2]) / 70) + 3), _person_colour(person))
    height, width = tile.keep.shape[:2]
    gap = max(2, height // 6)
    x, y = round(float(box[0])), round(float(box[1])) - height - gap
    if y < 0:
        y = max(0, round(float(box[1])) + gap)
    stamp(image, tile, min(max(0, x), max(0, image.shape[1] - width)), y)


@lru_cache(maxsize=128)
def _label_tile(text: str, capital_px: int, colour: Colour) -> Tile:
    font = Font(capital_px, bold=True)
    pad = round(capital_px * 0.6)
    canvas = Canvas(max(font.width_px(text), capital_px) + 2 * pad, capital_px + 2 * pad)
    canvas.panel(colour, 0.92, radius_px=capital_px * 0.55)
    canvas.text(text, pad, pad + capital_px, font, (28, 22, 20))
    return canvas.tile()


@lru_cache(maxsize=128)
def _person_colour(person: int | None) -> Colour:
    """A light colour; ids that follow one another are far apart on the colour circle (steps of the golden angle)."""
    if person is None:
        return (236, 240, 240)
    red, green, blue = colorsys.hsv_to_rgb(person * 0.618034 % 1, 0.5, 1.0)
    return round(255 * blue), round(255 * green), round(255 * red)
