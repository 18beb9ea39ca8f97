"""Channel shuffles as gathers: the same bits come out, and what is no shuffle is left alone."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from streampose.errors import ModelUnreadable
from streampose.inference import fitting
from streampose.inference.engine import EngineOptions
from streampose.inference.graphs import gathered
from streampose.inference.loading import ModelChoice, load_estimator


def model(
    groups: int,
    each: int,
    *,
    size: tuple[int | str, int | str] = (3, 2),
    perm: tuple[int, ...] = (0, 2, 1, 3, 4),
    back: tuple[int, ...] | None = None,
    parts: tuple[int, ...] = (),
    seen: str = "",
) -> bytes:
    """A shuffle; `parts` are the channels that a split behind it gives, `seen` an output that looks into its middle."""
    c, (h, w) = groups * each, size
    shapes = {
        "apart": [0, groups, each, *(0 if isinstance(n, str) else n for n in size)],
        "back": back or [0, c, *size],
    }
    if isinstance(h, str):  # the last of the two is found by what is left
        shapes = {"apart": [0, groups, each, -1, w], "back": [0, c, -1, w]}
    weights = [numpy_helper.from_array(np.array(shape, np.int64), name) for name, shape in shapes.items()]
    nodes = [
        helper.make_node("Reshape", ["x", "apart"], ["a"]),
        helper.make_node("Transpose", ["a"], ["t"], perm=perm),
        helper.make_node("Reshape", ["t", "back"], ["y"]),
    ]
    outputs = ["y"]
    if parts:
        weights.append(numpy_helper.from_array(np.array(parts, np.int64), "parts"))
        outputs = [f"part{i}" for i in range(len(parts))]
        nodes.append(helper.make_node("Split", ["y", "parts"], outputs, axis=1))
    if seen:
        outputs.append(seen)
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", c, h, w])
    graph = helper.make_graph(nodes, "g", [x], values, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()


def kinds(graph: bytes) -> list[str]:
    return [node.op_type for node in onnx.load_from_string(graph).graph.node]


def ran(graph: bytes, x: np.ndarray) -> list[np.ndarray]:
    return ort.InferenceSession(graph, providers=["CPUExecutionProvider"]).run(None, {"x": x})


@given(
    groups=st.integers(1, 4),
    each=st.integers(1, 6),
    size=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    data=st.data(),
)
def test_the_same_bits_come_out(groups: int, each: int, size: tuple[int, int], data: st.DataObject):
    parts, left = [], groups * each
    while left and data.draw(st.booleans()):
        parts.append(data.draw(st.integers(1, left)))
        left -= parts[-1]
    if parts and left:
        parts.append(left)
    graph = model(groups, each, size=size, parts=tuple(parts))
    other = gathered(graph)
    assert other is not None
    assert kinds(other) == ["Gather"] * max(len(parts), 1)
    x = np.random.default_rng(0).random((2, groups * each, *size), np.float32)
    for one, two in zip(ran(graph, x), ran(other, x), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    "how",
    [
        {"perm": (0, 2, 1, 4, 3)},  # turns the picture, too
        {"back": (0, 4, 3, 4)},  # comes out as another shape
        {"size": ("h", 2)},  # who knows whether the reshape keeps rows
        {"seen": "t"},
        {"seen": "a"},
    ],
)
def test_what_is_no_shuffle_alone_stays(how: dict):
    assert gathered(model(2, 3, **({"back": (0, 6, 3, 2)} | how if "size" not in how else how))) is None


def test_a_shuffle_that_others_need_whole_is_not_split():
    graph = model(2, 3, parts=(3, 3), seen="y")
    other = gathered(graph)
    assert other is not None
    assert kinds(other) == ["Gather", "Split"]


def test_weights_in_a_file_of_their_own(tmp_path: Path):
    loaded = onnx.load_from_string(model(2, 3))
    loaded.graph.initializer.append(numpy_helper.from_array(np.zeros(2000, np.float32), "more"))
    onnx.save(loaded, tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=1000)
    assert gathered((tmp_path / "m.onnx").read_bytes()) is None


def test_no_model():
    with pytest.raises(ModelUnreadable):
        gathered(b"\xff\xff no model")


def test_a_model_that_cannot_be_written_anew_runs_as_it_is(
    assets: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def broken(_: bytes) -> bytes:
        return b"\xff\xff no model"

    monkeypatch.setattr(fitting, "gathered", broken)
    choice = ModelChoice(pose=assets / "models" / "pp_tinypose_128x96.onnx")
    with caplog.at_level(logging.INFO, "streampose"):
        load_estimator(choice, EngineOptions(device="cpu")).close()
    assert "pp_tinypose_128x96.onnx runs as it is" in caplog.text


@pytest.mark.parametrize("name", ["pp_tinypose_128x96", "pp_tinypose_256x192"])
def test_a_real_one(assets: Path, name: str):
    graph = (assets / "models" / f"{name}.onnx").read_bytes()
    other = gathered(graph)
    assert other is not None
    assert kinds(graph).count("Transpose") == 49
    assert "Transpose" not in kinds(other)
    size = (256, 192) if "256" in name else (128, 96)
    x = np.random.default_rng(0).standard_normal((2, 3, *size)).astype(np.float32)
    feeds = [
        ort.InferenceSession(one, providers=["CPUExecutionProvider"]).run(None, {"image": x}) for one in (graph, other)
    ]
    for one, two in zip(*feeds, strict=True):
        np.testing.assert_array_equal(one, two)
