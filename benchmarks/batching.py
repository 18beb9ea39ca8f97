"""Batch policies compared: goodput within the budget, latency, drops, fairness, against what no schedule can exceed.

    python benchmarks/batching.py [--quick] [--json FILE] [--plot FILE.png]   # simulated: the grid of grid.py
    python benchmarks/batching.py --live                                      # the corners, in a real pipeline

The simulator drives the very batcher and policies that run live (`simulator.py`); `--live` runs the corner cells with a
real model on this machine, and again simulated with what its batches cost there (`corners.py`).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from itertools import repeat
from pathlib import Path

import numpy as np
from ceiling import ceiling
from grid import MAX_FRAMES, Cell, cold, grid, plotted
from oracle import OracleBatch
from simulator import bound, simulate

from streampose.batching import (
    AimdBatch,
    BatchPolicy,
    DeferredBatch,
    FixedBatch,
    LatencyBatch,
    RuleBatch,
    TimeoutBatch,
    WindowBatch,
)

POLICIES: dict[str, Callable[[float], BatchPolicy]] = {
    "latency": lambda budget_s: LatencyBatch(budget_s, max_frames=MAX_FRAMES),
    "deferred": lambda budget_s: DeferredBatch(budget_s, max_frames=MAX_FRAMES),
    "aimd": lambda budget_s: AimdBatch(budget_s, max_frames=MAX_FRAMES),
    "timeout 8": lambda budget_s: TimeoutBatch(8, budget_s / 4),
    "timeout 16": lambda budget_s: TimeoutBatch(MAX_FRAMES, budget_s / 4),
    "window": lambda _: WindowBatch(max_frames=MAX_FRAMES),
    "rule": lambda _: RuleBatch(),
    "fixed 8": lambda _: FixedBatch(8),
    "fixed 1": lambda _: FixedBatch(1),
}
OURS, SINGLE, ORACLE = "latency", "fixed 1", "oracle"
Row = dict[str, object]


def measure(cell: Cell, frames: int, seed: int, rounds: int) -> Row:
    """One cell, all policies."""
    scenario = cell.scenario(frames, seed - 1)
    row: Row = {
        "cell": asdict(cell),
        "single_frame_ms": round(scenario.cost(1, cell.people / 2) * 1e3, 3),
        "bound": bound(scenario, MAX_FRAMES),
        "blind_bound": bound(scenario, MAX_FRAMES, blind=True),
        "policies": {},
    }
    makes = POLICIES | {ORACLE: lambda _: OracleBatch(scenario, max_frames=MAX_FRAMES)}
    for name, make in makes.items():
        o = simulate(scenario, make(cell.budget_s))
        row["captured"] = o.captured
        row["policies"][name] = {
            "goodput": o.goodput,
            "late": o.delivered - o.goodput,
            "drops": o.drops,
            "p50_ms": round(o.quantile(0.5) * 1e3, 2),
            "p99_ms": round(o.quantile(0.99) * 1e3, 2),
            "fairness": round(o.fairness, 4),
            "mean_batch": round(sum(n * k for n, k in o.batches.items()) / max(o.batches.total(), 1), 2),
        }
    best = max(p["goodput"] for p in row["policies"].values())
    row["ceiling"] = ceiling(scenario, MAX_FRAMES, near=best, rounds=rounds)
    row["blind_ceiling"] = ceiling(scenario, MAX_FRAMES, near=best, rounds=rounds, blind=True)
    return row


def summary(rows: Iterable[Row]) -> dict[str, dict[str, float]]:
    """For each policy, over all cells."""
    rows = list(rows)
    out = {}
    for name in (*POLICIES, ORACLE):
        mine = [row["policies"][name] for row in rows]
        best_peer = [
            max(p["goodput"] for peer, p in row["policies"].items() if peer not in (name, ORACLE)) for row in rows
        ]
        shares = {
            limit: np.array([p["goodput"] / row[limit] for p, row in zip(mine, rows, strict=True)])
            for limit in ("bound", "blind_bound", "ceiling", "blind_ceiling")
        }
        deficit = [(b - p["goodput"]) / row["captured"] for p, b, row in zip(mine, best_peer, rows, strict=True)]
        late = [p["p99_ms"] / 1e3 / row["cell"]["budget_s"] for p, row in zip(mine, rows, strict=True)]
        idle = [
            p["p50_ms"] / row["policies"][SINGLE]["p50_ms"]
            for p, row in zip(mine, rows, strict=True)
            if row["cell"]["load"] == 0.1
        ]
        out[name] = {
            **{f"goodput_of_{limit}_mean": float(share.mean()) for limit, share in shares.items()},
            **{f"goodput_of_{limit}_worst": float(share.min()) for limit, share in shares.items()},
            "worst_deficit_to_a_peer": float(max(deficit)),
            "cells_over_1_percent_behind_a_peer": sum(d > 0.01 for d in deficit),
            "cells_p99_over_budget": sum(share > 1 for share in late),
            "p99_of_budget_median": float(np.nanmedian(late)),
            "p99_of_budget_worst": float(np.nanmax(late)),
            "late_of_delivered": sum(p["late"] for p in mine) / max(sum(p["late"] + p["goodput"] for p in mine), 1),
            "idle_p50_of_single_worst": max(idle, default=float("nan")),
            "fairness_mean": float(np.mean([p["fairness"] for p in mine])),
            "fairness_worst": min(p["fairness"] for p in mine),
        }
    return out


def show(rows: list[Row], figures: Mapping[str, Mapping[str, float]]) -> None:
    for row in rows:
        cell = row["cell"]
        print(
            "{curve} × {load}, {streams} streams {arrivals}, ≤ {people} people, {ms:.0f} ms, {disturbance}, "
            "{engines} engine(s)".format(**cell, ms=cell["budget_s"] * 1e3)
            + f": of {row['captured']} at most {row['bound']} ({row['blind_bound']} blind),"
            f" in whole batches {row['ceiling']} ({row['blind_ceiling']})"
        )
        for name, p in row["policies"].items():
            drops = ", ".join(f"{cause} {n}" for cause, n in p["drops"].items()) or "none"
            print(
                f"  {name:<11}{p['goodput']:6d} fresh {p['goodput'] / row['bound']:6.3f}  late {p['late']:5d}"
                f"  p50 {p['p50_ms']:7.1f}  p99 {p['p99_ms']:7.1f} ms  Jain {p['fairness']:.3f}"
                f"  batch {p['mean_batch']:5.2f}  drops: {drops}"
            )
    print(f"\n{len(rows)} cells; goodput as a share of the bound (blind), and of the ceiling (blind), over cells")
    print(
        f"{'':<11}{'mean':>14}{'worst':>15}{'ceiling':>16}{'worst':>15}{'worst gap':>11}{'> 1 %':>6}{'p99/budget':>16}"
        f"{'> 1':>4}{'late':>8}{'idle p50':>10}{'Jain':>8}{'worst':>8}"
    )
    for name, f in figures.items():
        print(
            f"{name:<11}{f['goodput_of_bound_mean']:7.3f} ({f['goodput_of_blind_bound_mean']:.3f})"
            f"{f['goodput_of_bound_worst']:7.3f} ({f['goodput_of_blind_bound_worst']:.3f})"
            f"{f['goodput_of_ceiling_mean']:8.3f} ({f['goodput_of_blind_ceiling_mean']:.3f})"
            f"{f['goodput_of_ceiling_worst']:7.3f} ({f['goodput_of_blind_ceiling_worst']:.3f})"
            f"{f['worst_deficit_to_a_peer']:10.1%} {f['cells_over_1_percent_behind_a_peer']:5d}"
            f"{f['p99_of_budget_median']:7.2f} ≤ {f['p99_of_budget_worst']:6.2f} {f['cells_p99_over_budget']:3d}"
            f"{f['late_of_delivered']:8.2%}{f['idle_p50_of_single_worst']:10.2f}"
            f"{f['fairness_mean']:8.3f}{f['fairness_worst']:8.3f}"
        )
    print("worst gap: to the best other policy of a cell, in frames captured; idle p50: at load 0.1, against fixed 1;")
    print("oracle: latency with nothing to learn (oracle.py), no peer of the others")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few cells, few frames")
    parser.add_argument("--live", action="store_true", help="the corners in a real pipeline, against the simulator")
    parser.add_argument("--seconds", type=float, default=12, help="of each live cell")
    parser.add_argument("--seed", type=int, default=1, help="of the grid: the policy was tuned on that of 1")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write all figures here")
    parser.add_argument("--plot", type=Path, help="draw goodput and latency over load here (PNG; SVG beside it)")
    arguments = parser.parse_args()
    if arguments.live:
        from corners import run_corners

        return run_corners(arguments.seconds, arguments.json)
    started = time.perf_counter()
    frames, rounds = (300, 10) if arguments.quick else (1000, 80)
    cells, plain, icy = grid(arguments.quick, arguments.seed), plotted(arguments.quick), cold(arguments.quick)
    every = (*plain, *icy, *cells)
    rows: list[Row] = []
    with ProcessPoolExecutor(arguments.processes) as pool:
        for row in pool.map(measure, every, repeat(frames), repeat(arguments.seed), repeat(rounds)):
            rows.append(row)
            print(f"\r{len(rows)} of {len(every)} cells", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    plain_rows, cold_rows, rows = rows[: len(plain)], rows[len(plain) : -len(cells)], rows[-len(cells) :]
    figures = summary([*rows, *plain_rows])
    show([*rows, *plain_rows], figures)
    print(f"cold: {len(cold_rows)} cells beside these, where the first batch of each size takes six times as long;")
    print("goodput as a share of the bound, mean and worst: ", end="")
    icy_figures = summary(cold_rows)
    print(
        "; ".join(
            f"{name} {f['goodput_of_bound_mean']:.3f}, {f['goodput_of_bound_worst']:.3f}"
            for name, f in icy_figures.items()
        )
    )
    print(f"{time.perf_counter() - started:.0f} s")
    if arguments.json:
        whole = {"summary": figures, "grid": rows, "plotted": plain_rows, "cold": cold_rows}
        arguments.json.write_text(json.dumps(whole, indent=None, separators=(",", ":")).replace('{"cell"', '\n{"cell"'))
    if arguments.plot:
        from plots import draw

        draw(plain_rows, arguments.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
