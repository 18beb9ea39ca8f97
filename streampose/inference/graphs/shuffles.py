"""Channel shuffles that a CPU does in one go."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from streampose.errors import ModelUnreadable

__all__ = ["gathered"]


def gathered(model: bytes) -> bytes | None:
    """The same model, the same bits, with its channel shuffles as gathers.

    ShuffleNet (Zhang et al., CVPR 2018), and what is built on it (Lite-HRNet, PP-TinyPose), mixes the channels of two
    halves: as ONNX a Reshape, a Transpose and a Reshape, and mostly a Split behind them, each of which writes all of it
    anew. One gather for each part does the same.

    Args:
        model: an ONNX model.

    Returns:
        `None` if there are none, or if its weights are in a file of their own.

    Raises:
        ModelUnreadable: it is no such model.
    """
    try:
        return _gathered(onnx.load_from_string(model))
    except Exception as error:  # protobuf's and onnx's share no base class
        raise ModelUnreadable(f"its shuffles cannot be found: {error}") from error


def _gathered(loaded: onnx.ModelProto) -> bytes | None:
    if any(tensor.data_location == TensorProto.EXTERNAL for tensor in loaded.graph.initializer):
        return None
    shuffles = _Shuffles(onnx.shape_inference.infer_shapes(loaded, data_prop=True).graph)
    graph = loaded.graph
    nodes, gone = list(graph.node), set[str]()
    del graph.node[:]
    for node in nodes:
        if node.output[0] in gone:
            continue
        chain = shuffles.begun_by(node)
        gone.update(other.output[0] for other in chain)
        if not chain:
            graph.node.append(node)
            continue
        for name, channels in shuffles.parts(chain):
            which = f"{name}:channels"
            graph.initializer.append(numpy_helper.from_array(channels, which))
            graph.node.append(helper.make_node("Gather", [node.input[0], which], [name], axis=1))
    if not gone:
        return None
    data: bytes = loaded.SerializeToString()
    return data


class _Shuffles:
    """Finds them.

    Args:
        graph: with the shapes that are known.
    """

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._shapes = {
            value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]  # 0 = not known
            for value in (*graph.input, *graph.value_info, *graph.output)
        }
        self._users = defaultdict[str, list[NodeProto | None]](list)
        for node in graph.node:
            for name in node.input:
                self._users[name].append(node)
        for output in graph.output:
            self._users[output.name].append(None)

    def begun_by(self, first: NodeProto) -> list[NodeProto]:
        """Reshape, Transpose, Reshape, and perhaps Split; empty = it begins no shuffle."""
        chain = [first]
        for kind in ("Transpose", "Reshape", "Split"):
            (user, *others) = self._users[chain[-1].output[0]] or [None]
            if user is None or others or user.op_type != kind or user.input[0] != chain[-1].output[0]:
                break
            chain.append(user)
        if first.op_type != "Reshape" or len(chain) < 3 or not self._mixes(*chain[:3]):
            return []
        return chain if len(chain) == 3 or self._cuts_channels(chain[3]) else chain[:3]

    def parts(self, chain: Sequence[NodeProto]) -> Iterator[tuple[str, np.ndarray]]:
        """What a shuffle gives, and which channels that are, in their order."""
        groups, each = self._shapes[chain[0].output[0]][1:3]
        channels = np.arange(groups * each, dtype=np.int64).reshape(groups, each).T.ravel()
        first = 0
        for name in chain[-1].output:
            size = self._shapes[name][1]
            yield name, channels[first : first + size]
            first += size

    def _mixes(self, apart: NodeProto, swap: NodeProto, together: NodeProto) -> bool:
        """(N, g·c, H, W) → (N, g, c, H, W) → (N, c, g, H, W) → (N, g·c, H, W), all but N known."""
        before, middle, after = (self._shapes.get(n, []) for n in (apart.input[0], apart.output[0], together.output[0]))
        if [len(before), len(middle), len(after)] != [4, 5, 4] or not all(before[1:] + middle[1:] + after[1:]):
            return False
        same = before[1:] == after[1:] and before[2:] == middle[3:] and middle[1] * middle[2] == before[1]
        return same and _attribute(swap, "perm") == [0, 2, 1, 3, 4]

    def _cuts_channels(self, split: NodeProto) -> bool:
        sizes = [self._shapes.get(name, [0, 0])[1] for name in split.output]
        return _attribute(split, "axis") == 1 and all(sizes) and sum(sizes) == self._shapes[split.input[0]][1]


def _attribute(node: NodeProto, name: str) -> object:
    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), None)
