"""More live streams than the machine can do: what is delivered, how late, how evenly, and whether memory grows.

    python benchmarks/streams.py [--assets DIR] [--streams 8] [--seconds 10] [--rounds 3]

Eight 30 fps streams of figures drawn beforehand, 640×360, are played live through one pipeline with a budget of 200 ms.
ONNX Runtime alone runs the same models on ready tensors, in the ways that a CPU offers, right before and right after
each run, because shared machines drift; the best way of the two moments' mean is that run's bound, and ratios of a run
and its bound are compared. On a machine that others use, too, a second of the clock is not the same for two threads and
for twenty; so the ratio is also given for a second of CPU time (`of_alone_cpu`), and both must hold.

Asked for, with `LatencyBatch`: delivered ≥ 0.9 of the bound, p99 ≤ 200 ms, Jain's index ≥ 0.98, and memory that stays
flat in the second half of a run. `FixedBatch(8)` is there for contrast.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from bound import Work, bound
from command import parser_of, write_to
from machine import machine

from streampose.batching import BatchPolicy, FixedBatch, LatencyBatch
from streampose.cores import available_cores, share_cores
from streampose.diagnosis import diagnose
from streampose.figures import Figures, jain
from streampose.inference.boxes import Limits
from streampose.inference.engine import EngineOptions
from streampose.inference.loading import ModelChoice, load_estimators
from streampose.inference.zoo import built_in
from streampose.loop import run_async
from streampose.measure import Measurement
from streampose.sources import Looped, SyntheticSource

BUDGET_S = 0.2
POLICIES: dict[str, Callable[[], BatchPolicy]] = {
    "LatencyBatch(200 ms)": lambda: LatencyBatch(BUDGET_S),
    "FixedBatch(8)": lambda: FixedBatch(8),
}


def play(choice: ModelChoice, loop: Looped, policy: BatchPolicy, streams: int, seconds: float) -> Figures:
    """One run; sessions as for the most frames a second, since the machine is to be full."""
    estimators = load_estimators(choice, EngineOptions(device="cpu"), throughput=True)
    for estimator in estimators:
        # ONNX Runtime's arena grows with the first batch of each size: 90 MB in all here, and then no more.
        estimator.warm_up(range(1, 17))
    measurement = Measurement(
        {f"s{i}": loop.again(i * 7) for i in range(streams)},
        estimators,
        policy,
        live=True,
        warm_up_s=min(2.0, seconds / 2),
    )
    run_async(measurement.run(seconds=seconds))
    figures = measurement.figures()
    if figures.budget_s is None:  # a policy without deadlines is held to the same one
        figures = replace(figures, budget_s=BUDGET_S)
    return figures


@dataclass(frozen=True, slots=True)
class Rate:
    """Frames for a second of the clock, and for a second of CPU time."""

    wall: float
    cpu: float


def timed(measure: Callable[[], float], frames: int) -> Rate:
    cpu = time.process_time()
    wall = measure()
    return Rate(wall, frames / (time.process_time() - cpu))


def mean(a: Rate, b: Rate) -> Rate:
    return Rate((a.wall + b.wall) / 2, (a.cpu + b.cpu) / 2)


def row(figures: list[Figures], bounds: list[Rate]) -> dict[str, float]:
    """Medians over the rounds; the worst of what must hold in each."""
    pairs = list(zip(figures, bounds, strict=True))
    return {
        "fps": round(statistics.median(f.fps for f in figures), 1),
        "alone_fps": round(statistics.median(b.wall for b in bounds), 1),
        "of_alone": round(statistics.median(f.fps / b.wall for f, b in pairs), 3),
        "of_alone_cpu": round(statistics.median(f.fps / (f.cores_used or 1.0) / b.cpu for f, b in pairs), 3),
        "p50_ms": round(statistics.median(f.latency_s["p50"] for f in figures) * 1000, 1),
        "p99_ms": round(statistics.median(f.latency_s["p99"] for f in figures) * 1000, 1),
        "p99_worst_ms": round(max(f.latency_s["p99"] for f in figures) * 1000, 1),
        "jain": round(min(jain(list(f.delivered.values())) for f in figures), 4),
        "batch": round(statistics.median(mean_batch(f) for f in figures), 1),
        "dropped": round(statistics.median(f.lost for f in figures), 3),
        "busy": round(statistics.median(f.busy for f in figures), 3),
        "cores_used": round(statistics.median(f.cores_used or 0.0 for f in figures), 2),
        "rss_growth_mb": round(max(f.rss_growth_mb or 0.0 for f in figures), 1),
    }


def mean_batch(figures: Figures) -> float:
    return sum(size * n for size, n in figures.batches.items()) / max(1, sum(figures.batches.values()))


def main() -> int:
    parser = parser_of(__doc__, assets="models/")
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--people", type=int, default=1, help="figures in each picture")
    parser.add_argument("--only", help="run only the pair whose name has this in it")
    arguments = parser.parse_args()
    share_cores()
    models, cores = arguments.assets / "models", available_cores()
    pairs = {
        "rtmdet@320 + pp_tinypose_256x192": (models / "rtmdet_nano_person.onnx", models / "pp_tinypose_256x192.onnx"),
        "streampose-nano": (built_in("detector"), built_in("keypoints")),
    }
    loop = Looped.drawn(SyntheticSource(width_px=640, height_px=360, people=arguments.people, live=False), 64)
    report: dict[str, object] = {"machine": machine(), "streams": arguments.streams, "budget_ms": BUDGET_S * 1000}
    reached = True
    for name, (detector, pose) in pairs.items():
        if arguments.only and arguments.only not in name:
            continue
        choice = ModelChoice(detector=detector, pose=pose, limits=Limits(min_score=0.4))
        work = Work(loop.pictures, detector, pose)
        ways = {
            f"batch {batch}, {sessions} × {threads} threads": (sessions, threads, batch)
            for sessions, threads, batch in ((1, cores, 4), (cores, 1, 1), (cores, 1, 2), (cores, 1, 4), (cores, 1, 8))
        }
        measures: dict[str, Callable[[], Rate]] = {}
        for way, (sessions, threads, batch) in ways.items():
            once = bound(work, sessions=sessions, threads=threads, batch=batch)
            once()
            frames = max(8 * sessions, round(once() * 1.2))  # a good second
            longer = bound(work, sessions=sessions, threads=threads, batch=batch, frames=frames)
            measures[way] = partial(timed, longer, frames)
        played: dict[str, list[Figures]] = {policy: [] for policy in POLICIES}
        bounds: dict[str, list[Rate]] = {policy: [] for policy in POLICIES}
        wins: Counter[str] = Counter()
        for i in range(arguments.rounds):
            before = {way: measure() for way, measure in measures.items()}
            for policy, make in POLICIES.items():
                played[policy].append(play(choice, loop, make(), arguments.streams, arguments.seconds))
                after = {way: measure() for way, measure in measures.items()}
                means = {way: mean(before[way], after[way]) for way in ways}
                best = max(means, key=lambda way: means[way].wall)
                wins[best] += 1
                # Of all ways the best in each respect: no choice of ours makes the bound low.
                bounds[policy].append(Rate(means[best].wall, max(m.cpu for m in means.values())))
                before = after
            print(f"{name}: round {i + 1} of {arguments.rounds} done", file=sys.stderr, flush=True)
        rows = {policy: row(figures, bounds[policy]) for policy, figures in played.items()}
        print(f"\n{name} (alone best at {wins.most_common(1)[0][0]})")
        for policy, values in rows.items():
            print(f"  {policy:<22} " + ", ".join(f"{key} {value:g}" for key, value in values.items()))
            for words in diagnose(played[policy][-1]):
                print(f"    • {words}")
        ours = rows["LatencyBatch(200 ms)"]
        met = (
            min(ours["of_alone"], ours["of_alone_cpu"]) >= 0.9
            and ours["p99_ms"] <= BUDGET_S * 1000
            and ours["jain"] >= 0.98
        )
        reached &= met and ours["rss_growth_mb"] < 20
        report[name] = {"alone_best": dict(wins), **rows}
    write_to(arguments.json, report)
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
