"""One session: batches, buckets, failures, and what happens when a GPU cannot be had."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from streampose.cores import available_cores
from streampose.errors import (
    ConfigError,
    EngineFailed,
    ModelOutputError,
    ModelUnknown,
    ModelUnreadable,
    ProviderUnavailable,
)
from streampose.inference import providers
from streampose.inference.arrays import finite, joined
from streampose.inference.engine import Engine, EngineOptions
from streampose.inference.loading import ModelChoice, load_estimators


def small(
    path: Path, op: str = "Relu", *, inputs: int = 1, batch: int | str = "b", metadata: dict | None = None
) -> Path:
    """One operator on (batch, 3)."""
    names = [f"x{i}" for i in range(inputs)]
    given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, 3]) for name in names]
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 3])
    graph = helper.make_graph([helper.make_node(op, names, ["y"])], "g", given, [out])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, metadata or {})
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> list[Engine]:
    """The same function at a free batch, a batch of one, of four, cut at five, and on one thread."""
    folder = tmp_path_factory.mktemp("engines")
    paths = [small(folder / f"{batch}.onnx", batch=batch) for batch in ("b", 1, 4)]
    more = EngineOptions(max_batch=5), EngineOptions(threads=1)
    return [*map(Engine, paths), *(Engine(paths[0], options) for options in more)]


@given(n=st.integers(1, 17), gpu=st.booleans())
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_batch_gives_what_each_gives_alone(engines, monkeypatch, n: int, gpu: bool):
    # Padding to buckets is for GPUs only, but it can be told to do it here.
    monkeypatch.setattr(Engine, "on_gpu", gpu)
    blob = np.random.default_rng(n).normal(size=(n, 3)).astype(np.float32)
    for engine in engines:
        (out,) = engine.run(blob)
        np.testing.assert_array_equal(out, np.maximum(blob, 0))


def test_a_model_that_gives_another_batch_than_it_gets_is_told(tmp_path: Path):
    """Exported with a batch of one inside, though its input says that any will do."""
    one = helper.make_tensor("one", TensorProto.INT64, [2], [1, -1])
    given, out = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["b", 3]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Reshape", ["x", "one"], ["y"])], "g", [given], [out], [one])
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    engine = Engine(path, EngineOptions(device="cpu"))
    assert engine.run(np.ones((1, 3), np.float32))[0].shape == (1, 3)
    with pytest.raises(ModelOutputError, match=r"m\.onnx returned 'y' of shape \(1, 6\) for a batch of 2: export"):
        engine.run(np.ones((2, 3), np.float32))


def test_a_gpu_sees_few_shapes_and_warms_them_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Engine, "on_gpu", True)
    engine, seen = Engine(small(tmp_path / "m.onnx"), EngineOptions(max_batch=16)), set()
    run = engine.run
    monkeypatch.setattr(engine, "run", lambda blob: seen.add(len(blob)) or run(blob))
    engine.warm_up((3,), range(1, 40))
    assert seen == {1, 2, 4, 8, 16}


def test_a_failing_run_is_ours_to_report_and_close_is_final(tmp_path: Path):
    engine = Engine(small(tmp_path / "m.onnx"))
    with pytest.raises(EngineFailed, match=r"m\.onnx failed on CPUExecutionProvider at batch 2"):
        engine.run(np.zeros((2, 4), np.float32))
    engine.close()
    engine.close()
    with pytest.raises(EngineFailed):
        engine.run(np.zeros((1, 3), np.float32))


@pytest.mark.parametrize("name", ["yolov8n-pose.pt", "vitpose.PTH"])
def test_a_model_of_pytorch_is_to_be_exported(tmp_path: Path, name: str):
    with zipfile.ZipFile(tmp_path / name, "w") as archive:  # what torch.save writes
        archive.writestr("archive/data.pkl", b"\x80\x02}q\x00.")
    with pytest.raises(ModelUnreadable, match=f"PyTorch; export it first, .* model={name} format=onnx"):
        Engine(tmp_path / name)


def test_models_of_several_inputs_are_unknown(tmp_path: Path):
    with pytest.raises(ModelUnknown, match=r"m\.onnx takes x0 tensor.*, x1 tensor"):
        Engine(small(tmp_path / "m.onnx", "Add", inputs=2))


class TestNoGpu:
    """A GPU that looks usable and is not."""

    @pytest.fixture(autouse=True)
    def _looks_usable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(providers, "_why_not", {"tensorrt": "no TensorRT", "cuda": None, "cpu": None}.get)

    def break_cuda(self, monkeypatch: pytest.MonkeyPatch, error: Exception | None) -> None:
        """Creating a session for CUDA raises, or gives the CPU without a word, as ONNX Runtime does both."""
        session = providers.ort.InferenceSession

        def create(path, options, providers, **rest):
            if providers[0][0] == "CUDAExecutionProvider":
                if error is not None:
                    raise error
                providers = ["CPUExecutionProvider"]
            return session(path, options, providers, **rest)

        monkeypatch.setattr(providers.ort, "InferenceSession", create)

    @pytest.mark.parametrize(
        ("error", "why"),
        [
            (
                RuntimeError("at x.cc:1\n CUDA failure 35: driver too old ; GPU=-1 ; file=x.cc"),
                "CUDA failure 35: driver",
            ),
            (None, "fell back"),
        ],
    )
    def test_auto_says_why_and_cuda_is_an_error(self, tmp_path: Path, monkeypatch, capfd, error, why: str):
        self.break_cuda(monkeypatch, error)
        model = small(tmp_path / "m.onnx")
        engine = Engine(model)
        assert engine.provider == "CPUExecutionProvider"
        assert engine.passed_over["tensorrt"] == "no TensorRT"
        assert why in engine.passed_over["cuda"]
        assert engine.note == f"; the GPU is not used: {engine.passed_over['cuda']}"
        with pytest.raises(ProviderUnavailable, match=f"cuda was asked for and cannot be used: .*{why}") as caught:
            Engine(model, EngineOptions(device="cuda"))
        assert "\n" not in str(caught.value)
        assert capfd.readouterr() == ("", "")

    def test_a_bad_file_is_still_a_bad_file(self, tmp_path: Path):
        (tmp_path / "m.onnx").write_text("no")
        with pytest.raises(ModelUnreadable):
            Engine(tmp_path / "m.onnx")


def test_a_machine_without_gpu_has_nothing_to_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    without = dict.fromkeys(("tensorrt", "cuda"), "no NVIDIA driver on this machine (libcuda.so.1: …)")
    monkeypatch.setattr(providers, "_why_not", without.get)
    assert Engine(small(tmp_path / "m.onnx")).note == ""


class TestAdvice:
    """Where the runtime has no CUDA: what is said of it is what helps."""

    PLAIN, OTHER = "onnxruntime", "onnxruntime-gpu"

    @pytest.fixture
    def says(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
        def why(*packages: str, driver: bool, system: str = "linux", machine: str = "x86_64") -> str:
            for package in packages:
                about = tmp_path / f"{package.replace('-', '_')}-1.21.0.dist-info"
                about.mkdir()
                (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.21.0\n")
            with monkeypatch.context() as patched:
                patched.setattr("sys.path", [str(tmp_path)])
                patched.setattr(providers.ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
                patched.setattr(providers, "_missing", lambda *_: None if driver else "libcuda.so.1: no such file")
                patched.setattr("sys.platform", system)
                patched.setattr("platform.machine", lambda: machine)
                report = providers.provider_report()
            assert report["cpu"] is None
            return report["cuda"] or "it works"

        providers._why_not.cache_clear()
        yield why
        providers._why_not.cache_clear()

    def test_without_a_driver_there_is_nothing_to_install(self, says: Callable[..., str]):
        why = says(self.PLAIN, driver=False)
        assert why == "no NVIDIA driver on this machine (libcuda.so.1: no such file)"
        assert providers.no_gpu_here(why)

    @pytest.mark.parametrize(("system", "machine"), [("darwin", "arm64"), ("linux", "aarch64")])
    def test_where_there_are_no_wheels_none_is_advised(self, says: Callable[..., str], system: str, machine: str):
        why = says(self.PLAIN, driver=True, system=system, machine=machine)
        assert why.startswith("there is no CUDA build of ONNX Runtime for")
        assert "pip" not in why
        assert providers.no_gpu_here(why)

    def test_one_over_the_other(self, says: Callable[..., str]):
        why = says(self.PLAIN, self.OTHER, driver=True)
        assert "pip uninstall onnxruntime onnxruntime-gpu, then install streampose again" in why
        assert not providers.no_gpu_here(why)

    def test_the_one_without(self, says: Callable[..., str]):
        why = says(self.PLAIN, driver=True)
        assert why.startswith("this onnxruntime is built without CUDAExecutionProvider: pip uninstall onnxruntime,")
        assert not providers.no_gpu_here(why)


def test_threads_are_those_asked_for_or_those_allowed(tmp_path: Path):
    model = small(tmp_path / "m.onnx")
    for threads in (None, 1, 3):
        engine = Engine(model, EngineOptions(threads=threads))
        options = engine._sessions.runner(1)._session.get_session_options()
        assert engine.threads == options.intra_op_num_threads == (threads or available_cores())


def test_pieces_with_different_numbers_of_boxes_are_joined():
    together = joined([np.ones((1, 2, 5)), np.ones((2, 4, 5)), np.ones((1, 0, 5))])
    assert together.shape == (4, 4, 5)
    assert together.sum() == (2 + 8) * 5


def test_infinite_outputs_are_found_and_big_ones_pass():
    big = np.full(10, 3e38, np.float32)
    assert finite(big)
    for bad in (np.nan, np.inf, -np.inf):
        assert not finite(np.array([1, bad], np.float32))
    assert finite(np.array([], np.float32))
    assert finite(np.array([1, 2]))


@pytest.mark.parametrize(
    "nonsense",
    [
        {"sessions": 1.5},
        {"threads": np.float64(1)},
        {"threads": "2"},
        {"max_batch": None},
        {"max_batch": math.nan},
        {"max_batch": True},
        {"device_id": "x"},
        {"device_id": -1},
        {"half": "no"},
        {"tf32": None},
        {"in_graph": "x"},
        {"rect": 1},
        {"cache_dir": 5},
    ],
    ids=str,
)
def test_options_of_other_kinds_are_refused(nonsense: dict[str, object]):
    with pytest.raises(ConfigError, match=next(iter(nonsense))):
        EngineOptions(**nonsense)  # type: ignore[arg-type]


def test_options_may_be_numpy_s_numbers_and_a_folder_s_name():
    options = EngineOptions(sessions=np.int64(2), cache_dir="somewhere")  # type: ignore[arg-type]
    assert (options.sessions, options.cache_dir) == (2, Path("somewhere"))
    for wrong in ({"model": 5}, {"detector": b"x"}, {"limits": {}}):
        with pytest.raises(ConfigError):
            ModelChoice(**wrong)
    with pytest.raises(ConfigError, match="streams"):
        load_estimators(throughput=True, streams=0)


@pytest.mark.parametrize("name", ["sessions", "threads"])
def test_more_than_any_machine_has_is_no_fault_of_the_model(name: str):
    with pytest.raises(ConfigError, match=f"{name} is at most 4096, not 3000000000"):
        EngineOptions(**{name: 3_000_000_000})
