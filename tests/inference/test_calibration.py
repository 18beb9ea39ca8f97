"""Sessions and threads of a CPU, several devices, and what TensorRT is told of shapes."""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from dots import build
from test_engine import small

from streampose.errors import ConfigError
from streampose.inference import calibration, loading, providers
from streampose.inference import engine as engine_module
from streampose.inference.calibration import Calibration, Split, calibrate, splits
from streampose.inference.engine import Engine, EngineOptions
from streampose.inference.loading import ModelChoice, describe_all, load_estimators
from streampose.inference.profiles import shape_profiles
from streampose.inference.weights import files_of

MEASURED = Calibration(
    splits=(Split(sessions=1, threads=4, fps=100, frame_s=0.01), Split(sessions=4, threads=1, fps=160, frame_s=0.02))
)


CANNOT_BE: dict[str, dict] = {
    "no threads": {"threads": 0},
    "endless threads": {"threads": math.inf},
    "a hundred sessions": {"sessions": 100, "threads": 1, "fps": 1e9},
    "sessions and a bit": {"sessions": 2.9},
    "no rate": {"fps": math.nan},
    "endless rate": {"fps": math.inf},
    "huge rate": {"fps": 10**400},
    "no time": {"frame_s": 0},
}


class Sleeper:
    """A frame takes 8 ms, divided by the threads: all ways have one rate, one thread is slowest for one frame."""

    frame_s = 0.008

    def __init__(self, threads: int) -> None:
        self.threads, self.closed = threads, False

    def warm_up(self, sizes: Sequence[int]) -> None:
        time.sleep(sum(sizes) * self.frame_s / self.threads)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(calibration, "_TRY_S", 0.02)
    return small(tmp_path / "m.onnx")


def measure(model: Path, folder: Path | None, made: list[Sleeper], **how) -> Calibration:
    return calibrate(lambda threads: made.append(Sleeper(threads)) or made[-1], [model], 2, folder, **how)


def test_any_error_of_what_runs_beside_others_is_told(model: Path, tmp_path: Path):
    class Broken(Sleeper):
        def warm_up(self, sizes: Sequence[int]) -> None:
            if threading.current_thread() is not threading.main_thread():
                raise ValueError("no such shape")

    with pytest.raises(ValueError, match="no such shape"):
        calibrate(Broken, [model], 2, tmp_path)


def test_every_core_is_used_once():
    assert [(s.sessions, s.threads) for s in splits(2)] == [(1, 2), (2, 1)]
    assert [(s.sessions, s.threads) for s in splits(3)] == [(1, 3), (2, 1), (3, 1)]
    assert [(s.sessions, s.threads) for s in splits(16)] == [(1, 16), (2, 8), (4, 4), (8, 2)]


def test_large_models_are_tried_in_fewer_ways():
    assert [s.sessions for s in splits(16, 100 << 20)] == [1, 2, 4]
    assert [s.sessions for s in splits(16, 2 << 30)] == [1]


@pytest.mark.parametrize(
    ("fps", "frame_s", "many", "one", "quickest"),
    [
        ([100, 96], [0.010, 0.0097], 2, 1, 1),  # alike: several for many streams
        ([100, 94], [0.010, 0.020], 1, 1, 1),
        ([100, 150], [0.010, 0.009], 2, 2, 2),
        ([100, 96, 104], [0.010, 0.020, 0.030], 4, 1, 1),
        ([100], [0.010], 1, 1, 1),
    ],
)
def test_what_is_clearly_better_is_taken(fps: list[float], frame_s: list[float], many: int, one: int, quickest: int):
    tried = [
        Split(sessions=2**i, threads=4 // 2**i, fps=f, frame_s=s)
        for i, (f, s) in enumerate(zip(fps, frame_s, strict=True))
    ]
    calibration = Calibration(splits=tuple(tried))
    assert calibration.busiest(beside_much=True).sessions == many
    assert calibration.busiest(beside_much=False).sessions == one
    assert calibration.quickest.sessions == quickest


def test_it_is_measured_once_and_remembered(model: Path, tmp_path: Path):
    made: list[Sleeper] = []
    first = measure(model, tmp_path / "kept", made)
    assert first.quickest.threads == 2
    assert 0.004 <= first.quickest.frame_s < 0.008 <= first.splits[1].frame_s
    assert len(made) == 3
    assert all(sleeper.closed for sleeper in made)
    (kept,) = (tmp_path / "kept").iterdir()
    assert measure(model, tmp_path / "kept", made) == first
    assert len(made) == 3
    measure(model, tmp_path / "kept", made, again=True)
    assert len(made) == 6
    assert [*(tmp_path / "kept").iterdir()] == [kept]  # no partial file is left


def test_without_a_folder_a_process_measures_once(model: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(calibration, "_measured_here", {})
    made: list[Sleeper] = []
    assert measure(model, None, made) == measure(model, None, made)
    assert len(made) == 3


def test_where_nothing_can_be_kept(model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    folder = tmp_path / "kept"
    folder.touch()  # a file; root may write into any folder
    assert measure(model, folder, []).splits
    assert "cannot be written, so the next start makes it again" in caplog.text


def test_another_model_is_measured_for_itself(model: Path, tmp_path: Path):
    made: list[Sleeper] = []
    measure(model, tmp_path / "kept", made)
    measure(small(tmp_path / "other.onnx", "Sigmoid"), tmp_path / "kept", made)
    assert len(made) == 6


def with_weights_beside(model: Path, location: str) -> Path:
    """The same model with weights that are in a file of their own, which is not made."""
    loaded = onnx.load(model)
    weights = onnx.TensorProto(name="w", data_type=onnx.TensorProto.FLOAT, dims=[1])
    weights.data_location = onnx.TensorProto.EXTERNAL
    weights.external_data.add(key="location", value=location)
    loaded.graph.initializer.append(weights)
    onnx.save(loaded, model)
    return model


def test_weights_in_a_file_of_their_own_are_weighed_and_remembered(model: Path, tmp_path: Path):
    made: list[Sleeper] = []
    beside = tmp_path / "w.bin"
    with_weights_beside(model, beside.name)

    def ways(bytes_: int) -> int:
        with beside.open("wb") as file:
            file.truncate(bytes_)  # a hole: it takes no room
        return len(measure(model, tmp_path / "kept", made).splits)

    assert ways(400 << 20) == 1  # three copies would be more than 1 GB
    assert len(made) == 1
    assert ways(1 << 20) == 2, "what was remembered of other weights was taken"
    assert measure(model, tmp_path / "kept", made).splits
    assert len(made) == 4


def test_the_files_of_a_model(model: Path, tmp_path: Path):
    assert files_of(model) == [model]
    with_weights_beside(model, "w.bin")
    assert files_of(model) == [model]  # it is not there, as the runtime will say
    (beside := tmp_path / "w.bin").touch()
    assert files_of(model) == [model, beside]
    (text := tmp_path / "text.onnx").write_text("no model, in whatever location")
    assert files_of(text) == [text]


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "../outside", "in/../../outside", "{outside}"])
def test_no_name_leads_out_of_a_models_folder(model: Path, tmp_path: Path, name: str):
    (outside := tmp_path / "outside").touch()
    folder = tmp_path / "models"
    (folder / "in").mkdir(parents=True)
    odd = with_weights_beside(model.rename(folder / "odd.onnx"), name.format(outside=outside))
    assert files_of(odd) == [odd]


@pytest.mark.parametrize(
    "damage",
    ["not json", "[]", '{"about": {}}', "foreign", *CANNOT_BE, pytest.param("[" * 100_000, id="deep")],
)
def test_a_file_that_cannot_be_right_is_measured_again(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, damage: str
):
    monkeypatch.setattr(Sleeper, "frame_s", 0.0002)
    monkeypatch.setattr(calibration, "_TRY_S", 0.002)
    made: list[Sleeper] = []
    measure(model, tmp_path / "kept", made)
    (kept,) = (tmp_path / "kept").iterdir()
    value = json.loads(kept.read_text())
    if damage == "foreign":
        value["about"]["cpu"] = "another"
        damage = json.dumps(value)
    elif damage in CANNOT_BE:
        value["splits"][-1] |= CANNOT_BE[damage]
        damage = json.dumps(value)
    kept.write_text(damage)
    with caplog.at_level(logging.WARNING, "streampose"):
        measure(model, tmp_path / "kept", made)
    assert len(made) == 6
    assert "measuring anew" in caplog.text
    caplog.clear()
    measure(model, tmp_path / "kept", made)
    assert (len(made), caplog.text) == (6, "")


class TestChoice:
    """Which of the measured ways is taken."""

    @pytest.fixture(autouse=True)
    def _four_cores(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in (loading, engine_module, providers):
            monkeypatch.setattr(module, "available_cores", lambda: 4)
        monkeypatch.setattr(loading, "calibration_of", lambda *_: MEASURED)

    @pytest.mark.parametrize(
        ("how", "expected"),
        [
            ({"throughput": True}, (4, 1)),
            ({"throughput": False}, (1, 4)),
            ({"throughput": False, "streams": 1}, (1, 4)),
            ({"throughput": False, "streams": 3}, (4, 1)),
        ],
    )
    def test_by_purpose_and_load(self, tmp_path: Path, how, expected):
        choice = ModelChoice(model=build(tmp_path / "m.onnx", "rtmo", size=(64, 64)))
        estimators = load_estimators(choice, EngineOptions(device="cpu"), **how)
        assert (len(estimators), estimators[0].threads) == expected
        words = "4 sessions of 1 thread" if expected[0] == 4 else "1 session of 4 threads"
        assert describe_all(estimators).endswith(words)

    @pytest.mark.parametrize(
        ("asked", "expected"),
        [({"sessions": 2}, (2, 2)), ({"threads": 3}, (1, 3)), ({"sessions": 3, "threads": 2}, (3, 2))],
    )
    def test_what_is_asked_for_wins(self, tmp_path: Path, asked, expected):
        choice = ModelChoice(model=build(tmp_path / "m.onnx", "rtmo", size=(64, 64)))
        estimators = load_estimators(choice, EngineOptions(device="cpu", **asked), throughput=True)
        assert (len(estimators), estimators[0].threads) == expected


def test_models_are_measured_by_what_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(calibration, "_TRY_S", 0.001)
    monkeypatch.setattr(loading, "available_cores", lambda: 2)
    load, loads = loading.load_estimator, []
    monkeypatch.setattr(loading, "load_estimator", lambda *how: loads.append(how) or load(*how))
    detector = build(tmp_path / "det.onnx", "rtmdet", k=3, size=(64, 64))
    pose = build(tmp_path / "kpt.onnx", "simcc", size=(48, 64))
    pair, options = ModelChoice(detector=detector, pose=pose), EngineOptions(device="cpu", cache_dir=tmp_path)

    def measured(choice: ModelChoice, how: EngineOptions) -> bool:
        loads.clear()
        loading.calibration_of(choice, how)
        assert {o.threads for _, o in loads} <= {1, 2}
        return len(loads) == 3

    assert measured(pair, options)
    assert not measured(pair, options)
    assert measured(pair, replace(options, recalibrate=True))
    assert measured(replace(pair, pose=build(tmp_path / "other.onnx", "simcc", size=(64, 64))), options)
    assert measured(ModelChoice(model=build(tmp_path / "m.onnx", "rtmo", size=(64, 64))), options)
    assert measured(replace(pair, detector_size_px=(64, 64)), options)
    assert not measured(pair, options)


class TestDevices:
    """Several GPUs, which this machine only plays."""

    def test_each_has_its_number(self):
        each = EngineOptions(device="cuda:0, cuda:1", half=True).each()
        assert [(o.device, o.device_id, o.half) for o in each] == [("cuda", 0, True), ("cuda", 1, True)]
        assert EngineOptions(device="cuda", device_id=3).each()[0].device_id == 3

    @pytest.mark.parametrize(
        ("device", "words"),
        [
            ("cuda:x", "is no device"),
            ("cpu:1", "is no device"),
            ("cuda:0,cpu", "only GPUs"),
            ("cuda:", "is no device"),
            ("cuda:0,cuda:0", "twice"),
            ("cuda:0,cuda", "twice"),
            ("cuda:00,cuda:0", "twice"),
            ("cuda:0,", "no device is called ''"),
        ],
    )
    def test_what_makes_no_sense(self, device: str, words: str):
        with pytest.raises(ConfigError, match=words):
            EngineOptions(device=device)

    def test_one_engine_has_one(self, model: Path):
        with pytest.raises(ConfigError, match="runs on one device"):
            Engine(model, EngineOptions(device="cuda:0,cuda:1"))

    def test_as_many_sessions_as_asked_for_on_each(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(providers, "_why_not", {"tensorrt": "none", "cuda": None, "cpu": None}.get)
        session, seen = providers.ort.InferenceSession, []

        class OnGpu:
            """A session of the CPU that says it is CUDA's."""

            def __init__(self, path, options, providers, **rest):
                seen.append(providers[0][1]["device_id"])
                self._real = session(path, options, ["CPUExecutionProvider"], **rest)

            def __getattr__(self, name):
                return getattr(self._real, name)

            def get_providers(self):
                return ["CUDAExecutionProvider", "CPUExecutionProvider"]

        monkeypatch.setattr(providers.ort, "InferenceSession", OnGpu)
        monkeypatch.setattr(loading.OneStage, "warm_up", lambda *_: None)  # buffers of a device there are none
        options = EngineOptions(device="cuda:0,cuda:1", sessions=2, in_graph=False)
        estimators = load_estimators(
            ModelChoice(model=build(tmp_path / "m.onnx", "rtmo", size=(64, 64))), options, throughput=False
        )
        assert seen == ["0", "0", "1", "1"]
        assert describe_all(estimators).endswith("× 4 sessions")


def test_tensorrt_is_told_the_buckets(model: Path, tmp_path: Path):
    assert shape_profiles(model.read_bytes(), 20) == {
        "trt_profile_min_shapes": "x0:1x3",
        "trt_profile_opt_shapes": "x0:8x3",
        "trt_profile_max_shapes": "x0:32x3",
    }
    assert shape_profiles(model.read_bytes(), 2)["trt_profile_opt_shapes"] == "x0:2x3"
    assert shape_profiles(small(tmp_path / "fixed.onnx", batch=4).read_bytes(), 8) == {}
    assert shape_profiles(small(tmp_path / "two.onnx", "Add", inputs=2).read_bytes(), 8) == {}


@pytest.mark.gpu
def test_tensorrt_takes_them(model: Path, tmp_path: Path):
    if (why := providers.provider_report()["tensorrt"]) is not None:
        pytest.skip(f"no TensorRT here: {why}")
    engine = Engine(model, EngineOptions(device="tensorrt", cache_dir=tmp_path))

    def built() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in (tmp_path / "tensorrt").rglob("*.engine")}

    engine.warm_up((3,), [1])
    first = built()
    engine.warm_up((3,), range(2, 33))
    assert len(first) == 1
    assert built() == first  # without a profile each new shape builds it again
