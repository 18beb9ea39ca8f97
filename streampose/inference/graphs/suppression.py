"""A model's own suppression, taken out of its graph: who is whose double is then found for all pictures at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, TypeAlias

import onnx
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto, helper, numpy_helper

__all__ = ["Own", "taken_out"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """What a model does about doubles."""

    boxes: str
    """Of these; most of them the model never shows."""
    overlap: float
    """Of two boxes that overlap by more (intersection over union), the better stays."""
    most: int
    """So many stay."""
    min_score: float
    """Others are nobody."""


def taken_out(model: bytes) -> tuple[bytes, Own] | None:
    """A detector of one class without its suppression and all that follows, and what that was.

    ONNX Runtime's operator takes a picture after the other, and the CPU waits for each: of 26 ms for 32 pictures
    (RTMDet-nano and PP-TinyPose on an H200) it and what follows took 8, in which the GPU was busy for a fifth.

    Args:
        model: a detector as MMDeploy exports it.

    Returns:
        The model gives (b, n, 4) boxes and (b, 1, n) scores; `None` if it is not certain that all it does behind them
        is to choose, and how: detections of several classes take each other's places.
    """
    loaded = onnx.load_from_string(model)
    graph = loaded.graph
    suppressing = [node for node in graph.node if node.op_type == "NonMaxSuppression"]
    if len(suppressing) != 1 or len(graph.output) != 2 or any(_has_graph(node) for node in graph.node):
        return None
    tail = _Tail(graph, suppressing[0])
    own = tail.own()
    if own is None or not (tail.is_of_one_class() and tail.only_chooses()):
        return None
    batch = graph.output[0].type.tensor_type.shape.dim[0]
    first: int | str = batch.dim_value if batch.HasField("dim_value") else batch.dim_param or "batch"
    del graph.output[:], graph.value_info[:]
    graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in ((tail.boxes, [first, "boxes", 4]), (tail.scores, [first, 1, "boxes"]))
    )
    _keep_needed(graph)
    data: bytes = loaded.SerializeToString()
    return data, own


# What gives scores as they were, or as others would be in their order.
_KEEPING = frozenset(
    {
        *("Cast", "Concat", "Conv", "Flatten", "Gather", "Identity"),
        *("Mul", "Reshape", "Sigmoid", "Squeeze", "Transpose", "Unsqueeze"),
    }
)

_Through: TypeAlias = Callable[[NodeProto], list[str] | None]
"""Of a node, the inputs whose numbers it gives; `None` = it gives its own."""


class _Tail:
    """A suppression, and what comes behind it."""

    def __init__(self, graph: GraphProto, node: NodeProto) -> None:
        self.boxes, self.scores, *self._limits = node.input
        self._node, self._graph = node, graph
        self._by_output = {name: node for node in graph.node for name in node.output}
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        constants = [node for node in graph.node if node.op_type == "Constant"]
        self._constants |= {n.output[0]: value for n in constants if (value := _said(n, "value")) is not None}

    def own(self) -> Own | None:
        """Its limits, if they are constants."""
        known = [number for name in self._limits if (number := self._number(name)) is not None]
        best = self._best()
        if len(known) != 3 or best is None or _said(self._node, "center_point_box", 0):
            return None
        return Own(boxes=self.boxes, most=int(min(known[0], best)), overlap=known[1], min_score=known[2])

    def _best(self) -> float | None:
        """How many of the best are chosen of what is left: infinity = all are, `None` = nobody knows."""
        behind = set(self._node.output)
        for node in self._graph.node:  # in their order
            if behind.intersection(node.input):
                behind.update(node.output)
        sorting = [node for node in self._graph.node if node.op_type == "TopK" and node.input[0] in behind]
        if not sorting:
            return math.inf
        origins = self._origins(sorting[0].input[1], _counted)
        known = [number for name in origins if (number := self._number(name)) is not None]
        return min(known) if known and len(sorting) == 1 and _said(sorting[0], "largest", 1) else None

    def is_of_one_class(self) -> bool:
        """Whether the scores' shape says so, or they come from convolutions of one channel."""
        for value in self._graph.value_info:
            dims = value.type.tensor_type.shape.dim
            if value.name == self.scores and len(dims) == 3 and dims[1].dim_value == 1:
                return True
        axes: dict[str, int | None] = {}
        for node in self._graph.node:  # in their order
            axes |= dict.fromkeys(node.output, self._class_axis(node, axes))
        return axes.get(self.scores) is not None

    def _class_axis(self, node: NodeProto, before: Mapping[str, int | None]) -> int | None:
        """Of scores of one class where that is: 1, or -1, the last, behind a transposition; `None` = not certain.

        What else is done to their shape is taken to leave it there.
        """
        if node.op_type not in _KEEPING:
            return None
        if node.op_type == "Conv":
            kernel = self._constants.get(node.input[1])
            return 1 if kernel is not None and kernel.dims[0] == 1 else None
        several = node.op_type in {"Concat", "Mul"}
        axes = {before.get(given) for given in set(node.input if several else node.input[:1])}
        axis = axes.pop()
        if axes or axis is None:
            return None
        if node.op_type == "Concat":
            return axis if _said(node, "axis") in {1: {2, -1}, -1: {1, -2}}[axis] else None  # else: as two classes
        if node.op_type == "Transpose" and (perm := _said(node, "perm")) is not None:
            place = perm.index(axis % len(perm))
            return {1: 1, len(perm) - 1: -1}.get(place)
        return axis

    def only_chooses(self) -> bool:
        """Whether boxes and scores come out as they are, and labels as the suppression gives them."""
        given = {self.boxes, self.scores}
        # The same, but for the order of axes.
        if (turned := self._by_output.get(self.scores)) is not None and turned.op_type == "Transpose":
            given.add(turned.input[0])
        dets, labels = (
            self._origins(output.name, self._chosen, given) - self._constants.keys() for output in self._graph.output
        )
        return self.boxes in dets and dets <= given and all(map(self._is_class, labels))

    def _is_class(self, name: str) -> bool:
        """Whether it is the column of the classes of what was chosen."""
        node = self._by_output.get(name)
        if node is None or node.op_type != "Gather" or node.input[0] not in self._node.output:
            return False
        return bool(_said(node, "axis", 0) == 1 and self._number(node.input[1]) == 1)

    def _chosen(self, node: NodeProto) -> list[str] | None:
        """`_Through`, for nodes that move numbers, and do not choose by what they are nor mix columns."""
        match node.op_type:
            case (
                "Cast" | "Expand" | "Flatten" | "Identity" | "Reshape" | "Squeeze" | "Tile" | "Transpose" | "Unsqueeze"
            ):
                return [node.input[0]]
            case "Gather" | "GatherElements" | "GatherND":
                return None if node.input[1] in self._constants else [node.input[0]]
            case "Concat":
                return list(node.input)
            case "Where":
                return None if self._hangs_on_scores(node.input[0]) else list(node.input[1:])
            case "ConstantOfShape":
                return []
        return None

    def _hangs_on_scores(self, name: str) -> bool:
        """Whether a tensor has to do with boxes and scores by more than their shapes and who was chosen."""
        given = {self.boxes, self.scores}

        def through(node: NodeProto) -> list[str]:
            return [] if node.op_type == "Shape" or node == self._node else list(node.input)

        return not given.isdisjoint(self._origins(name, through, given))

    def _number(self, name: str) -> float | None:
        tensor = self._constants.get(name)
        if tensor is None or tensor.data_location == TensorProto.EXTERNAL or math.prod(tensor.dims) != 1:
            return None
        return float(numpy_helper.to_array(tensor).item())

    def _origins(self, name: str, through: _Through, given: AbstractSet[str] = frozenset()) -> set[str]:
        """Where the numbers of a tensor come from: constants, `given`, and what nodes make themselves."""
        todo, seen, found = [name], set[str](), set[str]()
        while todo:
            name = todo.pop()
            if name in seen:
                continue
            seen.add(name)
            node = None if name in given or name in self._constants else self._by_output.get(name)
            inputs = None if node is None else through(node)
            if inputs is None:
                found.add(name)
            else:
                todo += inputs
        return found


def _counted(node: NodeProto) -> list[str] | None:
    """`_Through`, for what makes a number of others."""
    if node.op_type == "Where":
        return list(node.input[1:])
    if node.op_type == "Min":
        return list(node.input)
    return [node.input[0]] if node.op_type in {"Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze"} else None


def _keep_needed(graph: GraphProto) -> None:
    by_output = {name: node for node in graph.node for name in node.output}
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


def _said(node: NodeProto, name: str, default: Any = None) -> Any:
    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def _has_graph(node: NodeProto) -> bool:
    return any(attribute.type in {AttributeProto.GRAPH, AttributeProto.GRAPHS} for attribute in node.attribute)
