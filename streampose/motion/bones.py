"""A person as a tree of bones that hangs from the neck, whatever the skeleton."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from streampose.pose import Poses, Skeleton

__all__ = ["BONES", "Body", "Bone", "body_of"]

Floats: TypeAlias = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Bone:
    """From a joint to the next one farther from the neck."""

    parent: str
    child: str
    group: str
    """Bones of one group have one length ratio where their own is not known; those of the head always."""


def _both(parent: str, child: str, group: str) -> list[Bone]:
    return [
        Bone(parent if parent in {"neck", "mid_hip", "nose"} else f"{side}_{parent}", f"{side}_{child}", group)
        for side in ("left", "right")
    ]


BONES = (
    Bone("neck", "mid_hip", "trunk"),
    *_both("neck", "shoulder", "shoulders"),
    *_both("shoulder", "elbow", "arms"),
    *_both("elbow", "wrist", "arms"),
    *_both("mid_hip", "hip", "hips"),
    *_both("hip", "knee", "legs"),
    *_both("knee", "ankle", "legs"),
    *_both("ankle", "big_toe", "feet"),
    *_both("ankle", "small_toe", "feet"),
    *_both("ankle", "heel", "feet"),
    *_both("ankle", "toe", "feet"),
    Bone("neck", "nose", "neck"),
    Bone("nose", "head_top", "head"),
    *_both("nose", "eye", "head"),
    *_both("eye", "ear", "head"),
)
"""Parents come before their children."""

PARENT: Mapping[str, Bone] = {bone.child: bone for bone in BONES}


@dataclass(frozen=True, slots=True)
class Body:
    """Where one person's joints are, by name: those that are seen."""

    places: Mapping[str, Floats]

    def length(self, bone: Bone) -> float | None:
        """Of a bone, pixels; `None` = an end of it is not seen, or both are at one place."""
        return self.between(bone.parent, bone.child)

    def between(self, a: str, b: str) -> float | None:
        """How far two joints are apart, pixels."""
        if a not in self.places or b not in self.places:
            return None
        return float(np.linalg.norm(self.places[a] - self.places[b])) or None

    def measure(self, how: str) -> float | None:
        """How large the person is, pixels: ``height`` (nose to ankles), ``torso`` (neck to hips) or ``shoulders``."""
        if how == "height":
            ankles = [self.places[name] for name in ("left_ankle", "right_ankle") if name in self.places]
            if not ankles or "nose" not in self.places:
                return None
            return float(np.linalg.norm(np.mean(ankles, axis=0) - self.places["nose"])) or None
        return self.between("neck", "mid_hip") if how == "torso" else self.between("left_shoulder", "right_shoulder")


@lru_cache(maxsize=32)
def _joints(skeleton: Skeleton) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """The joints that a skeleton has, each as the mean of some of its points."""
    names = ["neck", *(bone.child for bone in BONES)]
    wanted = Skeleton(name="joints of " + skeleton.name, points=tuple(names), edges=())
    rows = skeleton.map_to(wanted)
    own = set(skeleton.points)
    # What is only the mean of two points of its own kind (a toe of two toes) hangs on nothing here.
    return tuple((n, r) for n, r in zip(names, rows, strict=True) if r and (n in own or n in {"neck", "mid_hip"}))


def body_of(poses: Poses, row: int, min_score: float) -> Body:
    """One person's joints; a joint that is a mean is seen when all its parts are."""
    points, seen = poses.points[row].astype(float), poses.seen(min_score)[row]
    return Body(
        {n: points[list(parts)].mean(axis=0) for n, parts in _joints(poses.skeleton) if seen[list(parts)].all()}
    )
