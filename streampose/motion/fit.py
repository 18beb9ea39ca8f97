"""How one person's proportions compare with another's, and where what is retargeted goes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from streampose.motion.bones import BONES, PARENT, Body
from streampose.pose import mirrored

__all__ = ["Fit", "Retargeting", "anchor_of", "fit", "middle_of"]

Floats: TypeAlias = NDArray[np.floating[Any]]

_MEASURES = ("height", "torso", "shoulders")


@dataclass(frozen=True, slots=True, kw_only=True)
class Retargeting:
    """How it is done."""

    align: Literal["reference", "driving"] = "reference"
    """Into the reference's picture, in its place and size; or into the driving one's, whose size and place are kept."""
    anchor: Literal["auto", "neck", "hip", "ground"] = "auto"
    """What is put into its place: the neck, the middle of the hips, or the hips' middle from side to side and the lower
    ankle from top to bottom. ``auto`` = ground where both are seen whole, else the neck."""
    scale: Literal["auto", "height", "torso", "shoulders"] = "auto"
    """What says how large somebody is: nose to ankles, neck to hips, or shoulder to shoulder; ``auto`` = the first of
    these that both show, else their boxes. It scales how far they go, and what no bone says."""
    pairs: Literal["larger", "own"] = "larger"
    """Left and right bones both take the larger ratio of the two, since what points at the camera looks short; or each
    its own."""
    hands: bool = True
    """Keep hands; they are scaled as the shoulders are, and go with the wrists."""
    face: bool = True
    """Keep the face's points."""
    drop_unseen: bool = False
    """Leave out joints that the reference does not show, as for a picture of half a body."""
    min_score: float = 0.3
    """Points below it are not seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What one person's bones are multiplied by to be the other's, and where they go."""

    ratios: Mapping[str, float]
    """By the bone's child joint."""
    size: float
    """How far movements go."""
    origin: Floats
    """(2,) where the driving person's anchor was …"""
    goal: Floats
    """… and where it shall be."""
    anchor: str
    dropped: frozenset[str] = field(default_factory=frozenset)

    def place(self, point: Floats) -> Floats:
        """Where a point that hangs on nothing goes, (2,)."""
        return np.asarray(self.goal + self.size * (point - self.origin))


def fit(
    driving: Body,
    driving_box: Floats,
    reference: Body,
    reference_box: Floats,
    options: Retargeting,
) -> Fit:
    """Compare two people.

    Args:
        driving: as they begin.
        driving_box: (4,) x1 y1 x2 y2.
        reference: who gives the proportions.
        reference_box: (4,).
        options: how.
    """
    size = _size(driving, driving_box, reference, reference_box, options.scale)
    own = {
        bone.child: (new / old)
        for bone in BONES
        if (old := driving.length(bone)) is not None and (new := reference.length(bone)) is not None
    }
    ratios = _completed(own, size, options.pairs)
    _limit_feet(ratios, driving, reference)
    anchor: str = options.anchor
    if anchor == "auto":
        anchor = (
            "ground"
            if anchor_of(driving, "ground") is not None and anchor_of(reference, "ground") is not None
            else "neck"
        )
    origin, goal = anchor_of(driving, anchor), anchor_of(reference, anchor)
    if origin is None or goal is None:  # the anchor is not there: then the boxes' middles
        origin, goal, anchor = middle_of(driving_box), middle_of(reference_box), "box"
    if options.align == "driving":
        ratios = {name: ratio / size for name, ratio in ratios.items()}
        size, goal = 1.0, origin
    unseen = {bone.child for bone in BONES} - reference.places.keys() if options.drop_unseen else set()
    return Fit(ratios=ratios, size=size, origin=origin, goal=goal, anchor=anchor, dropped=frozenset(unseen))


def _size(driving: Body, driving_box: Floats, reference: Body, reference_box: Floats, how: str) -> float:
    """How large the reference is against the driving person."""
    for measure in _MEASURES if how == "auto" else (how,):
        old, new = driving.measure(measure), reference.measure(measure)
        if old is not None and new is not None:
            return new / old
    areas = [max(float(np.prod(box[2:] - box[:2])), 1.0) for box in (driving_box, reference_box)]
    return math.sqrt(areas[1] / areas[0])


def _completed(own: Mapping[str, float], size: float, pairs: str) -> dict[str, float]:
    """A ratio for every bone: its own, the other side's, its group's mean, the shoulders', and the whole person's."""
    groups: dict[str, list[float]] = {}
    for bone in BONES:
        if bone.child in own:
            groups.setdefault(bone.group, []).append(own[bone.child])
    means = {group: sum(values) / len(values) for group, values in groups.items()}
    general = means.get("shoulders", size)
    ratios: dict[str, float] = {}
    for bone in BONES:
        both = [own[name] for name in (bone.child, mirrored(bone.child)) if name in own]
        if bone.group == "head" or not both:
            ratios[bone.child] = means.get(bone.group, general)
        elif pairs == "larger" or bone.child not in own:
            ratios[bone.child] = max(both)
        else:
            ratios[bone.child] = own[bone.child]
    return ratios


def _limit_feet(ratios: dict[str, float], driving: Body, reference: Body) -> None:
    """A foot that grows does not become longer than half a calf: toes are often guessed far off."""
    for bone in BONES:
        if bone.group != "feet" or (foot := driving.length(bone)) is None:
            continue
        calf = reference.length(PARENT[bone.parent])
        if calf is not None:
            ratios[bone.child] = min(ratios[bone.child], max(1.0, calf / 2 / foot))


def anchor_of(body: Body, name: str) -> Floats | None:
    """(2,) where an anchor is: ``neck``, ``hip`` or ``ground``; `None` = it is not seen."""
    if name == "ground":
        ankles = [body.places[n] for n in ("left_ankle", "right_ankle") if n in body.places]
        if not ankles or "mid_hip" not in body.places:
            return None
        return np.array([body.places["mid_hip"][0], max(ankle[1] for ankle in ankles)])
    return body.places.get("mid_hip" if name == "hip" else "neck")


def middle_of(box: Floats) -> Floats:
    """(2,) of a box, (4,)."""
    return np.asarray((box[:2] + box[2:]) / 2, float)
