"""One person's movement in another person's proportions.

Each bone keeps its direction in every frame; its length is multiplied by what the reference's bone measures against
the same bone of the driving person. Bones hang on one another from the neck on, hands on wrists, the face on the nose,
and the whole is put where its anchor belongs. Each of the two is measured in the pixels of its own picture.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from streampose.clip import Moment
from streampose.errors import ConfigError
from streampose.motion.bones import BONES, PARENT, Body, Bone, body_of
from streampose.motion.fit import Fit, Retargeting, anchor_of, fit, middle_of
from streampose.motion.sightings import Who
from streampose.pose import Poses, Skeleton

__all__ = ["retarget", "retargeted"]

Floats: TypeAlias = NDArray[np.floating[Any]]


def retarget(poses: Poses, found: Fit, options: Retargeting, known: dict[int, Body] | None = None) -> Poses:
    """Everybody of one frame in the proportions that were found.

    Points that are not seen stay so. A joint that is missing is thought to be where it was last, beside its neighbours,
    so that nothing else moves because of it; where it was never seen, what hangs on it hangs on the next one that is.
    A joint that is left out takes what hangs on it along.

    Args:
        poses: of the frame.
        found: from `fit`.
        options: how.
        known: each person as they were last, by id; is kept up to date.
    """
    known = {} if known is None else known
    points, scores, boxes = poses.points.copy(), poses.scores.copy(), poses.boxes.copy()
    gone = _left_out(poses.skeleton, found, options)
    for row in range(len(poses)):
        person = row if poses.ids is None else int(poses.ids[row])
        body = _remembered(body_of(poses, row, options.min_score), known.get(person))
        known[person] = body
        places = _placed(body, poses.boxes[row], found)
        new = _spread(poses.skeleton, poses.points[row], body, places, found)
        scores[row][gone] = 0
        seen = (scores[row] >= options.min_score) & (scores[row] > 0)
        boxes[row] = _boxed(poses.boxes[row], poses.points[row][seen], new[seen])
        points[row] = new
    return replace(poses, points=points, scores=scores, boxes=boxes)


def _remembered(body: Body, last: Body | None) -> Body:
    """The same with joints that are missing, each as far from its neighbour as it was last."""
    if last is None:
        return body
    places = dict(body.places)
    again = True
    while again:
        again = False
        for bone in BONES:
            if bone.parent not in last.places or bone.child not in last.places:
                continue
            step = last.places[bone.child] - last.places[bone.parent]
            for name, neighbour, way in ((bone.parent, bone.child, -1), (bone.child, bone.parent, 1)):
                if name not in places and neighbour in places:
                    places[name] = places[neighbour] + way * step
                    again = True
    return Body(places)


def _placed(body: Body, box: Floats, found: Fit) -> dict[str, Floats]:
    """Where each joint goes that is seen or remembered."""
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
        (middle_of(box), None)
        if found.anchor == "box"
        else (anchor_of(body, found.anchor), anchor_of(Body(places), found.anchor))
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
    bone that is not seen there, in the first frame that shows it. Where others stand in for a while, it is who is there
    in most frames.

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
    known: dict[int, Body] = {}
    for moment in moments():
        people = range(len(moment.poses)) if moment.poses.ids is None else moment.poses.ids.tolist()
        for person in people:
            known.setdefault(person, body)
        size_px = reference_size_px if options.align == "reference" else moment.size_px
        yield replace(moment, poses=retarget(moment.poses, found, options, known), size_px=size_px)


def _measured(moments: Iterable[Moment], min_score: float) -> tuple[Body, Floats] | None:
    """Who is the one in most frames, as they begin; joints that come later are where their bone makes them, once it is
    seen."""
    found: dict[Who | None, tuple[Body, Floats]] = {}
    frames: Counter[Who | None] = Counter()
    for moment in moments:
        poses = moment.poses
        if not len(poses):
            continue
        who = None if poses.ids is None else (moment.epoch, int(poses.ids[0]))
        frames[who] += 1
        body = body_of(poses, 0, min_score)
        if who not in found or ("neck" not in found[who][0].places and "neck" in body.places):
            found[who] = body, poses.boxes[0]
            continue
        first, box = found[who]
        places = dict(first.places)
        for bone in BONES:
            if bone.child not in places and bone.parent in places and body.length(bone) is not None:
                places[bone.child] = places[bone.parent] + body.places[bone.child] - body.places[bone.parent]
        found[who] = Body(places), box
    return found[max(frames, key=frames.__getitem__)] if frames else None
