"""Which family a model is of, read from its graph and its metadata."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from streampose.errors import ConfigError, ModelUnknown
from streampose.inference import heads
from streampose.inference.card import IMAGENET_MEAN, IMAGENET_STD, Card, Fit, Kind
from streampose.inference.metadata import MOST_PX, class_names, key_points, picture_px, said_by
from streampose.inference.signature import METADATA_KEY, TENSOR_TYPES, Signature
from streampose.pose import Skeleton
from streampose.skeletons import COCO_17, SKELETONS

__all__ = ["FAMILIES", "read_card"]


def _yolo_card(s: Signature, family: str) -> Card:
    names = class_names(s) or {0: "person"}
    person = next((index for index, name in names.items() if name.casefold() == "person"), None)
    if person is None and len(names) > 1 and "person" not in s.own():
        raise ModelUnknown(
            f"{s.path.name} finds {', '.join(names.values()):.80}, but no person: say which class people "
            f'are, as {{"person": 1}} under its metadata {METADATA_KEY!r}'
        )
    return Card(
        family=family,
        kind=Kind.DETECTOR,
        size_px=s.size_px or picture_px(s) or (640, 640),
        std=(255,) * 3,
        fit=Fit.CENTER,
        rect=True,
        person=person or 0,
    )


def _yolo_pose_card(s: Signature, family: str, axis: int, before: int) -> Card:
    """Of a head with the numbers of one person along an axis, so many of them before those of the key points."""
    length, shape = s.outputs[0].shape[axis], key_points(s)
    if shape is None:
        if length is None:
            raise ValueError("how many key points is left open")
        shape = (length - before) // 3, 3
    k, each = shape
    if each != 3:
        raise ValueError(f"{k} key points of {each} numbers, not of x, y, score")
    # Without NMS there is a score for each class, else one and the class's number.
    each_scored = axis == 1
    named = len(class_names(s)) or 1 if each_scored else 1
    classes = named if length is None else length - before - 3 * k + 1
    if classes not in {1, named}:
        raise ValueError(f"{length} numbers, not {before + named - 1} and 3 for each of {k} key points")
    return replace(_yolo_card(s, family), kind=Kind.ONE_STAGE, points=k, classes=classes if each_scored else None)


def _top_down_card(s: Signature, family: str, **facts: Any) -> Card:
    return Card(
        family=family,
        kind=Kind.KEYPOINTS,
        size_px=(192, 256),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        points=s.outputs[0].shape[1],
        **facts,
    )


def _rtmo_card(s: Signature, family: str) -> Card:
    points = s.outputs[1].shape[2] if len(s.outputs[1].shape) == 4 else None
    # MMDeploy leaves the number open; the published RTMO models have COCO's 17.
    skeleton = COCO_17 if points is None else None
    return Card(family=family, kind=Kind.ONE_STAGE, size_px=(640, 640), rgb=False, points=points, skeleton=skeleton)


# Of what finds people: its coarsest cells have 32 pixels.
_SIDES_PX = range(32, MOST_PX + 1, 32)


def _square(kind: Kind, side_px: int, **facts: Any) -> Callable[[Signature, str], Card]:
    """The card of a family whose graphs add nothing to these facts but a size, where it is no such square."""
    return lambda _, family: Card(family=family, kind=kind, size_px=(side_px, side_px), **facts)


# No crop for true boxes is published. AP on 68 people: 1.0 → 0.39, 1.15 → 0.36, 1.25 → 0.35, 1.5 → 0.32; not the very
# best of these, since a detector's boxes are often a little tight.
_MOVENETS_PADDING = 1.15

# In this order: the more specific signature first.
FAMILIES: Mapping[str, tuple[Callable[[Signature], bool], Callable[[Signature, str], Card]]] = {
    "yolox-nms": (heads.is_yolox_nms, _square(Kind.DETECTOR, 640, rgb=False)),
    "rtmdet": (
        heads.is_rtmdet,
        _square(Kind.DETECTOR, 320, rgb=False, mean=IMAGENET_MEAN[::-1], std=IMAGENET_STD[::-1]),
    ),
    "rtmo": (heads.is_rtmo, _rtmo_card),
    "movenet": (
        heads.is_movenet,
        _square(Kind.KEYPOINTS, 192, channels_last=True, points=17, padding=_MOVENETS_PADDING),
    ),
    "heatmap": (heads.is_heatmap, _top_down_card),
    # ViTPose has heatmap's signature but UDP's geometry: it has to be named.
    "vitpose": (lambda _: False, lambda s, family: _top_down_card(s, family, udp=True)),
    "simcc": (heads.is_simcc, _top_down_card),
    "picodet": (heads.is_picodet, _square(Kind.DETECTOR, 320, mean=IMAGENET_MEAN, std=IMAGENET_STD, fit=Fit.STRETCH)),
    "yolox": (heads.is_yolox, _square(Kind.DETECTOR, 416, rgb=False)),
    # YOLOX exported with its boxes decoded has the same signature: it has to be named.
    "yolox-decoded": (lambda _: False, _square(Kind.DETECTOR, 640, rgb=False)),
    "yolo-pose-end2end": (heads.is_yolo_pose_end2end, lambda s, family: _yolo_pose_card(s, family, 2, 6)),
    "yolo-end2end": (heads.is_yolo_end2end, _yolo_card),
    "yolo-pose": (heads.is_yolo_pose, lambda s, family: _yolo_pose_card(s, family, 1, 5)),
    "yolo": (heads.is_yolo, _yolo_card),
}
"""By name: whether a signature is of this family, and its card."""


def read_card(
    signature: Signature,
    name: str,
    *,
    family: str | None = None,
    skeleton: Skeleton | None = None,
    size_px: tuple[int, int] | None = None,
) -> Card:
    """What a model wants and gives.

    Args:
        signature: of the graph.
        name: of the file, for messages.
        family: overrides what the graph and its metadata say.
        skeleton: the same.
        size_px: width and height, for a graph that leaves them open; `None` = the family's usual size.

    Raises:
        ModelUnknown: the graph takes no pictures, fits no family, or its number of points fits no skeleton.
        ConfigError: no such family, or a size or skeleton that the graph does not have.
    """
    if (kind := signature.inputs[0].dtype) not in TENSOR_TYPES:
        raise ModelUnknown(f"{name} takes {kind}, and pictures are given as one of {', '.join(TENSOR_TYPES)}")
    said = said_by(signature)
    own = said.pop("family", None)
    family = family or own or next((f for f, (matches, _) in FAMILIES.items() if matches(signature)), None)
    if family is None:
        raise ModelUnknown(
            f"{name} is of no family that is known here: {signature}. Known: {', '.join(FAMILIES)}; "
            "name one if the model is of it after all"
        )
    if family not in FAMILIES:
        raise ConfigError(f"{name}: no family is called {family!r}; there are: {', '.join(FAMILIES)}")
    if not signature.takes_pictures:
        raise ModelUnknown(f"{name} does not take pictures of three colours: {signature}")
    if not heads.could_be(signature, family):
        raise ModelUnknown(f"{name} does not look like {family}: {signature}")
    try:
        card = replace(FAMILIES[family][1](signature, family), **said)
    except ModelUnknown:
        raise
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        raise ModelUnknown(f"{name} does not look like {family}: {signature} ({error})") from error
    if (classes := card.classes or heads.classes(signature, family)) is not None and card.person >= classes:
        raise ModelUnknown(f"{name} has no class {card.person} as that of people: {signature}")
    skeleton = skeleton or card.skeleton or heads.SKELETON_BY_SIZE.get(card.points or 0)
    if card.kind is not Kind.DETECTOR and skeleton is None:
        raise ModelUnknown(
            f"{name} ({family}) has a number of key points that no default skeleton has: {signature}. "
            f"Name its skeleton: {', '.join(SKELETONS)}; or give it its own under its metadata {METADATA_KEY!r}: "
            '{"skeleton": {"name": …, "points": [names], "edges": [[0, 1], …]}}'
        )
    if skeleton is not None and card.points not in {None, len(skeleton)}:
        raise ConfigError(f"{name} has {card.points} key points, and the skeleton {skeleton.name} {len(skeleton)}")
    return replace(
        card,
        size_px=_size(signature, card, name, size_px),
        skeleton=skeleton,
        channels_last=card.channels_last or signature.channels_last,
    )


def _size(signature: Signature, card: Card, name: str, asked: tuple[int, int] | None) -> tuple[int, int]:
    if asked is None and signature.size_px is not None:
        return signature.size_px
    size = asked or card.size_px
    sides = list(zip(size, signature.sides_px, strict=True))
    if any(fixed not in {None, side} for side, fixed in sides):
        takes = "×".join("any" if fixed is None else str(fixed) for _, fixed in sides)
        raise ConfigError(f"{name} takes {takes} only, not {size[0]}×{size[1]}")
    by_32 = asked is not None or card.kind is not Kind.KEYPOINTS
    if by_32 and any(fixed is None and side not in _SIDES_PX for side, fixed in sides):
        raise ConfigError(
            f"{name}: a detector's size is a multiple of 32 pixels, at most {MOST_PX}, not {size[0]}×{size[1]}"
        )
    return size
