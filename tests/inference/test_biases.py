"""Biases of two convolutions as one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from streampose.inference.graphs import merged

RNG = np.random.default_rng(0)


def convolutions(*shapes: tuple[int, ...], how: dict | None = None, also: str = "", dtype: type = np.float32) -> bytes:
    """One after the other, each with a bias; `also` is an output beside the last, `how` says more of the last."""
    nodes, tensors = [], []
    for i, shape in enumerate(shapes):
        for name, size in ((f"w{i}", shape), (f"b{i}", shape[:1])):
            tensors.append(numpy_helper.from_array(RNG.normal(size=size).astype(dtype), name))
        said: dict = {"group": shape[0] if shape[1] == 1 else 1, "pads": [shape[2] // 2] * 4}
        said |= how or {} if i == len(shapes) - 1 else {}
        nodes.append(helper.make_node("Conv", [f"x{i}", f"w{i}", f"b{i}"], [f"x{i + 1}"], **said))
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    given = helper.make_tensor_value_info("x0", kind, [2, 4, 7, 5])
    gives = [helper.make_tensor_value_info(name, kind, None) for name in (f"x{len(shapes)}", *([also] if also else []))]
    graph = helper.make_graph(nodes, "g", [given], gives, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()


def ran(model: bytes, x: np.ndarray) -> np.ndarray:
    options = ort.SessionOptions()
    options.log_severity_level = 4  # of weights that nobody needs any more
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def biases(model: bytes) -> list[bool]:
    return [len(node.input) == 3 for node in onnx.load_from_string(model).graph.node if node.op_type == "Conv"]


DEPTHWISE, POINTWISE = (4, 1, 3, 3), (6, 4, 1, 1)


@pytest.mark.parametrize("how", [{}, {"strides": [2, 2]}])
def test_the_same_numbers_come_out(how: dict):
    model = convolutions(DEPTHWISE, POINTWISE, how=how)
    fewer = merged(model)
    assert fewer is not None
    assert biases(fewer) == [False, True]
    x = RNG.normal(size=(2, 4, 7, 5)).astype(np.float32)
    np.testing.assert_allclose(ran(model, x), ran(fewer, x), rtol=1e-4, atol=1e-5)


def test_of_a_row_only_the_last_keeps_one():
    model = convolutions(DEPTHWISE, (4, 4, 1, 1), POINTWISE)
    fewer = merged(model)
    assert fewer is not None
    assert biases(fewer) == [False, False, True]
    x = RNG.normal(size=(2, 4, 7, 5)).astype(np.float32)
    np.testing.assert_allclose(ran(model, x), ran(fewer, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.BFLOAT16])
def test_sixteen_bits_stay_sixteen(kind: int):
    dtype = helper.tensor_dtype_to_np_dtype(kind).type
    fewer = onnx.load_from_string(merged(convolutions(DEPTHWISE, POINTWISE, dtype=dtype)) or b"")
    assert {tensor.data_type for tensor in fewer.graph.initializer} == {kind}
    assert biases(fewer.SerializeToString()) == [False, True]


@pytest.mark.parametrize(
    "model",
    [
        convolutions(DEPTHWISE, (6, 4, 3, 3)),  # what lies beside a place, and the border, counts
        convolutions(DEPTHWISE, POINTWISE, how={"pads": [1, 1, 1, 1]}),
        convolutions(DEPTHWISE, (4, 1, 1, 1)),  # not all channels together
        convolutions(DEPTHWISE, POINTWISE, also="x1"),  # somebody else needs what comes between
        convolutions(POINTWISE),
    ],
    ids=["3x3", "border", "depthwise", "needed", "one"],
)
def test_others_stay_as_they_are(model: bytes):
    assert merged(model) is None


@pytest.mark.parametrize(("kind", "large"), [(TensorProto.FLOAT16, 200), (TensorProto.BFLOAT16, 1e30)])
def test_what_sixteen_bits_do_not_hold_stays(kind: int, large: float):
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    model = onnx.load_from_string(convolutions(DEPTHWISE, POINTWISE, dtype=dtype.type))
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(np.full(tensor.dims, large, dtype), tensor.name))
    assert merged(model.SerializeToString()) is None


def test_a_model_with_graphs_within_stays():
    model = onnx.load_from_string(convolutions(DEPTHWISE, POINTWISE))
    ends = [helper.make_tensor_value_info("x1", TensorProto.FLOAT, None)]
    body = helper.make_graph([helper.make_node("Identity", ["x1"], ["same"])], "body", [], ends)
    model.graph.node.append(helper.make_node("If", ["c"], ["z"], then_branch=body, else_branch=body))
    assert merged(model.SerializeToString()) is None


@pytest.mark.assets
def test_a_real_model(assets: Path):
    model = (assets / "models" / "pp_tinypose_128x96.onnx").read_bytes()
    fewer = merged(model)
    assert fewer is not None
    assert sum(biases(model)) - sum(biases(fewer)) == 96
    x = np.random.default_rng(0).random((2, 3, 128, 96)).astype(np.float32)
    np.testing.assert_allclose(ran(model, x), ran(fewer, x), rtol=1e-3, atol=1e-4)
