"""ONNX nodes written as calls, and put in front of and behind a model.

Only operators and forms that opset 11 and all later ones have in common are used, so that a model's own opset stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper

__all__ = ["Builder", "Shape"]

Shape = Sequence[int | str]

# Nobody else's names begin so.
_PREFIX = "streampose:"


class Builder:
    """Gathers nodes and constants. Tensors are their names."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[bytes, onnx.TensorProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._count = 0

    def __call__(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Add a node of one output."""
        return self.several(op, 1, *inputs, **attributes)[0]

    def several(self, op: str, outputs: int, *inputs: str, **attributes: Any) -> list[str]:
        """Add a node of so many outputs."""
        names = [f"{_PREFIX}{self._count}.{i}" for i in range(outputs)]
        self._count += 1
        self._nodes.append(helper.make_node(op, list(inputs), names, name=names[0], **attributes))
        return names

    def input(self, name: str, dtype: int, shape: Shape) -> str:
        """Add an input of the whole graph."""
        name = _PREFIX + name
        self._inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def floats(self, value: ArrayLike) -> str:
        """A constant."""
        return self._constant(np.asarray(value, np.float32))

    def ints(self, value: ArrayLike) -> str:
        """A constant of int64, as shapes, axes and indices are."""
        return self._constant(np.asarray(value, np.int64))

    def _constant(self, array: np.ndarray) -> str:
        tensor = numpy_helper.from_array(array)
        tensor = self._constants.setdefault(tensor.SerializeToString(), tensor)
        tensor.name = tensor.name or f"{_PREFIX}c{len(self._constants)}"
        return tensor.name

    # The arithmetic that graphs are full of.

    def add(self, *terms: str) -> str:
        """The sum of two or more, broadcast."""
        return self._chain("Add", terms)

    def mul(self, *factors: str) -> str:
        """The product of two or more, broadcast."""
        return self._chain("Mul", factors)

    def sub(self, a: str, b: str) -> str:
        """`a` − `b`, broadcast."""
        return self("Sub", a, b)

    def div(self, a: str, b: str) -> str:
        """`a` / `b`, broadcast."""
        return self("Div", a, b)

    def clip(self, value: str, low: str, high: str) -> str:
        """Between two tensors, broadcast."""
        return self("Min", self("Max", value, low), high)

    def all(self, *conditions: str) -> str:
        """Whether all hold."""
        return self._chain("And", conditions)

    def _chain(self, op: str, values: Sequence[str]) -> str:
        result, *rest = values
        for value in rest:
            result = self(op, result, value)
        return result

    def cast(self, value: str, dtype: int = TensorProto.FLOAT) -> str:
        """To another type, floats by default."""
        return self("Cast", value, to=dtype)

    def reshape(self, value: str, *shape: int) -> str:
        """−1 = what is left, 0 = as it was."""
        return self("Reshape", value, self.ints(shape))

    def take(self, value: str, indices: int | Sequence[int], axis: int) -> str:
        """Rows, columns … by number; a single number takes the axis away."""
        return self("Gather", value, self.ints(indices), axis=axis)

    def join(self, *values: str, axis: int) -> str:
        """One after the other."""
        return self("Concat", *values, axis=axis)

    def around(self, model: onnx.ModelProto, feed: str, outputs: Mapping[str, tuple[str, Shape]]) -> onnx.ModelProto:
        """The model between our nodes.

        Args:
            model: with one input; changed, and given back.
            feed: what it takes.
            outputs: by name: what the whole gives, and its shape.
        """
        graph = model.graph
        weights = {tensor.name for tensor in graph.initializer}
        (given,) = [value for value in graph.input if value.name not in weights]
        needed = self._needed(feed)
        before = [node for node in self._nodes if node.name in needed]
        behind = [node for node in self._nodes if node.name not in needed]
        link = helper.make_node("Identity", [feed], [given.name], name=f"{_PREFIX}feed")
        names = [helper.make_node("Identity", [t], [_PREFIX + name]) for name, (t, _) in outputs.items()]
        nodes = [*before, link, *graph.node, *behind, *names]
        del graph.node[:]
        graph.node.extend(nodes)
        graph.initializer.extend(self._constants.values())
        kept = [value for value in graph.input if value.name in weights]
        del graph.input[:], graph.output[:]
        graph.input.extend([*self._inputs, *kept])
        graph.output.extend(
            helper.make_tensor_value_info(_PREFIX + name, TensorProto.FLOAT, shape)
            for name, (_, shape) in outputs.items()
        )
        return model

    def _needed(self, tensor: str) -> set[str]:
        """The names of the nodes behind a tensor."""
        by_output = {name: node for node in self._nodes for name in node.output}
        needed: set[str] = set()
        todo = [tensor]
        while todo:
            node = by_output.get(todo.pop())
            if node is not None and node.name not in needed:
                needed.add(node.name)
                todo += node.input
        return needed
