"""A size that a graph leaves open is settled where kernels are recorded, or built, for one."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from dots import build
from onnx import TensorProto
from test_sessions import opened  # noqa: F401 - a fixture

from streampose.errors import ModelUnreadable
from streampose.inference import fitting, providers
from streampose.inference.card import Card
from streampose.inference.engine import Engine, EngineOptions
from streampose.inference.family import read_card
from streampose.inference.graphs import closed
from streampose.inference.loading import ModelChoice, load_estimator
from streampose.inference.profiles import shape_profiles
from streampose.inference.top_down import TopDown
from streampose.inference.zoo import built_in
from streampose.sources import SyntheticSource


def card_of(path: Path, size_px: tuple[int, int] | None = None) -> Card:
    engine = Engine(path, EngineOptions(device="cpu"))
    return read_card(engine.signature, path.name, size_px=size_px)


def shapes(session: ort.InferenceSession) -> list[list[object]]:
    return [value.shape for value in (*session.get_inputs(), *session.get_outputs())]


def session_of(graph: bytes, optimised: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(optimised)
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def test_our_detector_gives_the_same_and_computes_nothing_of_its_size(tmp_path: Path):
    path = built_in("detector")
    graph = closed(path.read_bytes(), card_of(path))
    assert graph is not None
    session = session_of(graph, tmp_path / "optimised.onnx")
    assert shapes(session) == [["batch", 3, 320, 320], ["batch", 1, 2100], ["batch", 2100, 4]]
    left = {node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node}
    assert not left & {"Shape", "Range", "Expand", "Cast"}
    picture = np.random.default_rng(0).random((2, 3, 320, 320), np.float32)
    before = ort.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"image": picture})
    for old, new in zip(before, session.run(None, {"image": picture}), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("size_px", [(640, 640), (640, 384)])
def test_one_that_says_less_than_it_could(tmp_path: Path, size_px: tuple[int, int]):
    path = build(tmp_path / "m.onnx", "yolo-pose", size=(640, 640), any_size=True)
    graph = closed(path.read_bytes(), card_of(path, size_px))
    assert graph is not None
    session = session_of(graph, tmp_path / "optimised.onnx")
    (before,) = ort.InferenceSession(path, providers=["CPUExecutionProvider"]).run(
        None, {"image": np.zeros((2, 3, *size_px[::-1]), np.float32)}
    )
    taken, given = shapes(session)
    assert taken[1:] == [3, *size_px[::-1]]
    assert given[1:] == list(before.shape[1:])


def test_weights_in_a_file_of_their_own_are_left_there(tmp_path: Path):
    path = build(tmp_path / "m.onnx", "yolo-pose", size=(640, 640), any_size=True)
    model = onnx.load(path)
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL
    assert closed(model.SerializeToString(), card_of(path)) is None


@pytest.mark.assets
def test_one_that_computes_with_its_size_all_through_gives_the_same(assets: Path, tmp_path: Path):
    path = assets / "models" / "rtmdet_nano_person.onnx"
    graph = closed(path.read_bytes(), card_of(path))
    assert graph is not None
    session = session_of(graph, tmp_path / "optimised.onnx")
    assert session.get_inputs()[0].shape[1:] == [3, 320, 320]
    picture = np.random.default_rng(0).normal(size=(2, 3, 320, 320)).astype(np.float32)
    before = session_of(path.read_bytes(), tmp_path / "before.onnx").run(None, {"input": picture})
    for old, new in zip(before, session.run(None, {"input": picture}), strict=True):
        np.testing.assert_array_equal(old, new)


def test_what_is_no_model_is_told():
    with pytest.raises(ModelUnreadable, match="cannot be settled"):
        closed(b"no model", card_of(built_in("detector")))


@pytest.mark.usefixtures("opened")
@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_one_that_the_runtime_refuses_stays_as_it_is(monkeypatch: pytest.MonkeyPatch, device: str):
    whole = providers.ort.InferenceSession

    def refuses(model: object, *args: object, **more: object) -> object:
        if type(model) is bytes:
            raise RuntimeError("[ONNXRuntimeError] : 1 : FAIL : shapes that do not fit")
        return whole(model, *args, **more)

    monkeypatch.setattr(fitting, "closed", lambda model, _: model)
    monkeypatch.setattr(providers.ort, "InferenceSession", refuses)
    estimator = load_estimator(ModelChoice(), EngineOptions(device=device, cuda_graphs=True))
    assert isinstance(estimator, TopDown)
    assert estimator.on_gpu
    assert estimator._detector.engine.signature.outputs[0].shape == (None, 1, None)


@pytest.mark.usefixtures("opened")
def test_one_that_cannot_be_settled_stays_as_it_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fitting, "closed", lambda *_: b"no model")
    estimator = load_estimator(ModelChoice(), EngineOptions(cuda_graphs=True))
    assert isinstance(estimator, TopDown)
    assert estimator._detector.engine.signature.outputs[0].shape == (None, 1, None)


@pytest.fixture
def before() -> TopDown:
    estimator = load_estimator(ModelChoice(), EngineOptions(device="cpu", rect=False))
    assert isinstance(estimator, TopDown)
    return estimator


@pytest.mark.parametrize("cuda_graphs", [True, False])
def test_where_kernels_are_recorded(
    before: TopDown,
    opened: list[dict[str, str]],  # noqa: F811 - asked for second, since it changes where sessions are opened
    caplog: pytest.LogCaptureFixture,
    cuda_graphs: bool,
):
    picture = SyntheticSource(people=2, live=False).render(0)
    (on_cpu,) = before([picture])
    with caplog.at_level(logging.WARNING, "streampose"):
        estimator = load_estimator(ModelChoice(), EngineOptions(cuda_graphs=cuda_graphs, in_graph=False))
        estimator.warm_up([1])
    engine = estimator._detector.engine
    known = engine.signature.outputs[0].shape == (None, 1, 2100)
    assert known is cuda_graphs
    assert opened[-1]["enable_cuda_graph"] == str(int(cuda_graphs))
    assert not caplog.records
    (found,) = estimator([picture])
    assert len(found) == 2
    np.testing.assert_array_equal(found.points, on_cpu.points)


def test_tensorrt_is_told_of_one_size():
    path = built_in("detector")
    shapeless = onnx.load(path)
    shapeless.graph.input[0].type.tensor_type.ClearField("shape")
    assert shape_profiles(shapeless.SerializeToString(), 8) == {}
    assert shape_profiles(path.read_bytes(), 8) == {}
    graph = closed(path.read_bytes(), card_of(path))
    assert shape_profiles(graph or b"", 8)["trt_profile_max_shapes"] == "image:8x3x320x320"
