"""How many items a CPU runs best at a time: each model's time for one item, by the size of the run.

    python benchmarks/pieces.py [--assets DIR] [--rounds 5] [--json pieces.json]

ONNX Runtime alone on random input: one session of all threads, and a session of one thread on each core, all at work.
The sizes take turns, so that a neighbour's moment hits them all; medians over the rounds. On one thread small runs stay
in the caches; several threads share out the items of a run. Models of a fixed batch are left out.
"""

from __future__ import annotations

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime as ort
from bound import session
from command import parser_of, write_to
from machine import machine

from streampose.cores import available_cores
from streampose.inference.signature import TENSOR_TYPES
from streampose.inference.zoo import built_in

SIZES = (1, 2, 3, 4, 6, 8, 16)
OPEN_PX = 320  # for a model that leaves its size open


def item_ms(sessions: list[ort.InferenceSession], name: str, batch: np.ndarray) -> float:
    """Milliseconds for one item, all sessions at work on so many runs that they do 16 items or more each."""
    runs = max(1, 16 // len(batch))

    def repeat(one: ort.InferenceSession) -> None:
        for _ in range(runs):
            one.run(None, {name: batch})

    begin = time.perf_counter()
    with ThreadPoolExecutor(len(sessions)) as pool:
        list(pool.map(repeat, sessions))
    return (time.perf_counter() - begin) * 1000 / (runs * len(batch) * len(sessions))


def measured(model: Path, rounds: int) -> dict[str, dict[int, float]] | None:
    """For each way the median milliseconds of an item by the size of its run; `None` = its batch is fixed."""
    cores = available_cores()
    ways = {f"1 × {cores} threads": [session(model, cores)]}
    if cores > 1:
        ways[f"{cores} × 1 thread"] = [session(model, 1) for _ in range(cores)]
    (taken,) = next(iter(ways.values()))[0].get_inputs()
    if isinstance(taken.shape[0], int):
        return None
    shape = [size if isinstance(size, int) else OPEN_PX for size in taken.shape[1:]]
    dtype, rng = np.dtype(TENSOR_TYPES[taken.type]), np.random.default_rng(0)
    batches = {n: (rng.random((n, *shape)) * (1 if dtype.kind == "f" else 255)).astype(dtype) for n in SIZES}
    times: dict[str, dict[int, list[float]]] = {way: {n: [] for n in SIZES} for way in ways}
    for i in range(rounds + 1):
        for way, sessions in ways.items():
            for n, batch in batches.items():
                spent = item_ms(sessions, taken.name, batch)
                if i:  # the first round claims memory
                    times[way][n].append(spent)
    return {way: {n: round(statistics.median(t), 2) for n, t in by_size.items()} for way, by_size in times.items()}


def main() -> None:
    parser = parser_of(__doc__, assets="models/")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    report: dict[str, object] = {"machine": machine(), "sizes": SIZES}
    models = [built_in("detector"), built_in("keypoints"), *sorted((arguments.assets / "models").glob("*.onnx"))]
    for model in models:
        if (found := measured(model, arguments.rounds)) is None:
            continue
        report[model.stem] = found
        for way, by_size in found.items():
            print(f"{model.stem:<36} {way:<14} " + "  ".join(f"{n}: {ms:.2f}" for n, ms in by_size.items()) + " ms")
    write_to(arguments.json, report)


if __name__ == "__main__":
    main()
