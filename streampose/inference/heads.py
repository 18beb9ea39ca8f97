"""How the outputs of each family look: what tells them apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

from streampose.inference.signature import Signature
from streampose.skeletons import COCO_17, COCO_WHOLEBODY_133, HALPE_26

# What a family's models are published with; a model of another skeleton must say so (metadata or `skeleton=`).
SKELETON_BY_SIZE = {len(s): s for s in (COCO_17, HALPE_26, COCO_WHOLEBODY_133)}

# Fewer are no anchors: 96 × 96 pixels have 189, and what MoveNet MultiPose gives ([1, 6, 56]) are its people.
_FEWEST_ANCHORS = 100
# More are anchors, not what a head without NMS leaves of them, which is 300 by default: raw heads of YOLOv5 and YOLOv7
# ([b, 25200, 6], [b, 25500, 57]) have a centre and a size where it has corners.
_MOST_BOXES = 1000

_Shape = tuple[int | None, ...]


def _shapes(signature: Signature) -> list[_Shape]:
    return [t.shape for t in signature.outputs]


def _single(signature: Signature) -> _Shape:
    """Of the only output, if it has three dimensions; else none is known."""
    shapes = _shapes(signature)
    return shapes[0] if len(shapes) == 1 and len(shapes[0]) == 3 else (None,) * 3


def _named(signature: Signature, *names: str) -> bool:
    return [t.name for t in signature.outputs] == list(names)


def _is_task(signature: Signature, task: str) -> bool:
    """Whether Ultralytics' metadata, if any, names this task: ``detect``, ``pose``, …"""
    return signature.metadata.get("task", task) == task


def is_yolox_nms(s: Signature) -> bool:
    """MMDeploy gives RTMDet and YOLOX one signature, but their pixels differ; YOLOX's head names its weights so."""
    return is_rtmdet(s) and s.mentions(b"bbox_head.multi_level_conv")


def is_rtmdet(s: Signature) -> bool:
    """A detector from MMDeploy, suppression inside: dets [b, n, 5], labels [b, n]."""
    return _named(s, "dets", "labels")


def is_rtmo(s: Signature) -> bool:
    """From MMDeploy: dets [b, n, 5], keypoints [b, n, k, 3]."""
    return _named(s, "dets", "keypoints")


def is_movenet(s: Signature) -> bool:
    """One person: [1, 1, 17, 3]."""
    return _shapes(s) == [(1, 1, 17, 3)]


def is_heatmap(s: Signature) -> bool:
    """[b, k, h, w] at a half or a quarter of the input's size."""
    shape, *others = _shapes(s)
    size = s.size_px
    return (
        not others
        and len(shape) == 4
        and None not in shape[1:]
        and size is not None
        and any((shape[3], shape[2]) == (size[0] // d, size[1] // d) for d in (2, 4))
    )


def is_simcc(s: Signature) -> bool:
    """[b, k, W · 2] and [b, k, H · 2]."""
    shapes = _shapes(s)
    if len(shapes) != 2 or any(len(shape) != 3 for shape in shapes):
        return False
    size, (x, y) = s.size_px, shapes
    return _named(s, "simcc_x", "simcc_y") or (size is not None and (x[2], y[2]) == (size[0] * 2, size[1] * 2))


def is_picodet(s: Signature) -> bool:
    """[b, classes, n] and [b, n, 4], before suppression."""
    shapes = _shapes(s)
    return (
        len(shapes) == 2
        and all(len(shape) == 3 for shape in shapes)
        and shapes[1][2] == 4
        and shapes[0][2] == shapes[1][1]
        and shapes[0][2] is not None
    )


def is_yolox(s: Signature) -> bool:
    """[b, n, 5 + classes] for the n cells of strides 8, 16 and 32."""
    _, cells, numbers = _single(s)
    return s.size_px is not None and (numbers or 0) >= 6 and cells == _cells(s.size_px)


def _cells(size: tuple[int, int]) -> int:
    """Of strides 8, 16 and 32 together."""
    return sum((size[0] // d) * (size[1] // d) for d in (8, 16, 32))


def yolo_columns(s: Signature) -> int:
    """The C of a YOLO head's [batch, C, anchors], else 0."""
    _, columns, anchors = _single(s)
    # Exported for pictures of any size, the number of anchors is open; then only Ultralytics' metadata tells.
    said = "task" in s.metadata
    if columns and anchors:
        return columns if columns < anchors and (said or anchors >= _FEWEST_ANCHORS) else 0
    return (columns or 0) if said else 0


def is_yolo_pose(s: Signature) -> bool:
    """[b, 5 + 3·k, anchors]."""
    return _is_pose(s, yolo_columns(s) - 5)


def is_yolo(s: Signature) -> bool:
    """[b, 4 + classes, anchors]."""
    return yolo_columns(s) > 4 and _is_task(s, "detect")


def end2end_rows(s: Signature) -> int:
    """The R of an NMS-free YOLO head's [batch, boxes, R], else 0."""
    _, boxes, rows = _single(s)
    said = "task" in s.metadata
    # Any number is right where the metadata says how long a row is: with NMS inside it is what `max_det` was.
    if boxes is None or (said and rows == _said_row(s)):
        return (rows or 0) if said else 0  # an open number is that of raw heads' anchors, too
    return rows if rows and rows <= boxes <= (math.inf if said else _MOST_BOXES) else 0


def _said_row(s: Signature) -> int | None:
    """How many numbers Ultralytics' metadata lets a row without NMS have; `None` = it does not say."""
    if s.metadata.get("task") == "detect":
        return 6
    match s.ultralytics("kpt_shape"):
        case [int(k), int(each)]:
            return 6 + k * each
    return None


def is_yolo_end2end(s: Signature) -> bool:
    """[b, n, 6]."""
    return end2end_rows(s) == 6 and _is_task(s, "detect")


def is_yolo_pose_end2end(s: Signature) -> bool:
    """[b, n, 6 + 3·k]."""
    return _is_pose(s, end2end_rows(s) - 6)


def _is_pose(s: Signature, numbers: int) -> bool:
    """Whether so many numbers are key points: the metadata says so, or they fit a skeleton."""
    return numbers > 0 and _is_task(s, "pose") and ("task" in s.metadata or numbers / 3 in SKELETON_BY_SIZE)


# What each family's decoder takes: a number as it is, one with a + or more, a letter any. Beside the output of a family
# in `_FIRST_COUNTS` there may be maps, as from YOLO's segmentation models.
_OUTPUTS = {
    "rtmdet": ("b n 5", "b n"),
    "yolox-nms": ("b n 5", "b n"),
    "rtmo": ("b n 5", "b n k 3"),
    "movenet": ("b 1 17 3",),
    "heatmap": ("b k h w",),
    "vitpose": ("b k h w",),
    "simcc": ("b k x", "b k y"),
    "picodet": ("b c n", "b n 4"),
    "yolox": ("b n 6+",),
    "yolox-decoded": ("b n 6+",),
    "yolo": ("b 5+ n",),
    "yolo-end2end": ("b n 6+",),
    "yolo-pose": ("b 8+ n",),
    "yolo-pose-end2end": ("b n 9+",),
}
_FIRST_COUNTS = {"yolo", "yolo-end2end", "yolo-pose", "yolo-pose-end2end"}


def could_be(s: Signature, family: str) -> bool:
    """Whether a family's decoder can take these outputs at all; nothing that the graph leaves open is against it."""
    wanted, shapes = _OUTPUTS[family], _shapes(s)
    given, more = shapes[: len(wanted)], shapes[len(wanted) :]
    if len(given) < len(wanted) or (more and family not in _FIRST_COUNTS) or any(0 < len(shape) < 4 for shape in more):
        return False
    if not all(not shape or _fits(shape, pattern.split()) for shape, pattern in zip(given, wanted, strict=True)):
        return False
    # Of which cell a row is, only its place says.
    return family != "yolox" or s.size_px is None or not shapes[0] or shapes[0][1] in {None, _cells(s.size_px)}


# Of one picture's classes in the first output: the axis, and how many other numbers are on it.
_CLASSES = {"picodet": (1, 0), "yolo": (1, 4), "yolox": (2, 5), "yolox-decoded": (2, 5)}


def classes(s: Signature, family: str) -> int | None:
    """How many classes a family's detector tells apart at most; `None` = its graph does not say."""
    axis, others = _CLASSES.get(family, (0, 0))
    shape = s.outputs[0].shape
    length = shape[axis] if axis and shape else None
    return None if length is None else length - others


def columns_axis(family: str) -> int | None:
    """The axis of the first output that has the numbers of one box, or its classes; `None` = its family says them."""
    return {"yolo-pose": 1, "yolo-pose-end2end": 2}.get(family, _CLASSES.get(family, (None,))[0])


def _fits(shape: _Shape, pattern: Sequence[str]) -> bool:
    return len(shape) == len(pattern) and all(map(_is_so_long, shape, pattern))


def _is_so_long(side: int | None, wanted: str) -> bool:
    number = wanted.rstrip("+")
    if side is None or not number.isdecimal():
        return True
    return side == int(number) or (wanted.endswith("+") and side > int(number))
