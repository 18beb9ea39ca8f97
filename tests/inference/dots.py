"""Small ONNX models that find coloured dots: the signatures of models whose weights we do not have, with an answer that
is known from the picture, so that geometry is checked from pixel to pixel."""

from __future__ import annotations

import itertools
from pathlib import Path

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# Levels far enough apart that a dot's edge, blended with black, hardly matches another colour.
_LEVELS = (60, 110, 160, 205, 250)


def _colours() -> np.ndarray:
    """RGB; the first ones are no darker shades of each other, since a dot's edge is blended with black."""
    every = np.array([c for c in itertools.product((0, *_LEVELS), repeat=3) if np.count_nonzero(c) > 1], float)
    first: list[np.ndarray] = []
    rest: list[np.ndarray] = []
    for colour in every[np.argsort(-every.sum(axis=1), kind="stable")]:
        shade = [np.abs(c * min(1.0, colour @ c / (c @ c)) - colour).sum() for c in first]
        (rest if shade and min(shade) < 30 else first).append(colour)
    return np.array(first + rest)


COLOURS = _colours()
IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
UNIT = ((0.0, 0.0, 0.0), (255.0, 255.0, 255.0))
PLAIN = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def paint(points: np.ndarray, height: int, width: int, radius: float = 6.0) -> np.ndarray:
    """A black picture with dot k at points[k] (centre of the first pixel = 0)."""
    image = np.zeros((height, width, 3), np.uint8)
    for (x, y), colour in zip(points, COLOURS, strict=False):
        bgr = tuple(float(v) for v in colour[::-1])
        cv2.circle(image, (round(x * 16), round(y * 16)), round(radius * 16), bgr, cv2.FILLED, cv2.LINE_8, 4)
    return image


class Graph:
    """Nodes and constants, gathered."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._count = itertools.count()

    def const(self, value: object, dtype: type = np.float32) -> str:
        name = f"c{next(self._count)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def __call__(self, op: str, *inputs: str, **attributes: object) -> str:
        name = f"t{next(self._count)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def rename(self, name: str, new: str) -> None:
        self.nodes.append(helper.make_node("Identity", [name], [new]))


def _response(g: Graph, image: str, k: int, pixels: tuple, *, rgb: bool) -> str:
    """(b, k, h, w): 1 where the picture has colour k, 0 elsewhere."""
    mean, std = (np.array(v) for v in pixels)
    colours = COLOURS[:k] if rgb else COLOURS[:k, ::-1]
    # |x·std + mean − colour| per channel, as a 1×1 convolution to 3k channels.
    weight = np.zeros((3 * k, 3, 1, 1))
    for j in range(k):
        weight[3 * j + np.arange(3), np.arange(3), 0, 0] = std
    bias = (mean - colours).reshape(-1)
    apart = g("Abs", g("Conv", image, g.const(weight), g.const(bias)))
    gather = np.full((k, 3, 1, 1), -1 / 24)
    return g("Relu", g("Conv", apart, g.const(gather), g.const(np.ones(k)), group=k))


def _centroids(g: Graph, response: str, size: tuple[int, int] | None) -> tuple[str, str]:
    """(b, k, 2) x y of each dot, and (b, k, 1) whether it is there; of pictures of one size, or of any."""
    total = g("ReduceSum", response, g.const([2, 3], np.int64), keepdims=0)
    safe = g("Max", total, g.const(1e-6))
    if size is None:
        ones = g("Add", g("Mul", response, g.const(0.0)), g.const(1.0))
        grids = [g("Sub", g("CumSum", ones, g.const(axis, np.int64)), g.const(1.0)) for axis in (3, 2)]
    else:
        y, x = np.mgrid[: size[1], : size[0]]
        grids = [g.const(x), g.const(y)]
    both = [
        g("Div", g("ReduceSum", g("Mul", response, grid), g.const([2, 3], np.int64), keepdims=0), safe)
        for grid in grids
    ]
    last = g.const([2], np.int64)
    points = g("Concat", *[g("Unsqueeze", v, last) for v in both], axis=2)
    there = g("Unsqueeze", g("Min", total, g.const(1.0)), last)
    return points, there


def _person(g: Graph, response: str, k: int, size: tuple[int, int] | None) -> tuple[str, str, str]:
    """(b, 1, 4) corners around all dots, (b, 1, 1) score, (b, 1, 3k) points."""
    points, there = _centroids(g, response, size)
    axis = g.const([1], np.int64)
    corners = g("Concat", g("ReduceMin", points, axis), g("ReduceMax", points, axis), axis=2)
    score = g("ReduceMin", there, axis)
    rows = g("Reshape", g("Concat", points, there, axis=2), g.const([0, 1, 3 * k], np.int64))
    return corners, score, rows


def _padded(g: Graph, row: str, rows: int) -> str:
    """(b, 1, c) → (b, rows, c), the rest zeros."""
    return g("Pad", row, g.const([0, 0, 0, 0, rows - 1, 0], np.int64))


def build(  # noqa: PLR0915 - one signature after the other
    path: Path, kind: str, *, k: int = 17, size: tuple[int, int] = (192, 256), batch: int | str = "b", **options
) -> Path:
    """Write a model of a family's signature.

    Args:
        path: of the file.
        kind: heatmap, heatmap-udp, simcc, rtmo, rtmdet, yolo-pose, yolo-pose-end2end, yolo-end2end, yolo, nan.
        k: points.
        size: width and height of the input.
        batch: a number, or a symbol.
        options: metadata=dict, free_size=True: the graph says that its size is open; any_size=True: and so it is.
    """
    g = Graph()
    width, height = size
    pixels, rgb = {"rtmo": (PLAIN, False), "rtmdet": ((IMAGENET[0][::-1], IMAGENET[1][::-1]), False)}.get(
        kind, (UNIT if kind.startswith("yolo") else IMAGENET, True)
    )
    response = _response(g, "image", k, pixels, rgb=rgb)
    f, outputs = TensorProto.FLOAT, {}

    def out(name: str, tensor: str, shape: list, dtype: int = f) -> None:
        g.rename(tensor, name)
        outputs[name] = helper.make_tensor_value_info(name, dtype, [batch, *shape])

    if kind in {"heatmap", "heatmap-udp", "nan"}:
        # A Gaussian of 2 map pixels, as these models are trained to give.
        span = np.arange(-20, 21)
        row = np.exp(-(span**2) / (2 * 8.0**2))
        for shape, pads in (((k, 1, 1, 41), [0, 20, 0, 20]), ((k, 1, 41, 1), [20, 0, 20, 0])):
            weight = np.broadcast_to(row.reshape(1, 1, *shape[2:]), shape)
            response = g("Conv", response, g.const(weight), group=k, pads=pads)
        response = g("Mul", response, g.const(1 / 60))
        if kind == "heatmap-udp":
            sizes = g.const([height // 4, width // 4], np.int64)
            maps = g(
                "Resize",
                response,
                "",
                "",
                sizes,
                mode="linear",
                coordinate_transformation_mode="align_corners",
                axes=[2, 3],
            )
        else:
            maps = g("MaxPool", response, kernel_shape=[1, 1], strides=[4, 4])
        if kind == "nan":
            maps = g("Log", g("Sub", g("Mul", maps, g.const(0.0)), g.const(1.0)))
        out("heatmaps", maps, [k, height // 4, width // 4])
    elif kind == "simcc":
        for name, over, n in (("simcc_x", 2, width), ("simcc_y", 3, height)):
            line = g("ReduceSum", response, g.const([over], np.int64), keepdims=0)
            # Bin i stands for pixel i / 2; the blur makes the middle of the dot the peak.
            line = g("Resize", line, "", g.const([1, 1, 2]), mode="linear", coordinate_transformation_mode="asymmetric")
            row = np.exp(-(np.arange(-18, 19) ** 2) / (2 * 6.0**2)) / 200
            out(name, g("Conv", line, g.const(np.broadcast_to(row, (k, 1, 37))), group=k, pads=[18, 18]), [k, 2 * n])
    else:
        corners, score, rows = _person(g, response, k, None if options.get("any_size") else size)
        if kind in {"rtmo", "rtmdet"}:
            out("dets", g("Concat", corners, score, axis=2), [1, 5])
            if kind == "rtmo":
                out("keypoints", g("Reshape", rows, g.const([0, 1, k, 3], np.int64)), [1, k, 3])
            else:
                label = g(
                    "Cast", g("Mul", g("Squeeze", score, g.const([2], np.int64)), g.const(0.0)), to=TensorProto.INT64
                )
                out("labels", label, [1], TensorProto.INT64)
        elif kind in {"yolo-pose", "yolo"}:
            centre = g.const([[[0.5, 0, 0.5, 0], [0, 0.5, 0, 0.5], [-1, 0, 1, 0], [0, -1, 0, 1]]])
            box = g("MatMul", corners, g("Transpose", centre, perm=[0, 2, 1]))
            parts = [box, score, rows] if kind == "yolo-pose" else [box, score, g("Mul", score, g.const(0.1))]
            columns = 5 + 3 * k if kind == "yolo-pose" else 6
            out("output0", g("Transpose", _padded(g, g("Concat", *parts, axis=2), 500), perm=[0, 2, 1]), [columns, 500])
        else:
            parts = [corners, score, g("Mul", score, g.const(0.0))] + ([rows] if "pose" in kind else [])
            out("output0", _padded(g, g("Concat", *parts, axis=2), 300), [300, 6 + (3 * k if "pose" in kind else 0)])
    shape = [batch, 3, *(("h", "w") if options.get("free_size") or options.get("any_size") else (height, width))]
    image = helper.make_tensor_value_info("image", f, shape)
    graph = helper.make_graph(g.nodes, kind, [image], list(outputs.values()), g.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, options.get("metadata", {}))
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path
