"""What convolutions add, added once where one follows another."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

__all__ = ["merged"]


def merged(model: bytes) -> bytes | None:
    """The same model with a convolution's bias as a part of the 1×1 one's behind it: W(x + a) + b = Wx + (Wa + b).

    On CUDA a bias is a kernel of its own. PP-TinyPose has 96 such pairs, depthwise and pointwise.

    Args:
        model: an ONNX model.

    Returns:
        `None` if there are none, if it has graphs within, or if its weights are in a file of their own.
    """
    loaded = onnx.load_from_string(model)
    graph = loaded.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    if any(tensor.data_location == TensorProto.EXTERNAL for tensor in weights.values()):
        return None
    if any(attribute.HasField("g") or attribute.graphs for node in graph.node for attribute in node.attribute):
        return None  # what those need of this one is not seen here
    takers = Counter(name for node in graph.node for name in node.input)
    takers.update(value.name for value in graph.output)
    biased = {node.output[0]: node for node in graph.node if node.op_type == "Conv" and len(node.input) == 3}
    count = 0
    for second in graph.node:
        first = biased.get(second.input[0]) if second.op_type == "Conv" and second.input else None
        if first is None or takers[first.output[0]] > 1 or not _is_pointwise(second, weights):
            continue
        if not {first.input[2], *second.input[2:]} <= weights.keys():
            continue
        weight, a = (numpy_helper.to_array(weights[name]) for name in (second.input[1], first.input[2]))
        bias = weight.astype(np.float64)[:, :, 0, 0] @ a.astype(np.float64)
        if len(second.input) == 3:
            bias += numpy_helper.to_array(weights[second.input[2]])
        with np.errstate(over="ignore"):
            small = bias.astype(weight.dtype)
        if not np.isfinite(small.astype(np.float64)).all():
            continue
        name = f"{second.output[0]}:bias"
        weights[name] = numpy_helper.from_array(small, name)
        graph.initializer.append(weights[name])
        inputs = [*second.input[:2], name]
        del second.input[:], first.input[2:]
        second.input.extend(inputs)
        count += 1
    if not count:
        return None
    data: bytes = loaded.SerializeToString()
    return data


def _is_pointwise(node: NodeProto, weights: dict[str, TensorProto]) -> bool:
    """Whether each place it gives depends on one place alone, and there are no borders."""
    said = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    if node.input[1] not in weights or any(said.get("pads", [])):
        return False
    return said.get("group", 1) == 1 and list(weights[node.input[1]].dims[2:]) == [1, 1]
