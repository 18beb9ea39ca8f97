"""A device that runs out of memory, or goes away, and what becomes of the batch."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import onnx
import pytest
from dots import build
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from test_engine import small

from streampose.errors import ConfigError, DeviceLost, EngineFailed, ModelUnreadable
from streampose.inference import half as half_module
from streampose.inference.engine import Engine, EngineOptions
from streampose.inference.half import half_graph
from streampose.inference.kept import unsealed
from streampose.inference.limit import BatchLimit, is_lost, is_out_of_memory
from streampose.inference.providers import gist, provider_options
from streampose.inference.runner import BoundRunner
from streampose.inference.zoo import find

NO_ROOM = "bfc_arena.cc:359 onnxruntime::BFCArena Failed to allocate memory for requested buffer of size 8388608"
GONE = "CUDA failure 700: an illegal memory access was encountered ; GPU=0"
ONCE = (
    "Error in execution: cuda_call.cc:154 CudaCall(ERRTYPE, const char*) [with ERRTYPE = cublasStatus_t; THRW = true] "
    "CUBLAS failure 14: CUBLAS_STATUS_INTERNAL_ERROR ; GPU=0 ; hostname=h"
)


class Small:
    """A runner with room for so many items."""

    def __init__(self, runner, room: int, message: str = NO_ROOM) -> None:
        self.runner, self.room, self.message, self.sizes, self.shrunk = runner, room, message, [], []

    def run(self, feeds, size: int, *, shrink: bool = False):
        self.sizes.append(size)
        self.shrunk.append(shrink)
        if size > self.room:
            raise RuntimeError(self.message)
        return self.runner.run(feeds, size, shrink=shrink)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small(tmp_path_factory.mktemp("limit") / "m.onnx")


def with_room(model: Path, room: int, message: str = NO_ROOM, **options) -> Engine:
    engine = Engine(model, EngineOptions(device="cpu", **{"threads": 2, **options}))
    runner = Small(engine._sessions.runner(1), room, message)
    engine._sessions.runner = lambda _: runner
    return engine


@given(n=st.integers(1, 40), room=st.integers(1, 40))
@settings(deadline=None, max_examples=40)
def test_nothing_is_lost_and_order_is_kept(model: Path, n: int, room: int):
    engine = with_room(model, room)
    blob = np.arange(3 * n, dtype=np.float32).reshape(n, 3) - 40
    (out,) = engine.run(blob)
    np.testing.assert_array_equal(out, np.maximum(blob, 0))
    assert engine.batch_limit == 32 if min(n, 32) <= room else engine.batch_limit <= room
    tried = len(engine._sessions.runner(1).sizes)
    engine.run(blob[:room])
    assert len(engine._sessions.runner(1).sizes) - tried == -(
        -min(n, room) // engine.batch_limit
    )  # remembered: no second refusal
    assert engine.memory_refusals == sum(size > room for size in engine._sessions.runner(1).sizes)


@pytest.mark.parametrize(("threads", "sizes"), [(1, [2, 2, 1]), (2, [5])])
def test_one_thread_of_a_cpu_takes_two_at_a_time(model: Path, threads: int, sizes: list[int]):
    engine = with_room(model, 99, threads=threads)
    blob = np.arange(15, dtype=np.float32).reshape(5, 3) - 7
    np.testing.assert_array_equal(engine.run(blob)[0], np.maximum(blob, 0))
    seen = engine._sessions.runner(1).sizes
    assert seen == sizes
    engine.warm_up((3,), [4])
    assert sum(seen[len(sizes) :]) == 4, "calibration counts so many"


def test_it_is_said_once_and_one_item_without_room_is_an_error(model: Path, caplog: pytest.LogCaptureFixture):
    engine = with_room(model, 2)
    with caplog.at_level(logging.WARNING):
        engine.run(np.zeros((32, 3), np.float32))
    assert [r.message.partition(" (")[0] for r in caplog.records] == [
        "m.onnx: no memory on CPUExecutionProvider for a batch of 32; at most 16 from now on"
    ]
    with pytest.raises(EngineFailed, match=r"at batch 1: .*Failed to allocate"):
        with_room(model, 0).run(np.zeros((4, 3), np.float32))


def test_what_a_batch_without_room_was_given_is_given_back_by_the_next_run(model: Path):
    engine = with_room(model, 16)
    engine.run(np.zeros((48, 3), np.float32))
    runner = engine._sessions.runner(1)
    assert (runner.sizes, runner.shrunk) == ([32, 16, 16, 16], [False, True, False, False])


def test_it_grows_again_and_each_refusal_makes_it_more_patient():
    limit = BatchLimit(32)
    limit.failed(32)
    for patience in (256, 512, 1024):
        for _ in range(patience - 1):
            limit.passed(limit.now)
        limit.passed(1)  # says nothing about room
        assert limit.now == 16
        limit.passed(16)
        assert limit.now == 32
        limit.failed(32)


def test_a_lost_device_is_an_error_of_its_own(model: Path):
    with pytest.raises(DeviceLost, match="illegal memory access"):
        with_room(model, 0, GONE).run(np.zeros((4, 3), np.float32))


@pytest.mark.parametrize("times", [1, 2])
def test_what_fails_for_no_known_reason_is_run_once_more(model: Path, caplog: pytest.LogCaptureFixture, times: int):
    """Seen on an H100: a thread's first run failed in cuBLAS, and none after it."""
    engine = with_room(model, 99)
    engine.provider = "CUDAExecutionProvider"
    forgotten: list[int] = []
    engine._sessions.forget = forgotten.append
    (runner, left) = engine._sessions.runner(1), [times]
    plain = runner.run

    def run(*args, **kwargs):
        left[0] -= 1
        if left[0] >= 0:
            raise RuntimeError(ONCE)
        return plain(*args, **kwargs)

    runner.run = run
    blob = np.arange(12, dtype=np.float32).reshape(4, 3) - 6
    with caplog.at_level(logging.WARNING):
        if times == 1:
            for _ in range(2):
                np.testing.assert_array_equal(engine.run(blob)[0], np.maximum(blob, 0))
        else:
            with pytest.raises(EngineFailed, match=r"at batch 4: CUBLAS failure 14: CUBLAS_STATUS_INTERNAL_ERROR$"):
                engine.run(blob)
    (told,) = caplog.records
    assert told.message.endswith("is run once more in a new session: CUBLAS failure 14: CUBLAS_STATUS_INTERNAL_ERROR")
    assert forgotten == [4]
    left[0] = 1  # each run has its second chance
    np.testing.assert_array_equal(engine.run(blob)[0], np.maximum(blob, 0))


@pytest.mark.parametrize("message", [GONE, NO_ROOM, ONCE])
def test_the_cpu_goes_on_if_asked_and_says_so(model: Path, monkeypatch, caplog, message: str):
    engine = with_room(model, 0, message, fallback_to_cpu=True)
    engine.provider = "CUDAExecutionProvider"
    blob = np.arange(12, dtype=np.float32).reshape(4, 3) - 6
    with caplog.at_level(logging.WARNING):
        (out,) = engine.run(blob)
    np.testing.assert_array_equal(out, np.maximum(blob, 0))
    assert not engine.on_gpu
    assert engine.note.startswith("; the GPU failed, the CPU goes on: ")
    assert any("The CPU goes on" in r.message for r in caplog.records)


def test_of_a_page_the_library_s_own_words_are_told():
    for words in ("CUDNN_FE failure 11: CUDNN_BACKEND_API_FAILED", "CUBLAS failure 13: CUBLAS_STATUS_EXECUTION_FAILED"):
        error = RuntimeError(f"x.cc:154 CudaCall(ERRTYPE) [with ERRTYPE = int]\n {words} ; GPU=0 ; hostname=h")
        assert gist(error) == words
    assert gist(RuntimeError("no  such\nthing")) == "no such thing"


def test_words_of_the_runtime():
    for text in (NO_ROOM, "CUDA failure 2: out of memory ; GPU=0", "CUBLAS_STATUS_ALLOC_FAILED", "std::bad_alloc"):
        assert is_out_of_memory(RuntimeError(text))
        assert not is_lost(RuntimeError(text))
    assert not is_out_of_memory(RuntimeError("Got invalid dimensions for input: x0"))
    assert is_lost(RuntimeError(GONE))


def test_bound_buffers_give_what_plain_runs_give(model: Path):
    engine = Engine(model, EngineOptions(device="cpu"))
    plain = engine._sessions.runner(1)
    bound = BoundRunner(plain._session, engine.signature, "cpu")
    random = np.random.default_rng(1)
    blobs = [random.normal(size=(n, 3)).astype(np.float32) for n in (4, 2, 4, 2, 4)]
    for blob in blobs:
        (out,) = bound.run({"x0": blob}, len(blob))
        np.testing.assert_array_equal(out, plain.run({"x0": blob}, len(blob))[0])
    assert len(bound._bound) == 2


def test_what_the_providers_are_told():
    cuda = provider_options("cuda", EngineOptions(device_id=1, tf32=False, cuda_graphs=True, memory_limit_bytes=5))
    assert cuda["device_id"] == "1"
    assert (cuda["use_tf32"], cuda["enable_cuda_graph"], cuda["gpu_mem_limit"]) == ("0", "1", "5")
    assert "gpu_mem_limit" not in provider_options("cuda", EngineOptions())
    folder = Path("kept")
    kept = provider_options("tensorrt", EngineOptions(half=True, cache_dir=folder), "abc")
    assert kept["trt_engine_cache_path"] == str(folder / "tensorrt" / "abc")
    assert kept["trt_fp16_enable"] == kept["trt_engine_cache_enable"] == "1"
    assert "trt_engine_cache_enable" not in provider_options("tensorrt", EngineOptions())
    with pytest.raises(ConfigError, match="max_batch is at least 1"):
        EngineOptions(max_batch=0)


def test_half_models_are_kept_and_close(tmp_path: Path):
    path = small(tmp_path / "m.onnx", "Sigmoid")
    blob = np.linspace(-3, 3, 12, dtype=np.float32).reshape(4, 3)
    exact = Engine(path, EngineOptions(device="cpu")).run(blob)[0]
    half = Engine(path, EngineOptions(device="cpu", half=True, cache_dir=tmp_path / "kept")).run(blob)[0]
    assert half.dtype == np.float32
    assert np.abs(half - exact).max() < 1e-3
    (kept,) = (tmp_path / "kept" / "half").iterdir()
    # The CPU's optimiser may drop the rounding of so small a graph, so look at what the file says.
    casts = [
        attribute.i
        for node in onnx.load_from_string(unsealed(kept)).graph.node
        for attribute in node.attribute
        if node.op_type == "Cast"
    ]
    assert onnx.TensorProto.FLOAT16 in casts


def test_a_half_model_that_is_kept_is_taken_without_the_original_being_parsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = small(tmp_path / "m.onnx", "Sigmoid")
    made = half_graph(path, tmp_path)
    monkeypatch.setattr(half_module.onnx, "load", lambda *_, **__: pytest.fail("parsed"))
    assert half_graph(path, tmp_path) == made


@pytest.mark.parametrize("left", [0, 10, -40, -1])
def test_a_half_model_that_was_damaged_is_made_again(tmp_path: Path, caplog: pytest.LogCaptureFixture, left: int):
    path = small(tmp_path / "m.onnx", "Sigmoid")
    whole = half_graph(path, tmp_path)
    (kept,) = (tmp_path / "half").iterdir()
    kept.write_bytes(kept.read_bytes()[:left])
    assert half_graph(path, tmp_path) == whole
    assert "is damaged, so it is made again" in caplog.text
    assert unsealed(kept) == whole


def test_half_models_where_nothing_can_be_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    path, folder = small(tmp_path / "m.onnx", "Sigmoid"), tmp_path / "kept"
    folder.touch()  # a file; root may write into any folder
    half = Engine(path, EngineOptions(device="cpu", half=True, cache_dir=folder)).run(np.zeros((1, 3), np.float32))[0]
    assert half == pytest.approx(0.5, abs=1e-3)
    assert "cannot be written, so the next start makes it again" in caplog.text


def test_an_8_bit_model_stays_one_which_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    whole = find("streampose-nano", kind="keypoints").path.read_bytes()
    path = tmp_path / "eight.onnx"
    path.write_bytes(whole)
    assert [half_graph(path) == whole for _ in range(3)] == [True] * 3
    assert caplog.text.count("eight.onnx is an 8-bit model, and stays one") == 1


def test_a_tensor_that_several_nodes_need_as_it_was(tmp_path: Path):
    """Suppression and the like stay in 32 bits; ONNX Runtime's converter then makes the same cast several times."""
    path = build(tmp_path / "m.onnx", "rtmo", size=(320, 320))
    picture = np.zeros((1, 3, 320, 320), np.float32)
    exact, half = (Engine(path, EngineOptions(device="cpu", half=h)).run(picture) for h in (False, True))
    for a, b in zip(exact, half, strict=True):
        np.testing.assert_allclose(a, b, atol=2)


def test_what_is_no_model_cannot_be_halved(tmp_path: Path):
    (path := tmp_path / "m.onnx").write_bytes(b"not a model at all")
    with pytest.raises(ModelUnreadable, match=r"m\.onnx cannot be made 16-bit"):
        Engine(path, EngineOptions(device="cpu", half=True))


def test_weights_in_a_file_of_their_own_are_made_16_bit_with_the_model(tmp_path: Path):
    given, gives = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["b", 8]) for name in ("x", "y"))
    weights = numpy_helper.from_array(np.full(8, 2, np.float32), "w")
    graph = helper.make_graph([helper.make_node("Mul", ["x", "w"], ["y"])], "m", [given], [gives], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path, apart = tmp_path / "m.onnx", tmp_path / "w.data"
    onnx.save(model, path, save_as_external_data=True, location=apart.name, size_threshold=0)
    options = EngineOptions(device="cpu", half=True, cache_dir=tmp_path / "kept")

    def product() -> float:
        return Engine(path, options).run(np.ones((1, 8), np.float32))[0].mean()

    assert product() == 2
    assert product() == 2  # as it was kept
    apart.write_bytes(np.full(8, 3, np.float32).tobytes())
    assert product() == 3, "what was kept of other weights was taken"
    assert len(list((tmp_path / "kept" / "half").iterdir())) == 2
    apart.unlink()
    with pytest.raises(ModelUnreadable, match=r"m\.onnx cannot be made 16-bit: .*w\.data"):
        product()
