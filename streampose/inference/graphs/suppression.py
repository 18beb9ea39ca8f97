"""A model's own suppression, taken out of its graph: who is whose double is then found for all pictures at once."""

from __future__ import annotations

from dataclasses import dataclass

import onnx
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto, helper, numpy_helper

__all__ = ["Own", "taken_out"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """What a model does about doubles."""

    overlap: float
    """Of two boxes that overlap by more (intersection over union), the better stays."""
    most: int
    """So many stay of each class."""
    min_score: float
    """Others are nobody."""


def taken_out(model: bytes) -> tuple[bytes, Own] | None:
    """The model without its suppression and all that follows, and what that was.

    ONNX Runtime's operator takes a picture after the other, and the CPU waits for each: of 26 ms for 32 pictures
    (RTMDet-nano and PP-TinyPose on an H200) it and what follows took 8, in which the GPU was busy for a fifth.

    Args:
        model: a detector as MMDeploy exports it.

    Returns:
        The model gives (b, n, 4) boxes and (b, classes, n) scores; `None` if what it gives is not just chosen of those.
    """
    loaded = onnx.load_from_string(model)
    graph = loaded.graph
    by_output = {name: node for node in graph.node for name in node.output}
    suppressing = [node for node in graph.node if node.op_type == "NonMaxSuppression"]
    if len(suppressing) != 1 or any(_has_graph(node) for node in graph.node):
        return None
    (node,) = suppressing
    constants = _constants(graph)
    if len(node.input) != 5 or not all(name in constants for name in node.input[2:]) or _is_centred(node):
        return None
    boxes, scores = node.input[:2]
    given = {boxes, *_turned(scores, by_output)}
    if not _only_chosen(graph.output[0].name, given, by_output, constants):
        return None
    most, overlap, min_score = (numpy_helper.to_array(constants[name]).item() for name in node.input[2:])
    batch = graph.output[0].type.tensor_type.shape.dim[0]
    first: int | str = batch.dim_value if batch.HasField("dim_value") else batch.dim_param or "batch"
    del graph.output[:], graph.value_info[:]
    graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in ((boxes, [first, "boxes", 4]), (scores, [first, "classes", "boxes"]))
    )
    _keep_needed(graph, by_output)
    data: bytes = loaded.SerializeToString()
    return data, Own(overlap=float(overlap), most=int(most), min_score=float(min_score))


# What gives some of what it takes, as it was, in its first input but for those named below.
_CHOOSING = {"Cast", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "Reshape", "Slice"}
_CHOOSING |= {"Squeeze", "Tile", "Transpose", "Unsqueeze"}


def _turned(name: str, by_output: dict[str, NodeProto]) -> list[str]:
    """A tensor, and what it is but for the order of its axes."""
    names = [name]
    while (node := by_output.get(names[-1])) is not None and node.op_type == "Transpose":
        names.append(node.input[0])
    return names


def _only_chosen(
    output: str, given: set[str], by_output: dict[str, NodeProto], constants: dict[str, TensorProto]
) -> bool:
    """Whether an output has only numbers of `given` and constants, moved about."""
    todo, seen = [output], set[str]()
    while todo:
        name = todo.pop()
        if name in seen or name in given or name in constants:
            continue
        seen.add(name)
        node = by_output.get(name)
        if node is None:
            return False
        if node.op_type in _CHOOSING:
            todo.append(node.input[0])
        elif node.op_type == "Concat":
            todo += node.input
        elif node.op_type == "Where":
            todo += node.input[1:]
        elif node.op_type != "ConstantOfShape":
            return False
    return bool(seen)


def _keep_needed(graph: GraphProto, by_output: dict[str, NodeProto]) -> None:
    needed, todo = set[str](), [value.name for value in graph.output]
    while todo:
        name = todo.pop()
        if name not in needed:
            needed.add(name)
            todo += by_output[name].input if name in by_output else []
    nodes = [node for node in graph.node if needed.intersection(node.output)]
    weights = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(weights)


def _constants(graph: GraphProto) -> dict[str, TensorProto]:
    found = {tensor.name: tensor for tensor in graph.initializer}
    constants = [node for node in graph.node if node.op_type == "Constant"]
    return found | {node.output[0]: a.t for node in constants for a in node.attribute if a.name == "value"}


def _is_centred(node: NodeProto) -> bool:
    return any(attribute.name == "center_point_box" and attribute.i for attribute in node.attribute)


def _has_graph(node: NodeProto) -> bool:
    return any(attribute.type in {AttributeProto.GRAPH, AttributeProto.GRAPHS} for attribute in node.attribute)
