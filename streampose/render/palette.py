"""How models that are driven by poses expect them to be drawn."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

from streampose.pose import Skeleton
from streampose.render.style import Colour
from streampose.skeletons import ANIMATION_20, COCO_17, OPENPOSE_18, OPENPOSE_25

__all__ = ["HAND_COLOURS", "HAND_EDGES", "PALETTES", "Palette", "Width"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Width:
    """Of lines, from the shorter side of the picture: ``max(least, side // divisor + plus)`` pixels."""

    divisor: int
    plus: int = 0
    least: int = 1

    def px(self, short_side_px: int) -> int:
        """For a picture of this size."""
        return max(self.least, short_side_px // self.divisor + self.plus)


@dataclass(frozen=True, slots=True, kw_only=True)
class Palette:
    """One way of drawing people: which points, in which colours, in which shapes."""

    name: str
    body: Skeleton
    """What people are mapped to."""
    limbs: tuple[tuple[int, int], ...]
    """Pairs of its points."""
    limb_colours: tuple[Colour, ...]
    point_colours: tuple[Colour, ...]
    ellipses: bool
    """Limbs are filled ellipses, `width` to either side in the middle; else lines of `width`."""
    limb_light: float
    """What limbs' colours are multiplied by, so that joints stand out."""
    width: Width
    hands: bool
    hand_joints: Colour = (0, 0, 255)
    face: bool
    min_score: float
    """Points below it are not drawn, nor limbs that end in them."""


def _bgr(*colours: tuple[int, int, int]) -> tuple[Colour, ...]:
    return tuple((blue, green, red) for red, green, blue in colours)


# Eighteen steps round the colour circle (OpenPose's COCO colours, as ControlNet's annotators draw them), red first.
_RAINBOW = _bgr(
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0), (0, 255, 85),
    (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255), (170, 0, 255), (255, 0, 255),
    (255, 0, 170), (255, 0, 85),
)  # fmt: skip
_LIMBS_18 = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13), (1, 0),
    (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip
_TOES = _bgr((200, 200, 0), (100, 100, 0))
# OpenPose's BODY_25; a limb has the colour of the point that it ends in.
_BODY_25 = _bgr(
    (255, 0, 85), (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0),
    (255, 0, 0), (0, 255, 85), (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (255, 0, 170),
    (170, 0, 255), (255, 0, 255), (85, 0, 255), (0, 0, 255), (0, 0, 255), (0, 0, 255), (0, 255, 255), (0, 255, 255),
    (0, 255, 255),
)  # fmt: skip
# Left green, right orange, head and trunk blue, as COCO's poses are mostly shown.
_LEFT, _RIGHT, _MIDDLE = _bgr((0, 255, 0), (255, 128, 0), (51, 153, 255))

_OPENPOSE_WIDTH = Width(divisor=128)

HAND_EDGES = tuple(
    edge
    for root in (1, 5, 9, 13, 17)
    for edge in ((0, root), (root, root + 1), (root + 1, root + 2), (root + 2, root + 3))
)
"""The bones of one hand, finger after finger; bone i has the hue i / 20."""
HAND_COLOURS: tuple[Colour, ...] = tuple(
    (round(255 * blue), round(255 * green), round(255 * red))
    for red, green, blue in (colorsys.hsv_to_rgb(i / len(HAND_EDGES), 1, 1) for i in range(len(HAND_EDGES)))
)
"""Of `HAND_EDGES`: each finger has its own part of the colour circle."""


def _coco_colour(point: int) -> Colour:
    if point < 5:
        return _MIDDLE
    return _LEFT if point % 2 else _RIGHT


def _coco_limb(a: int, b: int) -> Colour:
    same = (a >= 5) == (b >= 5) and a % 2 == b % 2 and min(a, b) >= 5
    return _coco_colour(a) if same and (a, b) not in {(5, 11), (6, 12)} else _MIDDLE


def _openpose(name: str, *, hands: bool, face: bool) -> Palette:
    return Palette(
        name=name,
        body=OPENPOSE_18,
        limbs=_LIMBS_18,
        limb_colours=_RAINBOW[:17],
        point_colours=_RAINBOW,
        ellipses=True,
        limb_light=0.6,
        width=_OPENPOSE_WIDTH,
        hands=hands,
        hand_joints=(255, 0, 0),
        face=face,
        min_score=0.3,
    )


PALETTES = {
    p.name: p
    for p in (
        Palette(
            name="coco",
            body=COCO_17,
            limbs=COCO_17.edges,
            limb_colours=tuple(_coco_limb(a, b) for a, b in COCO_17.edges),
            point_colours=tuple(_coco_colour(i) for i in range(17)),
            ellipses=False,
            limb_light=1.0,
            width=Width(divisor=200),
            hands=True,
            face=True,
            min_score=0.3,
        ),
        _openpose("openpose-18", hands=False, face=False),
        Palette(
            name="openpose-25",
            body=OPENPOSE_25,
            limbs=OPENPOSE_25.edges,
            limb_colours=tuple(_BODY_25[b] for _, b in OPENPOSE_25.edges),
            point_colours=_BODY_25,
            ellipses=True,
            limb_light=1.0,
            width=_OPENPOSE_WIDTH,
            hands=False,
            face=False,
            min_score=0.05,
        ),
        _openpose("whole-body", hands=True, face=True),
        Palette(
            name="animate",
            body=ANIMATION_20,
            limbs=(*_LIMBS_18, (13, 18), (10, 19)),
            limb_colours=(*_RAINBOW, _TOES[0]),
            point_colours=(*_RAINBOW, *_TOES),
            ellipses=True,
            limb_light=0.6,
            width=Width(divisor=200, plus=-1),
            hands=True,
            face=False,
            min_score=0.5,
        ),
    )
}
"""Every palette by name. ``animate`` is what ViTPose-driven animation models (Wan-Animate) are trained on."""
