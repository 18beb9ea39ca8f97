"""Build the calibration model: an ONNX graph, made and not trained, that finds the synthetic source's markers.

    python training/markers.py [--out FILE]

It is a heatmap model like any other (input ``image`` [b, 3, 256, 448], output ``heatmaps`` [b, 17, 64, 112]), so that a
machine without a network can try the whole way from picture to key points. Joint j's map is high where the picture has
the colour of marker j.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from streampose.sources.markers import MARKER_RGB

OUT = Path(__file__).parents[1] / "streampose" / "inference" / "data" / "markers.onnx"

# 16:9, as cameras are: a person of a third of the picture's height has face markers of 1 pixel's radius here.
WIDTH, HEIGHT = 448, 256
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Colours farther than this (of 1 a channel) count for nothing; the nearest two markers are 0.44 apart.
RADIUS = 0.25
# A Gaussian, in pixels of half the input: with the pooling before it as wide as a marker, and with a sharp peak.
KERNEL, SIGMA = 5, 1.1
# A map's value is m / (m + HALF), with m the weighted share of marker pixels: small markers count nearly as large ones.
HALF = 0.05

CARD = {
    "family": "heatmap",
    "skeleton": "coco-17",
    "name": "markers",
    "purpose": "calibration: finds the coloured markers of the synthetic source, not people",
    "whole_frame": True,
}


def build() -> ModelProto:
    """The model."""
    joints = len(MARKER_RGB)
    colours = MARKER_RGB.astype(np.float64) / 255
    # 1 − |p − c|² / r² = (2c·p − |p|²) / r² + 1 − |c|² / r²: one 1×1 convolution over p and p².
    near = np.hstack([2 * colours, -np.ones((joints, 3))]) / RADIUS**2
    offset = 1 - (colours**2).sum(axis=1) / RADIUS**2
    span = np.exp(-0.5 * ((np.arange(KERNEL) - KERNEL // 2) / SIGMA) ** 2)
    weights = {
        "std": np.reshape(STD, (1, 3, 1, 1)),
        "mean": np.reshape(MEAN, (1, 3, 1, 1)),
        "near": near[..., None, None],
        "offset": offset,
        "blur": np.tile(np.outer(span, span) / span.sum() ** 2, (joints, 1, 1, 1)),
        "half": np.array(HALF),
    }
    nodes = [
        helper.make_node("Mul", ["image", "std"], ["scaled"]),
        helper.make_node("Add", ["scaled", "mean"], ["rgb"]),
        helper.make_node("Mul", ["rgb", "rgb"], ["squares"]),
        helper.make_node("Concat", ["rgb", "squares"], ["both"], axis=1),
        helper.make_node("Conv", ["both", "near", "offset"], ["likeness"]),
        helper.make_node("Relu", ["likeness"], ["marker"]),
        # Centred on every fourth pixel: cell i of a map is pixel 4i of the input.
        helper.make_node("AveragePool", ["marker"], ["half_size"], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4),
        helper.make_node(
            "Conv", ["half_size", "blur"], ["share"], group=joints, strides=[2, 2], pads=[KERNEL // 2] * 4
        ),
        helper.make_node("Add", ["share", "half"], ["raised"]),
        helper.make_node("Div", ["share", "raised"], ["heatmaps"]),
    ]
    graph = helper.make_graph(
        nodes,
        "markers",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, HEIGHT, WIDTH])],
        [helper.make_tensor_value_info("heatmaps", TensorProto.FLOAT, ["batch", joints, HEIGHT // 4, WIDTH // 4])],
        [numpy_helper.from_array(_float(array), name) for name, array in weights.items()],
    )
    # Opset 17 and IR 8: read by every ONNX Runtime since 1.12.
    model = helper.make_model(
        graph, producer_name="streampose", opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    helper.set_model_props(model, {"streampose.card": json.dumps(CARD)})
    onnx.checker.check_model(model, full_check=True)
    return model


def _float(array: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.ascontiguousarray(array, np.float32)


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description="Build the calibration model.")
    parser.add_argument("--out", type=Path, default=OUT, help="where to write it (default: %(default)s)")
    out: Path = parser.parse_args().out
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(build().SerializeToString(deterministic=True))
    print(f"{out}: {out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
