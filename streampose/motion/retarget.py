"""One person's movement in another person's proportions.

Each bone keeps its direction in every frame; its length is multiplied by what the reference's bone measures against
the same bone of the driving person. Bones hang on one another from the neck on, hands on wrists, the face on the nose,
and the whole is put where its anchor belongs. Each of the two is measured in the pixels of its own picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from streampose.clip import Moment
from streampose.errors import ConfigError
from streampose.motion.bones import BONES, PARENT, Body, Bone, body_of, mirrored
from streampose.pose import Poses, Skeleton

__all__ = ["Fit", "Retargeting", "fit", "retarget", "retargeted"]

Floats: TypeAlias = NDArray[np.floating[Any]]
Place: TypeAlias = Callable[[Floats], Floats]

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
            "ground" if _anchor(driving, "ground") is not None and _anchor(reference, "ground") is not None else "neck"
        )
    origin, goal = _anchor(driving, anchor), _anchor(reference, anchor)
    if origin is None or goal is None:  # the anchor is not there: then the boxes' middles
        origin, goal, anchor = _middle(driving_box), _middle(reference_box), "box"
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


def _anchor(body: Body, name: str) -> Floats | None:
    if name == "ground":
        ankles = [body.places[n] for n in ("left_ankle", "right_ankle") if n in body.places]
        if not ankles or "mid_hip" not in body.places:
            return None
        return np.array([body.places["mid_hip"][0], max(ankle[1] for ankle in ankles)])
    return body.places.get("mid_hip" if name == "hip" else "neck")


def _middle(box: Floats) -> Floats:
    return np.asarray((box[:2] + box[2:]) / 2, float)


def retarget(poses: Poses, found: Fit, options: Retargeting) -> Poses:
    """Everybody of one frame in the proportions that were found.

    Points that are not seen stay so; where a joint is missing, what hangs on it hangs on the next one that is seen. A
    joint that is left out takes what hangs on it along.
    """
    points, scores, boxes = poses.points.copy(), poses.scores.copy(), poses.boxes.copy()
    for row in range(len(poses)):
        body = body_of(poses, row, options.min_score)
        places = _placed(body, poses.boxes[row], found)
        new = _spread(poses.skeleton, poses.points[row], body, places, found)
        gone = _left_out(poses.skeleton, found, options)
        scores[row][gone] = 0
        seen = scores[row] >= options.min_score
        boxes[row] = _boxed(poses.boxes[row], poses.points[row][seen], new[seen])
        points[row] = new
    return replace(poses, points=points, scores=scores, boxes=boxes)


def _placed(body: Body, box: Floats, found: Fit) -> dict[str, Floats]:
    """Where each joint goes that is seen."""
    places: dict[str, Floats] = {}
    for name in ("neck", *(bone.child for bone in BONES)):
        if name not in body.places:
            continue
        above, ratios = _above(name, body, found)
        if above is None:
            places[name] = found.place(body.places[name])
        else:
            places[name] = places[above] + sum(ratios) / len(ratios) * (body.places[name] - body.places[above])
    old, new = (
        (_middle(box), None)
        if found.anchor == "box"
        else (_anchor(body, found.anchor), _anchor(Body(places), found.anchor))
    )
    if old is not None and new is not None:
        shift = found.place(old) - new
        places = {name: place + shift for name, place in places.items()}
    return places


def _above(name: str, body: Body, found: Fit) -> tuple[str | None, list[float]]:
    """The next joint towards the neck that is seen, and the ratios of the bones between."""
    ratios: list[float] = []
    bone: Bone | None = PARENT.get(name)
    while bone is not None:
        ratios.append(found.ratios[bone.child])
        if bone.parent in body.places:
            return bone.parent, ratios
        bone = PARENT.get(bone.parent)
    return None, ratios


def _spread(skeleton: Skeleton, points: Floats, body: Body, places: Mapping[str, Floats], found: Fit) -> Floats:
    """(k, 2): joints where they go, and whatever else goes with one of them."""
    new = np.empty(points.shape)
    for i, name in enumerate(skeleton.points):
        if name in places:
            new[i] = places[name]
            continue
        joint, ratio = _carrier(name, found)
        if joint in places:
            new[i] = places[joint] + ratio * (points[i] - body.places[joint])
        else:
            new[i] = found.place(points[i].astype(float))
    return new


def _carrier(name: str, found: Fit) -> tuple[str, float]:
    """What a point that is no joint of the tree goes with, and how it is scaled."""
    side = "left" if name.startswith("left_") else "right"
    if "hand_" in name:
        return f"{side}_wrist", (found.ratios["left_shoulder"] + found.ratios["right_shoulder"]) / 2
    if "face_" in name:
        return "nose", found.ratios["left_eye"]
    return (PARENT[name].parent, found.ratios[name]) if name in PARENT else ("neck", found.size)


def _left_out(skeleton: Skeleton, found: Fit, options: Retargeting) -> list[int]:
    """Rows of points that are not wanted."""

    def gone(name: str) -> bool:
        if "hand_" in name and not options.hands:
            return True
        if "face_" in name and not options.face:
            return True
        joint: str | None = name if name in PARENT else _carrier(name, found)[0]
        while joint is not None:
            if joint in found.dropped and (joint != "mid_hip" or name == "mid_hip"):
                return True
            joint = PARENT[joint].parent if joint in PARENT else None
        return False

    return [i for i, name in enumerate(skeleton.points) if gone(name)]


def _boxed(box: Floats, old: Floats, new: Floats) -> Floats:
    """The box around the new points, with the same room beside them."""
    if not len(old):
        return box
    low, high = old.min(axis=0), old.max(axis=0)
    new_low, new_high = new.min(axis=0), new.max(axis=0)
    scale = (new_high - new_low) / np.maximum(high - low, 1e-6)
    return np.concatenate([new_low - scale * (low - box[:2]), new_high + scale * (box[2:] - high)])


def retargeted(
    moments: Callable[[], Iterator[Moment]],
    reference: Poses,
    reference_size_px: tuple[int, int],
    options: Retargeting | None = None,
) -> Iterator[Moment]:
    """A clip in the reference's proportions.

    The driving person is measured in the first frame that shows their neck (or in the first of all, if none does); a
    bone that is not seen there, in the first frame that shows it.

    Args:
        moments: gives the clip from its beginning at each call; of one person, or the first of each frame is measured.
        reference: its first person.
        reference_size_px: of its picture.
        options: how.

    Raises:
        ConfigError: nobody is in the reference, or ever in the clip.
    """
    options = options or Retargeting()
    if not len(reference):
        raise ConfigError("nobody is in the reference: give a picture or poses of one person")
    measured = _measured(moments(), options.min_score)
    if measured is None:
        raise ConfigError("nobody is in the clip whose movement is to be taken")
    body, box = measured
    found = fit(body, box, body_of(reference, 0, options.min_score), reference.boxes[0], options)
    for moment in moments():
        size_px = reference_size_px if options.align == "reference" else moment.size_px
        yield replace(moment, poses=retarget(moment.poses, found, options), size_px=size_px)


def _measured(moments: Iterable[Moment], min_score: float) -> tuple[Body, Floats] | None:
    """The first person as they begin; joints that come later are where their bone makes them, once it is seen."""
    first: Body | None = None
    box: Floats | None = None
    for moment in moments:
        if not len(moment.poses):
            continue
        body = body_of(moment.poses, 0, min_score)
        if first is None or box is None or ("neck" not in first.places and "neck" in body.places):
            first, box = body, moment.poses.boxes[0]
            continue
        places = dict(first.places)
        for bone in BONES:
            if bone.child not in places and bone.parent in places and body.length(bone) is not None:
                places[bone.child] = places[bone.parent] + body.places[bone.child] - body.places[bone.parent]
        first = Body(places)
    return None if first is None or box is None else (first, box)
