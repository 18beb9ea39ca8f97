"""A size that a graph leaves open, settled."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from streampose.errors import ModelUnreadable
from streampose.inference.card import Card

__all__ = ["closed"]


def closed(model: bytes, card: Card) -> bytes | None:
    """The same model for pictures of one size, with shapes that are known but for the batch.

    CUDA graphs replay fixed shapes, and TensorRT builds for those it is told of. Shapes that are then known become
    numbers; of a shape with the batch in it nothing does.

    Args:
        model: an ONNX model of one input.
        card: its size, and where in the input's shape that is.

    Returns:
        `None` if its weights are in a file of their own.

    Raises:
        ModelUnreadable: it is not such a model.
    """
    try:
        return _closed(onnx.load_from_string(model), card)
    except Exception as error:  # protobuf's and onnx's share no base class
        raise ModelUnreadable(f"its size cannot be settled: {error}") from error


def _closed(loaded: onnx.ModelProto, card: Card) -> bytes | None:
    graph = loaded.graph
    if any(tensor.data_location == TensorProto.EXTERNAL for tensor in graph.initializer):
        return None
    weights = {tensor.name for tensor in graph.initializer}
    (picture,) = (value for value in graph.input if value.name not in weights)
    for dim, number in zip(picture.type.tensor_type.shape.dim[1:], card.item_shape, strict=True):
        dim.dim_value = number
    # What the file says of others is of any size.
    del graph.value_info[:]
    for output in graph.output:
        for dim in output.type.tensor_type.shape.dim[1:]:
            dim.Clear()
    loaded = onnx.shape_inference.infer_shapes(loaded, data_prop=True)
    graph = loaded.graph
    known = {value.name: value for value in (*graph.input, *graph.value_info, *graph.output)}
    del graph.value_info[:]
    nodes = list(graph.node)
    del graph.node[:]
    for node in nodes:
        shape = _shape(node, known)
        if shape is None:
            graph.node.append(node)
        else:
            graph.initializer.append(numpy_helper.from_array(np.array(shape, np.int64), node.output[0]))
    data: bytes = loaded.SerializeToString()
    return data


def _shape(node: NodeProto, known: dict[str, ValueInfoProto]) -> list[int] | None:
    """What a node gives, if it gives a shape that is known."""
    if node.op_type != "Shape" or node.input[0] not in known:
        return None
    tensor = known[node.input[0]].type.tensor_type
    if not tensor.HasField("shape"):
        return None
    said = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    dims = tensor.shape.dim[said.get("start", 0) : said.get("end")]
    return [dim.dim_value for dim in dims] if all(dim.HasField("dim_value") for dim in dims) else None
