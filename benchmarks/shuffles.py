"""Channel shuffles as gathers: how much sooner a CPU is done with a model that has them.

    python benchmarks/shuffles.py [--assets DIR] [--rounds 30] [--json shuffles.json] [MODEL …]

Each model as its file has it and with its shuffles as gathers, ONNX Runtime alone on one thread, two items a run. The
ways take turns, and the CPU time of their thread counts; medians over the rounds.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import numpy as np
from bound import session
from command import parser_of, write_to
from machine import machine

from streampose.inference.engine import PIECE
from streampose.inference.graphs import gathered


def measured(model: Path, rounds: int) -> dict[str, float] | None:
    """Milliseconds of an item each way; `None` = it has no shuffles."""
    graph = model.read_bytes()
    other = gathered(graph)
    if other is None:
        return None
    ways = {"as_it_is": session(graph, 1), "gathered": session(other, 1)}
    (tensor,) = ways["as_it_is"].get_inputs()
    feeds = {tensor.name: np.random.default_rng(0).random((PIECE, *tensor.shape[1:]), np.float32)}
    times: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(rounds + 3):
        for way, one in ways.items():
            begin = time.thread_time()
            one.run(None, feeds)
            if number >= 3:
                times[way].append((time.thread_time() - begin) * 1000 / PIECE)
    medians = {way: statistics.median(ms) for way, ms in times.items()}
    return {f"{way}_ms": round(ms, 2) for way, ms in medians.items()} | {
        "ratio": round(medians["gathered"] / medians["as_it_is"], 3)
    }


def main() -> None:
    parser = parser_of(__doc__, assets="models/")
    parser.add_argument("models", nargs="*", type=Path, help="ONNX files; by default PP-TinyPose's")
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    rows = {}
    for model in arguments.models or sorted((arguments.assets / "models").glob("pp_tinypose*.onnx")):
        rows[model.name] = row = measured(model, arguments.rounds)
        print(model.name, "has no shuffles" if row is None else row)
    write_to(arguments.json, {"machine": machine(), "models": rows})


if __name__ == "__main__":
    main()
