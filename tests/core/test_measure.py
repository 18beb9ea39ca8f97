"""The stopwatch itself: what it counts, and what the machine says."""

from __future__ import annotations

import mmap
import sys
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from dots import build
from fakes import FakeEstimator, ScriptedSource, picture

from streampose.batching import FixedBatch, LatencyBatch
from streampose.errors import ConfigError
from streampose.gauges import Gauges, machine
from streampose.inference.bound import engine_rate
from streampose.inference.engine import Engine
from streampose.inference.loading import ModelChoice, load_estimators
from streampose.measure import Measurement
from streampose.meter import Metered
from streampose.sources import Looped, SyntheticSource, open_source


async def test_a_recording_in_figures():
    estimator = FakeEstimator(per_frame_s=0.002)
    measurement = Measurement(
        {"a": ScriptedSource(range(100)), "b": ScriptedSource(range(50))}, [estimator], FixedBatch(4)
    )
    await measurement.run()
    f = measurement.figures(bound_fps=500.0)
    assert f.delivered == {"a": 100, "b": 50}
    assert f.captured == f.frames == 150
    assert not f.live
    assert f.budget_s is f.on_time is f.source_fps is None
    assert 0.0019 < f.engine_s < 0.05  # a sleep takes no less, and on a busy machine more
    assert f.stages_s["infer"] == pytest.approx(f.engine_s, rel=0.05)
    assert f.of_bound == pytest.approx(f.fps / 500)
    assert f.people == 1
    assert f.lost == 0


async def test_live_streams_that_are_too_many():
    loop = Looped([picture(i) for i in range(8)], rate=100)
    sources = {f"s{i}": loop.again(i) for i in range(2)}
    # 200 frames a second come, and 100 can be done.
    measurement = Measurement(
        sources, [FakeEstimator(per_frame_s=0.01)], LatencyBatch(0.2, max_frames=4), live=True, warm_up_s=0.3
    )
    await measurement.run(seconds=1.0)
    f = measurement.figures()
    assert 0.9 < f.elapsed_s < 3
    assert f.source_fps == 200
    assert 5 < f.fps < 105
    assert f.busy > 0.6
    assert f.lost > 0.4
    assert f.captured == pytest.approx(f.frames + sum(f.dropped.values()), abs=10)  # the rest is in flight
    assert f.on_time is not None
    assert f.on_time > 0.7


async def test_the_warm_up_does_not_count():
    loop = Looped([picture()], rate=50)
    measurement = Measurement({"s": loop}, [FakeEstimator()], LatencyBatch(0.1), live=True, warm_up_s=2.0)
    await measurement.run(seconds=1.0)
    figures = measurement.figures()
    assert 5 <= figures.captured <= 50 * figures.elapsed_s + 15  # 150 with the first two seconds


async def test_stages_that_the_estimator_tells_are_those_of_the_measured_time():
    class Staged(FakeEstimator):
        def stage_seconds(self):
            n = sum(map(len, self.batches))
            return {"detect": 0.004 * n, "decode": 0.001 * n}

    estimator = Staged(per_frame_s=0.006)
    measurement = Measurement({"s": ScriptedSource(range(40))}, [estimator], FixedBatch(1))
    await measurement.run()
    stages = measurement.figures().stages_s
    assert list(stages) == ["decode", "wait", "detect", "outputs", "other", "finish"]
    assert stages["detect"] == pytest.approx(0.004)
    assert stages["outputs"] == pytest.approx(0.001)
    assert stages["other"] > 0.0009  # 6 ms are slept, 5 ms told


async def test_a_source_that_still_waits_for_its_server_is_let_go_of_at_once(caplog: pytest.LogCaptureFixture):
    measurement = Measurement({"a": open_source("rtsp://127.0.0.1:1/x")}, [FakeEstimator()], FixedBatch(1))
    await measurement.run(seconds=0.2)
    assert "refused" in caplog.text
    assert "stuck" not in caplog.text


def test_a_metered_source_counts_and_ends():
    source = Metered(Looped([picture(i) for i in range(3)]), frames=25)
    source.open("s")
    frames = []
    while (frame := source.read()) is not None:
        frames.append(frame)
    assert source.read() is None
    assert [f.index for f in frames] == list(range(25))
    assert [int(f.image[0, 0, 0]) for f in frames[:4]] == [0, 1, 2, 0]
    assert source.reads == 25
    assert len(source.pictures) == 3  # every tenth
    assert 0 <= source.cpu_s <= source.wall_s + 0.01


def test_a_loop_of_drawn_figures():
    drawn = SyntheticSource(width_px=96, height_px=64, rate=25, live=False)
    loop = Looped.drawn(drawn, count=4).again(1)
    info = loop.open("s")
    assert (info.width_px, info.height_px, info.rate, info.codec) == (96, 64, 25, None)
    frame = loop.read()
    assert np.array_equal(frame.image, drawn.render(1))
    assert loop.read().pts * info.time_base == Fraction(1, 25)
    with pytest.raises(ConfigError):
        Looped([])


def test_the_engines_alone(tmp_path: Path):
    choice = ModelChoice(
        detector=build(tmp_path / "d.onnx", "rtmdet", k=3, size=(64, 64)),
        pose=build(tmp_path / "k.onnx", "simcc", size=(48, 64)),
    )
    estimators = load_estimators(choice, throughput=True)
    pictures = [SyntheticSource(width_px=64, height_px=64, live=False).render(i) for i in range(8)]
    rate = engine_rate(estimators, pictures, seconds=0.1, batches=(1, 4))
    assert rate.fps > 10
    assert rate.batch in {1, 4}
    # The estimators are as they were.
    assert all(isinstance(e._detector.engine, Engine) for e in estimators)
    for estimator in estimators:
        estimator(pictures[:2])
        estimator.close()


def test_the_machine_names_itself():
    assert {"cpu", "cores", "system", "python", "onnxruntime", "streampose"} <= set(machine())


def test_a_gpu_without_nvml_is_said_to_be_unknown(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    gauges = Gauges()
    gauges.sample()
    assert gauges.gpu is None
    assert "nvidia-ml-py is not installed" in gauges.gpu_unknown


def test_a_gpu_seen_through_nvml(monkeypatch):
    class NVMLError(Exception):
        pass

    use = iter([20, 80])
    nvml = SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetUtilizationRates=lambda handle: SimpleNamespace(gpu=next(use)),
        nvmlDeviceGetMemoryInfo=lambda handle: SimpleNamespace(used=2e9, total=16e9),
        nvmlDeviceGetName=lambda handle: "Some GPU",
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    gauges = Gauges()
    gauges.sample()
    gauges.sample()
    assert gauges.gpu is not None
    assert (gauges.gpu.name, gauges.gpu.utilisation) == ("Some GPU", 0.5)
    assert (gauges.gpu.memory_peak_mb, gauges.gpu.memory_mb) == (2000, 16000)

    def broken() -> None:
        raise NVMLError("Driver Not Loaded")

    nvml.nvmlInit = broken
    assert Gauges().gpu_unknown == "NVML: Driver Not Loaded"


def test_memory_that_grows_shows():
    gauges = Gauges()
    kept = []
    for _ in range(20):
        kept.append(mmap.mmap(-1, 8_000_000))  # fresh memory, whatever this process had before
        kept[-1].write(bytes(8_000_000))
        gauges.sample()
    if gauges.rss_growth_mb is None:
        pytest.skip("this system does not tell")
    assert 40 < gauges.rss_growth_mb < 120


async def test_what_comes_after_the_run_is_no_part_of_it():
    """As the measuring of the models alone: their memory and CPU time are not the pipeline's."""
    measurement = Measurement({"a": ScriptedSource(range(20))}, [FakeEstimator()], FixedBatch(4))
    await measurement.run()
    before = measurement.figures()
    with mmap.mmap(-1, int(before.rss_peak_mb or 0) * 1_000_000 + 50_000_000) as memory:
        for page in range(0, len(memory), mmap.PAGESIZE):
            memory[page] = 1
    after = measurement.figures()
    assert (after.cores_used, after.rss_peak_mb) == (before.cores_used, before.rss_peak_mb)


def test_buffers_that_fill_up_at_the_start_are_no_growth(monkeypatch: pytest.MonkeyPatch):
    gauges, seen = Gauges(), [300 + 10 * min(i, 8) for i in range(20)]
    monkeypatch.setattr("streampose.gauges.rss_mb", iter(seen).__next__)
    for _ in seen:
        gauges.sample()
    assert gauges.rss_growth_mb == 0
