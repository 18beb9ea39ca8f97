"""Corner cells in a real pipeline with a real model, and the same simulated from what its batches cost.

The simulator says what a policy does *given* when frames come and what batches cost, so it is given what was
measured in that very run: sources, sinks and the event loop take the cores from the model, threads wake late, and a
shared machine is not as fast at noon as in the morning. It gets

- when each frame was captured, and how much later it came to the batcher;
- of each size the median of the batches that ran live (sizes that hardly ran: what the model took alone, times how much
  slower the others were), and the machine's speed over time: how long each batch took, against its size's median;
- what the policy took to decide, and what comes after a batch (ids, smoothing, handing over), as constants, the run's
  medians. Deciding is a part of the batch there, which the policy learns; live it comes before the batch begins.

Sizes, waits, drops and latencies are its own. The load is told by the model alone: beside sources it is higher.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from command import write_to
from machine import machine
from simulator import Cost, Scenario, Speed, simulate

from streampose import CallSink, LatencyBatch, Pipeline, Result, Stream, StreamInfo, SyntheticSource
from streampose.batching import BatchPolicy, Decision, FixedBatch, TimeoutBatch
from streampose.frame import Frame, Image
from streampose.inference.engine import EngineOptions
from streampose.inference.loading import ModelChoice, PoseEstimator, load_estimators
from streampose.result import Timing

MAX_FRAMES = 8
BUDGET_S = 0.25
WARM_S = 3.0
AGREES = 0.15
# So many batches of a size say what it costs.
ENOUGH = 5
CORNERS = tuple(itertools.product((2, 8), (0.2, 0.9, 1.6)))
POLICIES = {
    "latency": lambda: LatencyBatch(BUDGET_S, max_frames=MAX_FRAMES),
    "timeout 8": lambda: TimeoutBatch(MAX_FRAMES, BUDGET_S / 4),
    "fixed 1": lambda: FixedBatch(1),
}


class Repeating:
    """Live pictures drawn beforehand, given at set times after a common start."""

    live = True

    def __init__(self, pictures: Sequence[Image], times_s: np.ndarray, start: float) -> None:
        self._pictures, self._times_s, self._start = pictures, times_s, start
        self._index = 0

    def open(self, stream: str) -> StreamInfo:
        self._stream = stream
        height, width = self._pictures[0].shape[:2]
        return StreamInfo(width_px=width, height_px=height, time_base=Fraction(1, 1_000_000))

    def read(self) -> Frame | None:
        if self._index == len(self._times_s):
            return None
        due_s = float(self._times_s[self._index])
        time.sleep(max(0.0, self._start + due_s - time.monotonic()))
        frame = Frame(
            stream=self._stream, index=self._index, epoch=0, pts=round(due_s * 1e6), time_base=Fraction(1, 1_000_000),
            captured_at=time.monotonic(), image=self._pictures[self._index % len(self._pictures)],
        )  # fmt: skip
        self._index += 1
        return frame

    def close(self) -> None:
        pass


def measured(estimator: PoseEstimator, pictures: Sequence[Image], rounds: int = 12) -> Cost:
    """What batches of 1 … MAX_FRAMES cost: medians, each size once in every round."""
    seconds: dict[int, list[float]] = {n: [] for n in range(1, MAX_FRAMES + 1)}
    for i, n in itertools.product(range(rounds), seconds):
        batch = [pictures[(i + k) % len(pictures)] for k in range(n)]
        began = time.perf_counter()
        estimator(batch)
        seconds[n].append(time.perf_counter() - began)
    return Cost(measured_s=tuple(float(np.median(s)) for s in seconds.values()))


def timed(policy: BatchPolicy) -> list[float]:
    """Seconds that each of its decisions takes from now on."""
    seconds, decide = list[float](), policy.decide

    def measuring(*arguments: Any) -> Decision:
        began = time.perf_counter()
        decision = decide(*arguments)
        seconds.append(time.perf_counter() - began)
        return decision

    policy.decide = measuring  # type: ignore[method-assign]
    return seconds


class Arrivals:
    """A trace: when frames were captured, and when they came."""

    def __init__(self, streams: int) -> None:
        self.captured_at: dict[str, list[float]] = {f"s{i}": [] for i in range(streams)}
        self.lag_s: dict[str, list[float]] = {name: [] for name in self.captured_at}

    def captured(self, frame: Frame, read_at: float) -> None:
        self.captured_at[frame.stream].append(frame.captured_at)
        self.lag_s[frame.stream].append(read_at - frame.captured_at)

    def delivered(self, result: Result) -> None:
        pass

    def written(self, result: Result, sink: str, began_at: float, ended_at: float) -> None:
        pass


async def live(
    estimator: PoseEstimator, pictures: Sequence[Image], times_s: Sequence[np.ndarray], policy: BatchPolicy
) -> tuple[list[Timing], Arrivals, float]:
    """What became of the frames of one run, when they came, and when it began."""
    arrivals, start = Arrivals(len(times_s)), time.monotonic() + 0.5
    timings: list[Timing] = []

    def took(result: Result) -> None:
        if result.timing.captured_at >= start + WARM_S:
            timings.append(result.timing)

    streams = [
        Stream(name=f"s{i}", source=Repeating(pictures, times, start), sinks=[CallSink(took)], budget_s=BUDGET_S)
        for i, times in enumerate(times_s)
    ]
    async with Pipeline(streams, estimator, policy=policy, trace=arrivals) as pipeline:
        await pipeline.run()
    return timings, arrivals, start


def beside(timings: Sequence[Timing], alone: Cost, start: float) -> tuple[Cost, Speed, float]:
    """What batches cost in a live run, how fast the machine was when, and how often longer they took than alone."""
    at = {t.taken_at: (t.batch_size, t.inferred_at - t.taken_at) for t in timings}
    batches = at.values()
    slower = float(np.median([seconds / alone(n, 0) for n, seconds in batches]))
    costs = []
    for n in range(1, MAX_FRAMES + 1):
        ran = [seconds for size, seconds in batches if size == n]
        costs.append(float(np.median(ran)) if len(ran) >= ENOUGH else alone(n, 0) * slower)
    cost = Cost(measured_s=tuple(costs))
    speeds = {taken_at - start: cost(n, 0) / seconds for taken_at, (n, seconds) in sorted(at.items())}
    return cost, Speed((0.0, *speeds), (1.0, *speeds.values())), slower


def run_corners(seconds: float, path: Path | None) -> int:
    """Print both figures of every corner; 1 where one is apart by more than 15 %."""
    # One session of one thread: the other cores are for the sources and the pipeline, as the simulator has it.
    choice, options = ModelChoice(), EngineOptions(device="cpu", threads=1)
    synthetic = SyntheticSource(rate=30, live=False)
    pictures = [synthetic.render(i * 4) for i in range(24)]
    rows, apart = [], 0
    # The pipeline closes its own; this one is for measuring.
    (measuring,) = load_estimators(choice, options, throughput=False)
    for streams, load in CORNERS:
        for name, make in POLICIES.items():
            (estimator,) = load_estimators(choice, options, throughput=False)
            # Measured anew for every run: a shared machine is not as fast at noon as in the morning.
            before = measured(measuring, pictures, 6)
            capacity_hz = max(n / s for n, s in enumerate(before.measured_s, 1) if s <= BUDGET_S / 2)
            period_s = streams / (load * capacity_hz)
            rng = np.random.default_rng(streams)
            times_s = [np.arange(rng.uniform(0, period_s), WARM_S + seconds, period_s) for _ in range(streams)]
            policy = make()
            deciding = timed(policy)
            timings, arrivals, start = asyncio.run(live(estimator, pictures, times_s, policy))
            after = measured(measuring, pictures, 6)
            alone = Cost(
                measured_s=tuple((b + a) / 2 for b, a in zip(before.measured_s, after.measured_s, strict=True))
            )
            cost, speed, slower = beside(timings, alone, start)
            finishing_s = float(np.median([t.delivered_at - t.inferred_at for t in timings]))
            scenario = Scenario(
                cost=cost,
                budget_s=BUDGET_S,
                deciding_s=float(np.median(deciding)),
                finishing_s=finishing_s,
                arrivals_s=tuple(np.array(at) - start for at in arrivals.captured_at.values()),
                lags_s=tuple(np.array(lag) for lag in arrivals.lag_s.values()),
                people=tuple(np.zeros(len(t), int) for t in times_s),
                speed=speed,
                warm_s=WARM_S,
            )
            simulated = simulate(scenario, make())
            latencies_s = np.array([t.latency_s for t in timings])
            row = {
                "streams": streams,
                "load": load,
                "policy": name,
                "captured": simulated.captured,
                "alone_ms": [round(s * 1e3, 2) for s in alone.measured_s],
                "cost_ms": [round(s * 1e3, 2) for s in cost.measured_s],
                "times_slower_than_alone": round(slower, 3),
                "coming_ms": round(float(np.median(np.concatenate(scenario.lags_s))) * 1e3, 2),
                "deciding_ms": round(scenario.deciding_s * 1e3, 2),
                "finishing_ms": round(finishing_s * 1e3, 2),
                "live": {"goodput": int((latencies_s <= BUDGET_S).sum()), "p50_ms": _p50_ms(latencies_s)},
                "simulated": {"goodput": simulated.goodput, "p50_ms": _p50_ms(simulated.latencies_s)},
            }
            row["ratio"] = {key: round(row["live"][key] / max(row["simulated"][key], 1e-9), 3) for key in row["live"]}
            far = any(abs(ratio - 1) > AGREES for ratio in row["ratio"].values())
            apart += far
            rows.append(row)
            print(
                f"{streams} streams, load {load}, {name:<10} of {row['captured']:4d}:"
                f" goodput {row['live']['goodput']:4d} live, {row['simulated']['goodput']:4d} simulated"
                f" ({row['ratio']['goodput']:.2f});  p50 {row['live']['p50_ms']:6.1f} ms live,"
                f" {row['simulated']['p50_ms']:6.1f} simulated ({row['ratio']['p50_ms']:.2f});"
                f"  {slower:.2f} × as long as alone" + ("  <- apart" if far else ""),
                flush=True,
            )
    measuring.close()
    print(f"{len(rows) - apart} of {len(rows)} agree within {AGREES:.0%}")
    write_to(path, {"machine": machine(), "corners": rows})
    return int(apart > 0)


def _p50_ms(latencies_s: np.ndarray) -> float:
    return round(float(np.median(latencies_s)) * 1e3, 2) if len(latencies_s) else float("nan")
