"""A model with the work around it in its graph."""

from __future__ import annotations

from collections.abc import Set

import onnx
from onnx import TensorProto

from streampose.errors import ModelUnreadable
from streampose.inference.boxes import Limits, candidates
from streampose.inference.card import Card
from streampose.inference.graphs.builder import Builder, Shape
from streampose.inference.graphs.keypoints import keypoints
from streampose.inference.graphs.people import people, rows_of
from streampose.inference.graphs.sampler import FLOATS, Given, crops, letterboxed
from streampose.inference.graphs.suppression import taken_out

__all__ = ["fuse_crops", "fuse_pictures"]

_OLDEST_OPSET = 11
# Families of boxes alone, sifted by the model: `DECODERS` of `boxes.py` sift them once more.
_SIFTED = {"rtmdet", "yolox-nms"}
# What all pictures at once cost in memory grows with the square of this: 2 GB for 32.
_MOST_AT_ONCE = 1000


def fuse_pictures(model: bytes, card: Card, limits: Limits, *, at_once: bool = False) -> bytes:
    """A model that takes whole pictures: `Given` in, `people` out, as `graphs.people.people` says.

    Args:
        model: an ONNX model.
        card: what it wants and gives.
        limits: what counts as a person.
        at_once: do for all pictures at once what the model does for one after the other, as suits a GPU.

    Raises:
        ModelUnreadable: it cannot be done with this model.
    """
    bare, own = model, None
    if at_once and card.family in _SIFTED and card.person == 0 and candidates(limits) <= _MOST_AT_ONCE:
        bare, own = taken_out(model) or (model, None)
    around = _Around(bare, set() if own is None else {own.boxes})
    feed = letterboxed(around.g, card, around.given, around.dtype)
    found = people(around.g, card, limits, list(around.outputs), around.given, own=own)
    k = 0 if card.skeleton is None else len(card.skeleton)
    return around.model(feed, "people", found, (rows_of(limits), 5 + 3 * k))


def fuse_crops(model: bytes, card: Card) -> bytes:
    """A model that takes crops of people: `Given` in, `points` out, as `graphs.keypoints.keypoints` says.

    Args:
        model: an ONNX model.
        card: what it wants and gives.

    Raises:
        ModelUnreadable: it cannot be done with this model.
    """
    assert card.skeleton is not None
    around = _Around(model)
    feed = crops(around.g, card, around.given, around.dtype)
    points = keypoints(around.g, card, around.outputs, around.given)
    return around.model(feed, "points", points, (len(card.skeleton), 3))


class _Around:
    """A model that gets something before and behind it."""

    def __init__(self, data: bytes, unchecked: Set[str] = frozenset()) -> None:
        self._model = onnx.load_from_string(data)
        graph = self._model.graph
        opset = max((e.version for e in self._model.opset_import if e.domain in {"", "ai.onnx"}), default=0)
        if opset < _OLDEST_OPSET:
            raise ModelUnreadable(f"its opset {opset} is older than {_OLDEST_OPSET}: export it again")
        if any(tensor.data_location == TensorProto.EXTERNAL for tensor in graph.initializer):
            raise ModelUnreadable("its weights are in a file of their own")
        weights = {tensor.name for tensor in graph.initializer}
        (taken,) = [value for value in graph.input if value.name not in weights]
        self.dtype: int = taken.type.tensor_type.elem_type
        if not (shape := _shape(taken)):
            raise ModelUnreadable("its input has no shape")
        self._batch = shape[0]
        g = self.g = Builder()
        self.given = Given(
            pixels=g.input("pixels", TensorProto.UINT8, ["streampose_pixels", 3]),
            picture=g.input("picture", TensorProto.INT32, [self._batch, 3]),
            place=g.input("place", TensorProto.FLOAT, [self._batch, 4]),
        )
        self.outputs: dict[str, Shape] = {}
        """As floats, where they are numbers of any precision."""
        self._broken: list[str] = []
        for value in graph.output:
            name, dtype = value.name, value.type.tensor_type.elem_type
            if dtype in FLOATS:
                name = name if dtype == TensorProto.FLOAT else g.cast(name)
                if name not in unchecked:
                    # 0, or NaN where any number is none: it must not get lost behind a maximum or a limit.
                    self._broken.append(g("ReduceSum", g.sub(name, name), keepdims=0))
            self.outputs[name] = _shape(value)

    def model(self, feed: str, name: str, result: str, shape: Shape) -> bytes:
        """All of it."""
        outputs = {name: (self.g.add(result, *self._broken), [self._batch, *shape])}
        data: bytes = self.g.around(self._model, feed, outputs).SerializeToString()
        return data


def _shape(value: onnx.ValueInfoProto) -> list[int | str]:
    return [
        dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else dim.dim_param or f"d{i}"
        for i, dim in enumerate(value.type.tensor_type.shape.dim)
    ]
