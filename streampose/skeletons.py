"""The skeletons that models and formats of this field use. Left and right are the person's own."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from streampose.errors import FormatUnreadable
from streampose.pose import Skeleton

__all__ = [
    "ANIMATION_20",
    "COCO_17",
    "COCO_WHOLEBODY_133",
    "FACE",
    "FEET",
    "HALPE_26",
    "LEFT_HAND",
    "OPENPOSE_18",
    "OPENPOSE_25",
    "RIGHT_HAND",
    "SKELETONS",
    "said_of",
    "skeleton_of",
]

_COCO = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear",
    "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
    "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip

_COCO_EDGES = (
    (15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8),
    (7, 9), (8, 10), (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6),
)  # fmt: skip

COCO_17 = Skeleton(
    name="coco-17",
    points=_COCO,
    edges=_COCO_EDGES,
    # pycocotools' keypoint sigmas (COCO keypoint evaluation).
    sigmas=(0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062,
            0.107, 0.107, 0.087, 0.087, 0.089, 0.089),
)  # fmt: skip
"""COCO key points (cocodataset.org)."""

HALPE_26 = Skeleton(
    name="halpe-26",
    points=(
        *_COCO, "head_top", "neck", "mid_hip",
        "left_big_toe", "right_big_toe", "left_small_toe", "right_small_toe", "left_heel", "right_heel",
    ),
    edges=(
        (15, 13), (13, 11), (11, 19), (16, 14), (14, 12), (12, 19), (17, 18), (18, 19),
        (18, 5), (5, 7), (7, 9), (18, 6), (6, 8), (8, 10), (1, 2), (0, 1), (0, 2), (1, 3), (2, 4),
        (3, 5), (4, 6), (15, 20), (15, 22), (15, 24), (16, 21), (16, 23), (16, 25),
    ),
)  # fmt: skip
"""Halpe full-body without face and hands, as AlphaPose and RTMPose ``body26`` use it."""

_FEET = ("left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel")
_FINGERS = ("thumb", "index", "middle", "ring", "pinky")


def _face_points() -> tuple[str, ...]:
    """The 68 points of the iBUG 300-W face, named so that a point's mirror image is the other side's name."""

    def side(name: str, parts: str) -> list[str]:
        return [f"{name}_face_{part}" for part in parts.split()]

    # The scheme starts with the person's right half. Eyes and lips run round: along the top, back along the bottom.
    jaw = "jaw_0 jaw_1 jaw_2 jaw_3 jaw_4 jaw_5 jaw_6 jaw_7"
    brow = "brow_0 brow_1 brow_2 brow_3 brow_4"
    return (
        *side("right", jaw), "face_chin", *reversed(side("left", jaw)),
        *side("right", brow), *reversed(side("left", brow)),
        "face_nose_bridge_0", "face_nose_bridge_1", "face_nose_bridge_2", "face_nose_bridge_3",
        *side("right", "nostril_0 nostril_1"), "face_nose_base", *side("left", "nostril_1 nostril_0"),
        *side("right", "eye_outer eye_top_0 eye_top_1 eye_inner eye_low_1 eye_low_0"),
        *side("left", "eye_inner eye_top_1 eye_top_0 eye_outer eye_low_0 eye_low_1"),
        *side("right", "mouth lip_0 lip_1"), "face_lip_top", *side("left", "lip_1 lip_0 mouth"),
        *side("left", "lip_2 lip_3"), "face_lip_low", *side("right", "lip_3 lip_2"),
        *side("right", "mouth_in lip_in_0"), "face_lip_top_in", *side("left", "lip_in_0 mouth_in"),
        *side("left", "lip_in_1"), "face_lip_low_in", *side("right", "lip_in_1"),
    )  # fmt: skip


def _hand_points(side: str) -> tuple[str, ...]:
    return (
        f"{side}_hand_wrist",
        *(f"{side}_hand_{finger}_{joint}" for finger in _FINGERS for joint in range(1, 5)),
    )


def _hand_edges(first: int) -> tuple[tuple[int, int], ...]:
    roots = [first + 1 + 4 * finger for finger in range(5)]
    return tuple(edge for r in roots for edge in ((first, r), (r, r + 1), (r + 1, r + 2), (r + 2, r + 3)))


COCO_WHOLEBODY_133 = Skeleton(
    name="coco-wholebody-133",
    points=(*_COCO, *_FEET, *_face_points(), *_hand_points("left"), *_hand_points("right")),
    edges=(
        *_COCO_EDGES,
        (15, 17), (15, 18), (15, 19), (16, 20), (16, 21), (16, 22),
        *_hand_edges(91), *_hand_edges(112),
    ),
)  # fmt: skip
"""COCO-WholeBody (Jin et al., ECCV 2020): body 0–16, feet 17–22, face 23–90, left hand 91–111, right hand 112–132."""

FEET, FACE, LEFT_HAND, RIGHT_HAND = slice(17, 23), slice(23, 91), slice(91, 112), slice(112, 133)
"""Rows of `COCO_WHOLEBODY_133`."""

_OPENPOSE_ARMS_LEGS = (
    "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
)  # fmt: skip

OPENPOSE_18 = Skeleton(
    name="openpose-18",
    points=(
        "nose", "neck", *_OPENPOSE_ARMS_LEGS, "right_hip", "right_knee", "right_ankle",
        "left_hip", "left_knee", "left_ankle", "right_eye", "left_eye", "right_ear", "left_ear",
    ),
    edges=(
        (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13),
        (1, 0), (0, 14), (14, 16), (0, 15), (15, 17),
    ),
)  # fmt: skip
"""OpenPose's COCO model output (CMU-Perceptual-Computing-Lab/openpose)."""

OPENPOSE_25 = Skeleton(
    name="openpose-25",
    points=(
        "nose", "neck", *_OPENPOSE_ARMS_LEGS, "mid_hip", "right_hip", "right_knee", "right_ankle",
        "left_hip", "left_knee", "left_ankle", "right_eye", "left_eye", "right_ear", "left_ear",
        "left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel",
    ),
    edges=(
        (1, 8), (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (8, 9), (9, 10), (10, 11), (8, 12), (12, 13),
        (13, 14), (1, 0), (0, 15), (15, 17), (0, 16), (16, 18), (14, 19), (19, 20), (14, 21), (11, 22),
        (22, 23), (11, 24),
    ),
)  # fmt: skip
"""OpenPose's BODY_25 model output."""

ANIMATION_20 = Skeleton(
    name="animation-20",
    points=(*OPENPOSE_18.points, "left_toe", "right_toe"),
    edges=(*OPENPOSE_18.edges, (13, 18), (10, 19)),
)
"""OpenPose's 18 with a toe for each foot, as ViTPose-driven animation models (Wan-Animate) are shown bodies."""

SKELETONS = {s.name: s for s in (COCO_17, HALPE_26, COCO_WHOLEBODY_133, OPENPOSE_18, OPENPOSE_25, ANIMATION_20)}
"""By name: these, and those that you put here."""

_OURS = frozenset(SKELETONS.values())


def said_of(skeleton: Skeleton) -> dict[str, Any]:
    """What `skeleton_of` takes, as JSON has it: the name, and of one that is not ours its points and edges."""
    if skeleton in _OURS:
        return {"skeleton": skeleton.name}
    return {"skeleton": skeleton.name, "names": list(skeleton.points), "edges": [list(e) for e in skeleton.edges]}


def skeleton_of(
    name: object, names: Iterable[str] | None = None, edges: Iterable[Iterable[int]] | None = None
) -> Skeleton:
    """The one that a file names.

    Args:
        name: of the skeleton.
        names: of its points, where the file says them: then it need not be known here.
        edges: pairs of their numbers.

    Raises:
        FormatUnreadable: it is not in `SKELETONS`, and the file does not say its points.
        ConfigError: what the file says of it makes no skeleton.
    """
    known = SKELETONS.get(name) if isinstance(name, str) else None
    if names is None or not isinstance(name, str):
        if known is None:
            raise FormatUnreadable(
                f"the skeleton {name!r:.80} is not known: put your own into streampose.skeletons.SKELETONS, by its name"
            )
        return known
    points = tuple(names)
    return known if known is not None and known.points == points else _own(name, points, tuple(map(tuple, edges or ())))


# A file names it with each frame.
@lru_cache(16)
def _own(name: str, points: tuple[str, ...], edges: tuple[tuple[int, int], ...]) -> Skeleton:
    return Skeleton(name=name, points=points, edges=edges)
