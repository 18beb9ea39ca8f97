"""A detector's size left open: what its graph holds of one size is computed from the picture instead."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

__all__ = ["open_size"]

STRIDES = (8, 16, 32)


def open_size(file: Path) -> None:
    """Rewrite a detector of `export_boxes` for pictures whose sides are any multiples of 32.

    Two things in it are of one size: into how many rows each level's scores and edges are laid out, and the cells'
    centres.

    Raises:
        ValueError: it is not such a detector.
    """
    model = onnx.load(file)
    graph = model.graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    layouts = [node for node in graph.node if node.op_type == "Reshape" and constants[node.input[1]][0] == -1]
    # A level's scores and edges are in the order of the levels: the finest has the most rows.
    layouts.sort(key=lambda node: -constants[node.input[1]][-1])
    if len(layouts) != 2 * len(STRIDES) or "cells" not in constants:
        raise ValueError(f"{file.name} is no detector of three levels that this exports")
    added: list[onnx.NodeProto] = []

    def put(op: str, *inputs: str, **attributes: object) -> str:
        name = f"open.{len(added)}"
        added.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def constant(value: object, dtype: type = np.int64) -> str:
        name = f"open.constant.{len(graph.initializer)}"
        graph.initializer.append(numpy_helper.from_array(np.array(value, dtype), name))
        return name

    levels = []
    for stride, layout in zip(STRIDES, layouts[::2], strict=True):
        rows, columns = (put("Shape", layout.input[0], start=axis, end=axis + 1) for axis in (2, 3))
        zero, one, size = constant(0), constant(1), put("Concat", rows, columns, axis=0)
        y, x = (
            put("Expand", put("Unsqueeze", put("Range", zero, put("Squeeze", n), one), constant([axis])), size)
            for n, axis in ((rows, 1), (columns, 0))
        )
        pairs = put("Concat", put("Unsqueeze", x, constant([2])), put("Unsqueeze", y, constant([2])), axis=2)
        numbers = put("Cast", put("Reshape", pairs, constant([-1, 2])), to=onnx.TensorProto.FLOAT)
        scaled = put("Mul", numbers, constant(stride, np.float32))
        levels.append(put("Add", scaled, constant(stride / 2, np.float32)))
    cells = put("Concat", *levels, axis=0)
    for node in layouts:
        shape = [0, *constants[node.input[1]][1:-1], -1]
        node.input[1] = constant(shape)
        del node.attribute[:]  # 0 stands for the batch
    for node in graph.node:
        for i, name in enumerate(node.input):
            if name == "cells":
                node.input[i] = cells
    used = {name for node in (*graph.node, *added) for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in used]:
        graph.initializer.remove(tensor)
    # After what they need, before what needs them.
    nodes, ready = list(graph.node), {layout.input[0] for layout in layouts[::2]}
    del graph.node[:]
    for node in nodes:
        graph.node.append(node)
        if ready and not (ready := ready - set(node.output)):
            graph.node.extend(added)
    _name(graph.input[0], ["batch", 3, "height", "width"])
    _name(graph.output[0], ["batch", 1, "cells"])
    _name(graph.output[1], ["batch", "cells", 4])
    del graph.value_info[:]
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, file)


def _name(value: onnx.ValueInfoProto, shape: list[str | int]) -> None:
    value.CopyFrom(helper.make_tensor_value_info(value.name, value.type.tensor_type.elem_type, shape))
