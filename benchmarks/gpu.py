"""Everything that is claimed of a GPU, measured by one command on one machine.

    python benchmarks/gpu.py [--assets DIR] [--seconds 5] [--models …] [--ways …] [--add]

For a top-down pair (RTMDet-nano at 320, PP-TinyPose at 256×192) and for YOLOv8n-pose at 640, in each way that the
engine offers (preprocessing in the graph or on the CPU, fp32 or fp16, CUDA graphs on or off, TensorRT where it is):

- the engines alone on ready tensors, and the pipeline's rate beside it (asked for: ≥ 0.9);
- the loop that calls the model frame by frame (asked for: the pipeline ≥ 5 ×);
- the GPU's utilisation under full load (asked for: ≥ 90 %);
- how many 30 fps 720p streams hold p99 ≤ 100 ms and lose ≤ 1 %, by bisection;

and how fast a 720p H.264 file is decoded in software and on the device. It writes results/<gpu>.json. On a machine
without a GPU it says so and exits with 2; `--device cpu --quick` rehearses every step there (its figures mean nothing).
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from command import parser_of, write_to
from decoded import encode
from machine import machine

from streampose.batching import FixedBatch, LatencyBatch
from streampose.cores import share_cores
from streampose.errors import StreamposeError
from streampose.frame import Image
from streampose.inference.bound import engine_rate
from streampose.inference.engine import EngineOptions, provider_report
from streampose.inference.loading import ModelChoice, PoseEstimator, load_estimators
from streampose.measure import Measurement
from streampose.pose import Poses
from streampose.sources import FileSource, Looped, SyntheticSource

BUDGET_S = 0.1
HERE = Path(__file__).parent
COLUMNS = (("alone", 8), ("pipeline", 9), ("ratio", 6), ("loop", 7), ("×", 6), ("use", 6), ("ready s", 7))

# What is changed of the engine's defaults. A way whose option this version lacks is left out, and said to be.
WAYS: dict[str, dict[str, Any]] = {
    "defaults": {},  # on CUDA: preprocessing in the graph, two sessions if soon ready
    # The rest change one thing of one session.
    "preprocessing on the CPU": {"in_graph": False, "sessions": 1},
    "one session": {"sessions": 1},
    "two sessions": {"sessions": 2},
    "batches of 64": {"max_batch": 64, "sessions": 1},
    "two sessions of 64": {"max_batch": 64, "sessions": 2},
    "fp16": {"half": True, "sessions": 1},
    "no TF32": {"tf32": False, "sessions": 1},
    # The rest prepare on the CPU: compare them with that.
    "CUDA graphs with CPU preprocessing": {"cuda_graphs": True, "in_graph": False, "sessions": 1},
    "TensorRT with CPU preprocessing": {"device": "tensorrt", "in_graph": False, "sessions": 1},
}

# Live streams have one.
WITH_STREAMS = ("one session",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long and how far."""

    seconds: float
    most_streams: int
    batch: int
    loop: Looped
    frames: int | None = None
    """Of each stream at full load, instead of a time: a rehearsal ends on a slow machine, too."""


def models(assets: Path) -> dict[str, ModelChoice]:
    folder = assets / "models"
    pair = ModelChoice(
        detector=folder / "rtmdet_nano_person.onnx",
        pose=folder / "pp_tinypose_256x192.onnx",
        detector_size_px=(320, 320),
    )
    return {
        "yolov8n-pose@640": ModelChoice(model=folder / "yolov8n-pose_640_from_int8.onnx"),
        "rtmdet@320 + pp_tinypose_256x192": pair,
    }


def options_of(change: dict[str, Any], device: str, *, quick: bool) -> EngineOptions | str:
    """The engine's options for a way, or why there are none."""
    if quick and "max_batch" in change:
        return "a rehearsal has few pictures"
    fields = {field.name for field in dataclasses.fields(EngineOptions)}
    if missing := sorted(set(change) - fields):
        return f"no option {missing[0]} in this version"
    if (why := provider_report().get(change.get("device", device))) is not None:
        return why
    # A rehearsal on a CPU needs no measurement of its own of how that is best shared out.
    return EngineOptions(**{"device": device, "sessions": 1 if device == "cpu" else None, **change})


class Lent:
    """An estimator that outlives a measurement: on a GPU one is ready after many seconds."""

    def __init__(self, estimator: PoseEstimator) -> None:
        self._estimator = estimator

    def __call__(self, images: Sequence[Image], *ahead: Any) -> list[Poses]:
        return self._estimator(images, *ahead)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._estimator, name)

    def close(self) -> None:
        """Not yet."""


def alone(estimators: list[Any], plan: Plan) -> dict[str, Any]:
    """The engines on ready tensors, then the loop that everybody writes first."""
    sizes = [1, 8, plan.batch] if plan.frames is None else [plan.batch]
    rate = engine_rate(estimators, plan.loop.pictures, seconds=plan.seconds / len(sizes), batches=sizes)
    one, pictures, count = estimators[0], plan.loop.pictures, 0
    begin = time.perf_counter()
    while (elapsed_s := time.perf_counter() - begin) < plan.seconds:
        one([pictures[count % len(pictures)]])
        count += 1
    return {"alone_fps": rate.fps, "alone_batch": rate.batch, "loop_fps": count / elapsed_s}


def full(estimators: list[Any], plan: Plan) -> dict[str, Any]:
    """The pipeline with as many frames as it takes."""
    sources = {f"s{i}": plan.loop.again(i * 7) for i in range(8)}
    warm_up_s = plan.seconds / 5 if plan.frames is None else 0.0
    measurement = Measurement(sources, estimators, FixedBatch(plan.batch), frames=plan.frames, warm_up_s=warm_up_s)
    asyncio.run(measurement.run(seconds=plan.seconds if plan.frames is None else None))
    figures = measurement.figures()
    gpu = figures.gpu
    return {
        "pipeline_fps": figures.fps,
        "busy": figures.busy,
        "utilisation": None if gpu is None else gpu.utilisation,
        "utilisation_unknown": measurement.gauges.gpu_unknown,
        "memory_mb": None if gpu is None else gpu.memory_peak_mb,
        "cores_used": figures.cores_used,
        "stages_ms": {name: s * 1000 for name, s in figures.stages_s.items()},
    }


def holds(estimators: list[Any], plan: Plan, streams: int) -> tuple[bool, dict[str, Any]]:
    """Whether so many live streams keep the budget."""
    sources = {f"s{i}": plan.loop.again(i * 7) for i in range(streams)}
    measurement = Measurement(
        sources, estimators, LatencyBatch(BUDGET_S, max_frames=plan.batch), live=True, warm_up_s=plan.seconds / 2
    )
    asyncio.run(measurement.run(seconds=plan.seconds))
    figures = measurement.figures()
    p99 = figures.latency_s.get("p99", float("inf"))
    fine = p99 <= BUDGET_S and figures.lost <= 0.01 and figures.frames > 0
    return fine, {"streams": streams, "holds": fine, "p99_ms": p99 * 1000, "lost": figures.lost, "fps": figures.fps}


def most(check: Callable[[int], bool], limit: int, first: int = 16) -> int:
    """The largest number up to `limit` that passes, if smaller ones do: doubling, then halving the gap."""
    low, high = 0, min(first, limit)
    while high <= limit and check(high):
        low, high = high, high * 2
    high = min(high, limit + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if check(middle) else (low, middle)
    return low


def streams(estimators: list[Any], plan: Plan) -> dict[str, Any]:
    tried: list[dict[str, Any]] = []

    def check(count: int) -> bool:
        fine, figures = holds(estimators, plan, count)
        tried.append(figures)
        return fine

    return {"streams": most(check, plan.most_streams), "streams_tried": tried}


def decoding(plan: Plan, device: str) -> dict[str, Any]:
    """Frames a second of a 720p H.264 file, to BGR in this machine's memory."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        encode(path, islice(cycle(plan.loop.pictures), round(60 * plan.seconds)))
        report: dict[str, Any] = {}
        for name in ("none", device):
            source, count = FileSource(path, hwaccel=name), 0
            info = source.open("clip")
            begin = time.perf_counter()
            while source.read() is not None:
                count += 1
            report[info.decoder] = {"fps": count / (time.perf_counter() - begin), "frames": count}
            source.close()
    return report


def measure(choice: ModelChoice, options: EngineOptions, plan: Plan, *, with_streams: bool) -> dict[str, Any]:
    if options.max_batch > EngineOptions().max_batch:
        plan = dataclasses.replace(plan, batch=options.max_batch)
    begin = time.perf_counter()
    loaded = load_estimators(choice, options, throughput=True)
    figures: dict[str, Any] = {"ready_s": time.perf_counter() - begin}
    try:
        lent = [Lent(estimator) for estimator in loaded]
        figures |= alone(lent, plan) | full(lent, plan)
        if with_streams:
            figures |= streams(lent, plan)
    finally:
        for estimator in loaded:
            estimator.close()
    figures["of_alone"] = figures["pipeline_fps"] / figures["alone_fps"]
    figures["over_loop"] = figures["pipeline_fps"] / figures["loop_fps"]
    return figures


def line(way: str, figures: dict[str, Any]) -> str:
    if "left_out" in figures:
        return f"  {way:<28} left out: {figures['left_out']}"
    use = figures["utilisation"]
    held = f"{figures['streams']:>8}" if "streams" in figures else f"{'':>8}"
    return (
        f"  {way:<28} {figures['alone_fps']:>8.0f} {figures['pipeline_fps']:>9.0f} {figures['of_alone']:>6.2f} "
        f"{figures['loop_fps']:>7.0f} {figures['over_loop']:>6.1f} {'?' if use is None else f'{use:.0%}':>6} "
        f"{figures['ready_s']:>7.1f} {held}"
    )


def main() -> int:
    parser = parser_of(__doc__, assets="models/")
    parser.add_argument("--device", default="cuda", choices=("cuda", "tensorrt", "cpu"))
    parser.add_argument("--seconds", type=float, default=5, help="for each figure")
    parser.add_argument("--streams", type=int, default=128, help="the most that are tried")
    parser.add_argument("--models", default="", help="only those whose names have this in them")
    parser.add_argument("--ways", type=lambda names: names.split(","), help="only these, with commas between")
    parser.add_argument("--add", action="store_true", help="to the figures that are there, of the same card")
    parser.add_argument("--quick", action="store_true", help="a rehearsal: every step, as short as can be")
    arguments = parser.parse_args()
    if (why := provider_report()[arguments.device]) is not None:
        print(f"no GPU to measure: {why}", file=sys.stderr)
        return 2
    share_cores()
    drawn = SyntheticSource(people=2, live=False)
    plan = Plan(
        seconds=0.2 if arguments.quick else arguments.seconds,
        most_streams=2 if arguments.quick else arguments.streams,
        batch=2 if arguments.quick else 32,
        loop=Looped.drawn(drawn, 8 if arguments.quick else 64),
        frames=1 if arguments.quick else None,
    )
    where = machine()
    gpu = str(where["gpu"]) if arguments.device != "cpu" else "cpu"
    target = arguments.json
    if target is None and arguments.device != "cpu":
        target = HERE / "results" / f"{re.sub(r'[^a-z0-9]+', '-', gpu.lower()).strip('-') or 'gpu'}.json"
    report: dict[str, Any] = {
        "machine": where,
        "device": arguments.device,
        "quick": arguments.quick,
        "seconds": arguments.seconds,
        "models": {},
    }
    if arguments.add and target is not None and target.exists():
        before = json.loads(target.read_text(encoding="utf-8"))
        report |= {name: before[name] for name in ("models", "decoding")}
    print(f"{gpu}; {where['cpu']}, {where['cores']} cores; 1280×720, two people")
    if "decoding" not in report:
        report["decoding"] = decoding(plan, "auto" if arguments.device == "cpu" else "cuda")
    for decoder, figures in report["decoding"].items():
        print(f"  decoding, {decoder}: {figures['fps']:.0f} fps")
    columns = [f"{name:>{width}}" for name, width in COLUMNS]
    print(f"  {'fps':<28} {' '.join(columns)} streams")
    for name, choice in models(arguments.assets).items():
        if arguments.models not in name:
            continue
        print(name)
        ways = report["models"].setdefault(name, {})
        for way, change in WAYS.items():
            if arguments.ways and way not in arguments.ways:
                continue
            options = options_of(change, arguments.device, quick=arguments.quick)
            if isinstance(options, str):
                ways[way] = {"left_out": options}
            else:
                try:
                    ways[way] = measure(choice, options, plan, with_streams=way in WITH_STREAMS)
                except StreamposeError as error:  # one way that fails here does not take the others' figures
                    ways[way] = {"left_out": f"failed: {error}"}
            print(line(way, ways[way]), flush=True)
            write_to(target, report)
    write_to(target, report)
    print(f"written: {target}")
    # A way that is not in this version is no failure; one that broke is.
    return int(any("failed" in w.get("left_out", "") for ways in report["models"].values() for w in ways.values()))


if __name__ == "__main__":
    sys.exit(main())
