"""How the parts of a skeleton are drawn: which side they are on, and how fine they are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from streampose.pose import Skeleton

__all__ = ["Anatomy", "Side", "anatomy"]

Side: TypeAlias = Literal["left", "right", "middle"]

_HEAD = {"nose", "left_eye", "right_eye", "left_ear", "right_ear", "head_top"}
# Widths as shares of a limb's. A hand is a fifth of an arm, and has 20 bones; a face has 68 points.
_LIMB, _SMALL, _FINGER, _FACE = 1.0, 0.6, 0.4, 0.28


@dataclass(frozen=True, slots=True, kw_only=True)
class Anatomy:
    """Of the e edges and k points of one skeleton, in its order."""

    starts: NDArray[np.intp]
    """(e,) the point that each edge starts from …"""
    ends: NDArray[np.intp]
    """… and ends in."""
    edge_sides: tuple[Side, ...]
    point_sides: tuple[Side, ...]
    widths: NDArray[np.float32]
    """(k,) shares of the width of a limb; an edge is as wide as its finer end."""
    head: NDArray[np.bool_]
    """(k,) nose, eyes, ears …"""
    face: NDArray[np.bool_]
    """… the 68 dots …"""
    hands: NDArray[np.bool_]
    """… and hands."""


def anatomy(skeleton: Skeleton) -> Anatomy:
    """Read the side and the fineness of everything from the points' names."""
    return _anatomy(skeleton.points, skeleton.edges)


@lru_cache(maxsize=32)
def _anatomy(points: tuple[str, ...], edges: tuple[tuple[int, int], ...]) -> Anatomy:
    sides = [_side(name) for name in points]
    starts, ends = np.array(edges, np.intp).reshape(-1, 2).T
    return Anatomy(
        starts=starts,
        ends=ends,
        edge_sides=tuple(_joined(sides[i], sides[j]) for i, j in edges),
        point_sides=tuple(sides),
        widths=np.array([_width(name) for name in points], np.float32),
        head=np.array([name in _HEAD for name in points]),
        face=np.array(["face_" in name for name in points]),
        hands=np.array(["hand_" in name for name in points]),
    )


def _side(name: str) -> Side:
    if name.startswith("left_"):
        return "left"
    return "right" if name.startswith("right_") else "middle"


def _joined(a: Side, b: Side) -> Side:
    """An edge from the middle outwards is of the side that it goes to; one from left to right of neither."""
    if b in (a, "middle"):
        return a
    return b if a == "middle" else "middle"


def _width(name: str) -> float:
    if "hand_" in name:
        return _FINGER
    if "face_" in name:
        return _FACE
    return _SMALL if name in _HEAD or name.endswith(("toe", "heel")) else _LIMB
