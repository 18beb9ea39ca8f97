"""Detectors of open size get no more of their input than the picture needs."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from dots import Graph, build, paint
from onnx import TensorProto, helper
from test_geometry import dots

from streampose.inference.engine import EngineOptions
from streampose.inference.frame_model import FrameModel, OneStage
from streampose.inference.loading import ModelChoice, load_estimator
from streampose.inference.zoo import built_in
from streampose.sources import SyntheticSource
from training.nano.opening import open_size

SHAPES = [(360, 640), (640, 360), (300, 300), (60, 640), (1080, 1920)]


def one_stage(path: Path, rect: bool | None = None) -> OneStage:
    estimator = load_estimator(ModelChoice(model=path), EngineOptions(device="cpu", rect=rect))
    assert isinstance(estimator, OneStage)
    return estimator


def inputs_of(model: FrameModel, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes of all that its engine is given from now on."""
    shapes: list[tuple[int, ...]] = []
    run = model.engine.run

    def noting(*items: np.ndarray, **more: object) -> list[np.ndarray]:
        shapes.append(items[0].shape)
        return run(*items, **more)

    monkeypatch.setattr(model.engine, "run", noting)
    return shapes


@pytest.mark.parametrize("shape", SHAPES)
def test_people_are_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, int]):
    estimator = one_stage(build(tmp_path / "m.onnx", "yolo-pose", size=(640, 640), any_size=True))
    estimator.warm_up([1])
    truth = dots(17, *shape)
    picture = paint(truth, *shape, radius=5 * max(1.0, max(shape) / 640))
    (whole,) = one_stage(tmp_path / "m.onnx", rect=False)([picture])
    estimator([picture])  # finds out what can be done
    seen = inputs_of(estimator._model, monkeypatch)
    (found,) = estimator([picture])
    assert np.abs(found.points[0] - truth).max() < 0.5 * max(1.0, max(shape) / 640)
    np.testing.assert_allclose(found.points, whole.points, atol=0.1)
    ((_, _, height, width),) = seen
    assert height % 32 == width % 32 == 0
    assert max(height, width) == 640
    scale = 640 / max(shape)
    assert 0 <= height - shape[0] * scale < 32
    assert 0 <= width - shape[1] * scale < 32


def test_a_graph_whose_height_alone_is_open_gets_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = build(tmp_path / "m.onnx", "yolo-pose", size=(640, 640), any_size=True)
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[3].dim_value = 640
    onnx.save(model, path)
    estimator = one_stage(path)
    seen = inputs_of(estimator._model, monkeypatch)
    estimator([np.zeros((640, 360, 3), np.uint8)])
    assert seen == [(1, 3, 640, 640)]


def test_each_of_a_mixed_batch_is_what_it_is_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    estimator = one_stage(build(tmp_path / "m.onnx", "yolo-pose", size=(640, 640), any_size=True))
    pictures = [paint(dots(17, *shape, seed=i), *shape) for i, shape in enumerate([*SHAPES[:3], *SHAPES[:3]])]
    alone = [estimator([picture])[0] for picture in pictures]
    seen = inputs_of(estimator._model, monkeypatch)
    for one, together in zip(alone, estimator(pictures), strict=True):
        assert len(one) == len(together) == 1
        np.testing.assert_allclose(one.points, together.points, atol=1e-3)
    assert seen == [(2, 3, 384, 640), (2, 3, 640, 384), (2, 3, 640, 640)]


def test_the_stride_is_the_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = build(tmp_path / "m.onnx", "yolo-pose", size=(640, 640), any_size=True, metadata={"stride": "64"})
    estimator = one_stage(path)
    estimator._model.place(np.zeros((8, 8, 3), np.uint8))
    seen = inputs_of(estimator._model, monkeypatch)
    estimator([np.zeros((400, 640, 3), np.uint8)])
    assert seen == [(1, 3, 448, 640)]


def test_a_graph_that_is_of_one_size_after_all_gets_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    estimator = one_stage(build(tmp_path / "m.onnx", "yolo-pose", size=(640, 640), free_size=True))
    truth = dots(17, 360, 640)
    picture = paint(truth, 360, 640)
    with caplog.at_level(logging.INFO, "streampose"):
        (found,) = estimator([picture])
    assert "runs at 640×640 only" in caplog.text
    assert np.abs(found.points[0] - truth).max() < 0.5
    seen = inputs_of(estimator._model, monkeypatch)
    estimator([picture])
    assert seen == [(1, 3, 640, 640)]


def test_a_graph_of_a_larger_stride_than_it_says_gets_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """Features of 32 pixels and of 64, scaled up, come together only where a side is a multiple of 64."""
    path = build(tmp_path / "m.onnx", "yolo-pose", size=(640, 640), any_size=True)
    model, g = onnx.load(path), Graph()
    model.graph.node[-1].output[0] = "found"
    fine = g("AveragePool", "image", kernel_shape=[32, 32], strides=[32, 32])
    coarse = g("AveragePool", fine, kernel_shape=[2, 2], strides=[2, 2])
    both = g("Add", fine, g("Resize", coarse, "", g.const([1, 1, 2, 2]), mode="nearest"))
    nothing = g("ReduceSum", g("Mul", both, g.const(0)), g.const([1, 2], np.int64))
    g.rename(g("Add", "found", g("ReduceMax", nothing, g.const([3], np.int64), keepdims=0)), "output0")
    for node in g.nodes:
        node.output[0] = node.output[0] if node.output[0] == "output0" else f"more {node.output[0]}"
        node.input[:] = [name if name in {"image", "found", ""} else f"more {name}" for name in node.input]
    for constant in g.constants:
        constant.name = f"more {constant.name}"
    model.graph.node.extend(g.nodes)
    model.graph.initializer.extend(g.constants)
    onnx.save(model, path)
    estimator = one_stage(path)
    with caplog.at_level(logging.INFO, "streampose"):
        estimator.warm_up([1])
    assert "runs at 640×640 only" in caplog.text
    seen = inputs_of(estimator._model, monkeypatch)
    (found,) = estimator([paint(dots(17, 480, 640), 480, 640)])
    assert len(found) == 1
    assert seen == [(1, 3, 640, 640)]


@pytest.mark.parametrize(("rect", "height"), [(None, 320), (False, 320), (True, 192)])
def test_rtmdet_only_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rect: bool | None, height: int):
    detector = build(tmp_path / "d.onnx", "rtmdet", size=(320, 320), any_size=True)
    choice = ModelChoice(detector=detector, pose=build(tmp_path / "p.onnx", "simcc"))
    model = load_estimator(choice, EngineOptions(device="cpu", rect=rect))._detector
    model.place(np.zeros((8, 8, 3), np.uint8))
    seen = inputs_of(model, monkeypatch)
    model([np.zeros((720, 1280, 3), np.uint8)])
    assert seen == [(1, 3, height, 320)]


def test_our_detector_finds_the_same_people_with_less(monkeypatch: pytest.MonkeyPatch):
    source = SyntheticSource(people=3, live=False)
    pictures = [source.render(i) for i in range(0, 120, 10)]
    less, whole = (load_estimator(ModelChoice(), EngineOptions(device="cpu", rect=rect)) for rect in (None, False))
    less(pictures[:1])
    seen = inputs_of(less._detector, monkeypatch)
    found, expected = less(pictures), whole(pictures)
    assert {shape[2:] for shape in seen} == {(192, 320)}
    for a, b in zip(found, expected, strict=True):
        assert len(a) == len(b)
        np.testing.assert_allclose(a.boxes, b.boxes, atol=12)  # of a picture of 1280×720: three pixels of the input


def closed(path: Path, side: int = 64) -> Path:
    """As our exporter writes a detector: three levels, laid out for one size, cells as numbers."""
    g, scores, boxes, cells = Graph(), [], [], []
    for stride in (8, 16, 32):
        n = side // stride
        level = g("AveragePool", "image", kernel_shape=[stride, stride], strides=[stride, stride])
        score = g("Conv", level, g.const(np.ones((1, 3, 1, 1)) / 9))
        edges = g("Conv", level, g.const(np.arange(12).reshape(4, 3, 1, 1) / 9))
        scores.append(g("Reshape", score, g.const([-1, n * n], np.int64), allowzero=1))
        rows = g("Reshape", edges, g.const([-1, 4, n * n], np.int64), allowzero=1)
        boxes.append(g("Mul", g("Transpose", rows, perm=[0, 2, 1]), g.const(float(stride))))
        y, x = np.mgrid[:n, :n]
        cells.append(np.stack([x, y], axis=2).reshape(-1, 2) * stride + stride / 2)
    g.rename(g("Unsqueeze", g("Concat", *scores, axis=1), g.const([1], np.int64)), "scores")
    edges = g("Concat", *boxes, axis=1)
    near, far = (g("Gather", edges, g.const(columns, np.int64), axis=2) for columns in ([0, 1], [2, 3]))
    g.const(np.concatenate(cells))
    g.constants[-1].name = "cells"
    g.rename(g("Concat", g("Sub", "cells", near), g("Add", "cells", far), axis=2), "boxes")
    n = len(np.concatenate(cells))
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape])
        for name, shape in {"image": [3, side, side], "scores": [1, n], "boxes": [n, 4]}.items()
    ]
    graph = helper.make_graph(g.nodes, "closed", values[:1], values[1:], g.constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def test_opening_leaves_what_it_computes_as_it_was(tmp_path: Path):
    picture = np.random.default_rng(0).normal(size=(2, 3, 64, 64)).astype(np.float32)
    path = closed(tmp_path / "m.onnx")
    before = ort.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"image": picture})
    open_size(path)
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    for old, new in zip(before, session.run(None, {"image": picture}), strict=True):
        np.testing.assert_array_equal(old, new)
    # The upper half, alone: the rows of the finest level's upper half, and so on.
    half = session.run(None, {"image": picture[:, :, :32]})
    rows = np.r_[0:32, 64:72, 80:82]
    np.testing.assert_array_equal(half[0], before[0][:, :, rows])
    np.testing.assert_array_equal(half[1], before[1][:, rows])


def test_what_is_no_detector_of_ours_is_not_opened(tmp_path: Path):
    for path in (built_in("keypoints"), built_in("detector")):  # the second is open already
        copy = tmp_path / path.name
        copy.write_bytes(path.read_bytes())
        with pytest.raises(ValueError, match="no detector of three levels"):
            open_size(copy)
        assert copy.read_bytes() == path.read_bytes()
