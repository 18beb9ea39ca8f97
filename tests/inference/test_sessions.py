"""What is particular to CUDA, on a session of the CPU that says it is CUDA's."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from dots import build
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from test_engine import small

from streampose.errors import ProviderUnavailable
from streampose.inference import engine as engine_module
from streampose.inference import joiner, loading, providers
from streampose.inference import sessions as sessions_module
from streampose.inference.engine import Engine, EngineOptions
from streampose.inference.graphs.builder import Builder
from streampose.inference.graphs.people import _unhidden
from streampose.inference.loading import ModelChoice, load_estimators
from streampose.inference.pinned import pinned
from streampose.inference.runner import BoundRunner, Uploads

NO_ROOM = "bfc_arena.cc:359 onnxruntime::BFCArena Failed to allocate memory for requested buffer of size 8388608"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """CUDA's options of each session that was opened."""
    seen: list[dict[str, str]] = []
    joiner._joiner()  # a session, too, made once in a process: not one of these, whichever test comes first
    session = providers.ort.InferenceSession

    class OnGpu:
        def __init__(self, path, options, providers, **rest):
            seen.append(providers[0][1])
            if seen[-1]["enable_cuda_graph"] == "1" and "partly" in str(path):
                raise RuntimeError("This session cannot use the graph capture feature as requested by the user")
            self._real = session(path, options, ["CPUExecutionProvider"], **rest)
            self._options = {"CUDAExecutionProvider": providers[0][1]}

        def __getattr__(self, name):
            return getattr(self._real, name)

        def get_providers(self):
            return ["CUDAExecutionProvider", "CPUExecutionProvider"]

        def get_provider_options(self):
            return self._options

    def bound(session, signature, _device, _number, *, cuda_graphs):
        runner = BoundRunner(session._real, signature, "cpu", cuda_graphs=False)
        runner.recorded = cuda_graphs
        plain = runner.run
        # From a GPU they come as copies.
        runner.run = lambda *args, **kwargs: [output.copy() for output in plain(*args, **kwargs)]
        return runner

    monkeypatch.setattr(providers, "_why_not", {"tensorrt": "none", "cuda": None, "cpu": None}.get)
    monkeypatch.setattr(providers.ort, "InferenceSession", OnGpu)
    monkeypatch.setattr(sessions_module, "BoundRunner", bound)
    monkeypatch.setattr(sessions_module, "Uploads", lambda *_: Uploads("cpu"))
    return seen


def run(engine: Engine, n: int) -> None:
    blob = np.arange(3 * n, dtype=np.float32).reshape(n, 3) - 40
    np.testing.assert_array_equal(engine.run(blob)[0], np.maximum(blob, 0))


def test_each_batch_size_has_a_session_of_its_own(opened, tmp_path: Path):
    engine = Engine(small(tmp_path / "m.onnx"))
    for n in (1, 4, 3, 1, 8, 4):
        run(engine, n)
    assert sorted(engine._sessions._runners) == [1, 4, 8]
    assert len(opened) == 3


def test_another_session_goes_where_the_first_one_went(opened, tmp_path: Path):
    """Also where `auto` would now find that the GPU is full."""
    engine = Engine(small(tmp_path / "m.onnx"), EngineOptions(device="auto", device_id=1))
    run(engine, 1)
    run(engine, 2)
    assert [options["device_id"] for options in opened] == ["1", "1"]
    assert engine._sessions._options.device == "cuda"


def test_a_batch_without_room_gives_its_memory_back(opened, tmp_path: Path):
    engine = Engine(small(tmp_path / "m.onnx"))
    run(engine, 32)

    def full(*_, **__):
        raise RuntimeError(NO_ROOM)

    engine._sessions._runners[32].run = full
    run(engine, 32)
    assert sorted(engine._sessions._runners) == [16]
    assert engine.batch_limit == 16


@pytest.mark.parametrize(("patience_s", "sizes"), [(10.0, [1, 2, 4, 8, 16, 32]), (0.0, [1, 32])])
def test_a_model_that_takes_long_is_ready_for_fewer_sizes(opened, tmp_path, monkeypatch, patience_s, sizes):
    monkeypatch.setattr(engine_module, "_PATIENCE_S", patience_s)
    engine = Engine(small(tmp_path / "m.onnx"))
    engine.warm_up((3,), range(1, 33))
    for n in (1, 2, 5, 17, 32, 40):
        run(engine, n)
    assert sorted(engine._sessions._runners) == sizes


def test_a_run_that_failed_is_run_again_in_a_new_session(opened, tmp_path: Path):
    engine = Engine(small(tmp_path / "m.onnx"))
    run(engine, 1)
    run(engine, 4)

    def fails(*_, **__):
        raise RuntimeError("CUBLAS failure 14: CUBLAS_STATUS_INTERNAL_ERROR ; GPU=0")

    engine._sessions._runners[1].run = fails
    run(engine, 1)
    assert sorted(engine._sessions._runners) == [1, 4]
    assert len(opened) == 3


def test_cuda_runs_wider_convolutions_and_fewer_biases(opened, tmp_path: Path):
    nodes = [
        helper.make_node("Conv", ["x0", "w", "a"], ["x1"], group=2, pads=[1] * 4),
        helper.make_node("Conv", ["x1", "v", "b"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["b", 2, 5, 5]) for name in ("x0", "y")]
    rng = np.random.default_rng(0)
    shapes = {"w": (2, 1, 3, 3), "a": (2,), "v": (2, 2, 1, 1), "b": (2,)}
    weights = [numpy_helper.from_array(rng.random(shape, np.float32), name) for name, shape in shapes.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)
    model, path = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tmp_path / "m"
    onnx.save(model, path)
    blob = np.random.default_rng(1).random((3, 2, 5, 5), np.float32)
    (expected,) = ReferenceEvaluator(model).run(None, {"x0": blob})
    engine = Engine(path)
    np.testing.assert_allclose(engine.run(blob)[0], expected, rtol=1e-5)
    first, _ = onnx.load_from_string(engine._sessions._suited).graph.node
    assert (len(first.input), helper.get_node_attr_value(first, "kernel_shape")) == (2, [5, 5])
    assert len(opened) == 2  # the first only said what the model is


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """After so many sessions the device is full."""
    left = [99]
    opening = sessions_module.open_session

    def open_session(*args):
        left[0] -= 1
        if left[0] < 0:
            raise ProviderUnavailable(f"cuda was asked for and cannot be used: {NO_ROOM}")
        return opening(*args)

    monkeypatch.setattr(sessions_module, "open_session", open_session)
    return left


@pytest.mark.usefixtures("opened")
@pytest.mark.parametrize("sessions", [1, 2, 3])
def test_sizes_that_find_no_room_are_filled_up(tmp_path: Path, room: list[int], sessions: int):
    room[0] = sessions
    engine = Engine(small(tmp_path / "m.onnx"))
    engine.warm_up((3,), range(1, 33))
    assert sorted(engine._sessions._runners) == {1: [32], 2: [1, 32], 3: [1, 8, 32]}[sessions]
    for n in (1, 3, 7, 20, 40):
        run(engine, n)
    assert engine.batch_limit == 32
    assert engine.memory_refusals == 0


@pytest.mark.usefixtures("opened")
def test_a_largest_batch_that_is_no_power_of_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(engine_module, "_PATIENCE_S", 0.0)
    engine = Engine(small(tmp_path / "m.onnx"), EngineOptions(max_batch=24))
    engine.warm_up((3,), range(1, 25))
    assert engine.batch_limit == 24
    run(engine, 5)
    run(engine, 24)
    assert sorted(engine._sessions._runners) == [1, 32]


@pytest.mark.usefixtures("opened")
@pytest.mark.parametrize("sessions", [None, 2])
def test_a_second_session_without_room(tmp_path: Path, room: list[int], sessions: int | None):
    """Nobody asked for it: then one does. (An estimator opens its model as it is, then with more in its graph.)"""
    choice = ModelChoice(model=build(tmp_path / "m.onnx", "rtmo", size=(64, 64)))
    room[0] = 2
    options = EngineOptions(max_batch=1, sessions=sessions)
    if sessions is None:
        assert len(load_estimators(choice, options, throughput=True)) == 1
    else:
        with pytest.raises(ProviderUnavailable):
            load_estimators(choice, options, throughput=True)


def test_after_a_refusal_no_batch_is_filled_up_beyond_the_room(opened, tmp_path, monkeypatch):
    monkeypatch.setattr(engine_module, "_PATIENCE_S", 0.0)
    engine = Engine(small(tmp_path / "m.onnx"))
    engine.warm_up((3,), range(1, 33))
    engine._limit.failed(32)
    run(engine, 9)
    assert sorted(engine._sessions._runners) == [1, 16, 32]


@given(st.lists(st.integers(1, 99), unique=True, max_size=9).map(sorted))
def test_the_outermost_sizes_come_first(sizes: list[int]):
    order = engine_module._outside_in(sizes)
    assert sorted(order) == sizes
    assert set(order[:2]) == {*sizes[:1], *sizes[-1:]}


def test_what_cannot_be_recorded_runs_all_the_same(opened, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING, "streampose"):
        plain = Engine(small(tmp_path / "partly.onnx"), EngineOptions(cuda_graphs=True))
        whole = Engine(small(tmp_path / "m.onnx"), EngineOptions(cuda_graphs=True))
        for engine, recorded in ((plain, False), (whole, True)):
            run(engine, 1)
            run(engine, 2)
            assert engine._sessions.runner(2).recorded is recorded
    # Not again for another batch size.
    assert [record.message for record in caplog.records] == [
        "partly.onnx: parts of it do not run on the GPU, so its kernels cannot be recorded"
    ]


@pytest.mark.parametrize(("throughput", "soon_s", "sessions"), [(True, 60, 2), (True, 0, 1), (False, 60, 1)])
@pytest.mark.usefixtures("opened")
def test_a_second_session_where_the_first_is_soon_ready(
    tmp_path, monkeypatch, throughput: bool, soon_s: float, sessions: int
):
    monkeypatch.setattr(loading, "_SOON_S", soon_s)
    choice = ModelChoice(model=build(tmp_path / "m.onnx", "rtmo", size=(64, 64)))
    estimators = load_estimators(choice, EngineOptions(max_batch=2), throughput=throughput)
    assert len(estimators) == sessions
    assert "in-graph" in estimators[0].describe()


def growing(path: Path) -> Path:
    """A model that gives another number of things each time, as detectors do."""
    given_ = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b", 3])
    out = helper.make_tensor_value_info("y", TensorProto.INT64, [2, "found"])
    graph = helper.make_graph([helper.make_node("NonZero", ["x"], ["y"])], "g", [given_], [out])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, path)
    return path


def test_of_open_outputs_it_is_said_that_they_are_not_recorded(
    opened, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.WARNING, "streampose"):
        engine = Engine(growing(tmp_path / "m.onnx"), EngineOptions(cuda_graphs=True))
        for size in (1, 2):
            engine._sessions.runner(size)
    assert [record.message for record in caplog.records] == [
        "m.onnx: how much comes out of it is open, so its kernels cannot be recorded"
    ]


def test_outputs_of_open_sizes_may_change(tmp_path: Path):
    engine = Engine(growing(tmp_path / "m.onnx"), EngineOptions(device="cpu"))
    runner = BoundRunner(engine._sessions.runner(1)._session, engine.signature, "cpu")
    for row in ([1, 0, 0], [1, 1, 0], [0, 0, 0], [1, 1, 1]):
        (found,) = runner.run({"x": np.array([row], np.float32)}, 1)
        assert found.shape == (2, sum(row))


def test_memory_without_cuda_is_ordinary():
    memory = pinned(7, 0)
    memory[:] = 3
    assert memory.shape == (7, 3)
    assert memory.dtype == np.uint8


@pytest.fixture(scope="module")
def suppress():
    """`_unhidden` of 40 boxes as a function."""
    g = Builder()
    g.input("boxes", TensorProto.FLOAT, ["b", 40, 4])
    echo = helper.make_model(
        helper.make_graph(
            [helper.make_node("Identity", ["x"], ["z"])],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b", 40])],
            [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["b", 40])],
        ),
        opset_imports=[helper.make_opsetid("", 11)],
        ir_version=9,
    )
    stays = _unhidden(g, "streampose:boxes", 40, 0.5)
    whole = g.around(echo, stays, {"stays": ("z", ["b", 40])})
    session = ort.InferenceSession(whole.SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda boxes: session.run(None, {"streampose:boxes": boxes})[0]


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    shared = np.prod(np.maximum(high - low, 0))
    return shared / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared)


@given(seed=st.integers(0, 2**32 - 1), spread=st.sampled_from([5, 30, 120, 400]), pictures=st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_who_hides_whom_is_decided_one_after_the_other(suppress, seed: int, spread: float, pictures: int):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, spread, (pictures, 40, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(20, 60, (pictures, 40, 2))], axis=2).astype(np.float32)
    for picture, stays in zip(boxes, suppress(boxes), strict=True):
        kept: list[int] = []
        for i, box in enumerate(picture.astype(np.float64)):
            if all(overlap(picture[j].astype(np.float64), box) <= 0.5 for j in kept):
                kept.append(i)
        assert np.flatnonzero(stays).tolist() == kept


def test_a_row_of_sixteen_each_of_whom_hides_the_next_is_decided(suppress):
    left = np.minimum(np.arange(40), 16) * 3.0
    left[16:] += 100 * np.arange(24)
    boxes = np.stack([left, np.zeros(40), left + 10, np.full(40, 10.0)], axis=1)[None].astype(np.float32)
    assert np.flatnonzero(suppress(boxes)[0]).tolist() == [*range(0, 16, 2), *range(16, 40)]
