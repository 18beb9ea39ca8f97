"""Depthwise convolutions with a border of zeros, which give what they gave without it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from streampose.inference.graphs import wider

SIZES = {"kernel_shape": [3, 3]}


def model(dtype: type[np.generic], group: int, weights: np.ndarray, *more: dict) -> bytes:
    """Convolutions of the same weights, one after the other."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    nodes = [
        helper.make_node("Conv", [f"x{i}", "w"], [f"x{i + 1}"], group=group, **attributes)
        for i, attributes in enumerate(more)
    ]
    ends = [helper.make_tensor_value_info(name, kind, None) for name in ("x0", f"x{len(more)}")]
    ends[0].type.tensor_type.shape.CopyFrom(onnx.TensorShapeProto(dim=[onnx.TensorShapeProto.Dimension()] * 4))
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [numpy_helper.from_array(weights.astype(dtype), "w")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()


def kernels(graph: bytes) -> list[tuple[int, ...]]:
    loaded = onnx.load_from_string(graph)
    weights = {tensor.name: tuple(tensor.dims) for tensor in loaded.graph.initializer}
    return [weights[node.input[1]][2:] for node in loaded.graph.node if node.op_type == "Conv"]


def ran(graph: bytes, x: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


PADS = st.lists(st.integers(0, 2), min_size=4, max_size=4)


@given(
    channels=st.integers(2, 5),
    size=st.tuples(st.integers(3, 9), st.integers(3, 9)),
    how=st.one_of(
        st.builds(lambda pads: {"pads": pads}, PADS),
        st.sampled_from([{}, SIZES, {"auto_pad": "SAME_UPPER"}, {"auto_pad": "SAME_LOWER"}, {"auto_pad": "VALID"}]),
        st.builds(lambda pads: {"pads": pads, "strides": [1, 1], "dilations": [1, 1], **SIZES}, PADS),
    ),
)
def test_the_same_numbers_come_out(channels: int, size: tuple[int, int], how: dict):
    rng = np.random.default_rng(channels)
    graph = model(np.float32, channels, rng.random((channels, 1, 3, 3)), how)
    wide = wider(graph)
    assert wide is not None
    assert kernels(wide) == [(5, 5)]
    x = rng.random((2, channels, *size)).astype(np.float32)
    np.testing.assert_allclose(ran(graph, x), ran(wide, x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("group", "weights", "attributes"),
    [
        (1, (4, 4, 3, 3), {}),  # not depthwise
        (2, (4, 2, 3, 3), {}),
        (4, (8, 1, 3, 3), {}),  # several of each channel
        (4, (4, 1, 5, 5), {}),
        (4, (4, 1, 1, 3), {}),
        (4, (4, 1, 3, 3), {"strides": [2, 2]}),
        (4, (4, 1, 3, 3), {"dilations": [2, 2]}),
    ],
)
def test_others_stay_as_they_are(group: int, weights: tuple[int, ...], attributes: dict):
    assert wider(model(np.float32, group, np.ones(weights), attributes)) is None


def test_weights_that_are_shared():
    """With a convolution that keeps them, too."""
    rng = np.random.default_rng(0)
    graph = model(np.float32, 4, rng.random((4, 1, 3, 3)), {}, {"strides": [2, 2]}, {"pads": [1] * 4})
    wide = wider(graph)
    assert wide is not None
    assert kernels(wide) == [(5, 5), (3, 3), (5, 5)]
    x = rng.random((1, 4, 20, 20)).astype(np.float32)
    np.testing.assert_allclose(ran(graph, x), ran(wide, x), rtol=1e-5)


def test_sixteen_bits_stay_sixteen():
    wide = onnx.load_from_string(wider(model(np.float16, 4, np.ones((4, 1, 3, 3)), {})) or b"")
    assert {tensor.data_type for tensor in wide.graph.initializer} == {TensorProto.FLOAT16}


def test_weights_in_a_file_of_their_own(tmp_path: Path):
    graph = onnx.load_from_string(model(np.float32, 64, np.ones((64, 1, 3, 3)), {}))
    path = tmp_path / "m.onnx"
    onnx.save(graph, path, save_as_external_data=True, location="weights", size_threshold=0)
    assert onnx.load(path, load_external_data=False).graph.initializer[0].data_location == TensorProto.EXTERNAL
    assert wider(path.read_bytes()) is None


@pytest.mark.assets
def test_a_real_model(assets: Path):
    graph = (assets / "models" / "pp_tinypose_128x96.onnx").read_bytes()
    wide = wider(graph)
    assert wide is not None
    assert kernels(wide).count((5, 5)) == 53
    x = np.random.default_rng(0).random((2, 3, 128, 96)).astype(np.float32)
    np.testing.assert_allclose(ran(graph, x), ran(wide, x), rtol=1e-3, atol=1e-4)
