"""How a CPU's cores are best shared out: one session of many threads, or several of few. Measured, then remembered."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Protocol

from streampose.gauges import machine
from streampose.inference.download import sha256_of
from streampose.inference.kept import keep
from streampose.inference.providers import runtime_version
from streampose.inference.weights import files_of

__all__ = ["Calibration", "Split", "calibrate", "splits"]

log = logging.getLogger("streampose")

# More hold that many copies of the weights for little gain; the rest of the cores go into threads.
_MOST_SESSIONS = 8
_BATCH = 4
# Each way is tried so often, in turns with the others and for so long: a neighbour's moment hits them all.
_ROUNDS = 3
# All ways are open while they are tried: with large models only as many as hold so many bytes of weights together.
_MOST_BYTES = 1 << 30
# A gain below this is within what measurements differ by.
_GAIN = 1.05
# A large model is not tried again after so long.
_LONG_S = 1.0

# Without a folder a process still measures once.
_measured_here: dict[str, Calibration] = {}
_TRY_S = 0.12


class _Runnable(Protocol):
    def warm_up(self, sizes: Sequence[int]) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """One way, and what it gave."""

    sessions: int
    threads: int
    """Of each session."""
    fps: float = 0.0
    """Frames a second of all sessions at work on batches of four, the models alone."""
    frame_s: float = 0.0
    """What one frame takes while nothing else is on its way."""

    def __str__(self) -> str:
        sessions, threads = self.sessions, self.threads
        return f"{sessions} session{'s' * (sessions > 1)} of {threads} thread{'s' * (threads > 1)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """All ways that were tried, the one of a single session first."""

    splits: tuple[Split, ...]

    @property
    def quickest(self) -> Split:
        """The one for least latency at low load: several sessions where that is clearly quicker."""
        single, best = self.splits[0], min(self.splits, key=lambda split: split.frame_s)
        return best if single.frame_s > _GAIN * best.frame_s else single

    def busiest(self, *, beside_much: bool) -> Split:
        """The one for most frames a second.

        Here the models have the cores for themselves. Where those decode many streams, too, a session of many threads
        waits at every layer for the last of them.

        Args:
            beside_much: several sessions are taken unless a single one does clearly more; else if they do clearly more.
        """
        single, *several = self.splits
        best = max(several, key=lambda split: split.fps, default=single)
        return best if best.fps > single.fps * (1 / _GAIN if beside_much else _GAIN) else single


def splits(cores: int, weights_bytes: int = 0) -> list[Split]:
    """The ways to try: one session, as many as there may be, and doublings between; fewer where weights are large."""
    counts = [n for n in sorted({1, 2, 4, _MOST_SESSIONS, cores}) if n <= min(cores, _MOST_SESSIONS)]
    opened = accumulate(counts)
    return [
        Split(sessions=n, threads=cores // n)
        for n, copies in zip(counts, opened, strict=True)
        if n == 1 or copies * weights_bytes <= _MOST_BYTES
    ]


def calibrate(
    load: Callable[[int], _Runnable],
    models: Sequence[Path],
    cores: int,
    folder: Path | None,
    *,
    variant: str = "",
    again: bool = False,
) -> Calibration:
    """What was remembered for these models on this machine, or else measured now: a second, and the loading.

    Args:
        load: an estimator whose sessions have so many threads.
        models: the files; what they hold is part of what is remembered.
        cores: how many to share out.
        folder: where it is remembered, one file for each set of models; `None` = by this process only.
        variant: what else changes how the models run.
        again: measure even if it is remembered.

    Raises:
        ModelError: a model could not be loaded or run.
    """
    files = [file for model in models for file in files_of(model)]
    beside = [file for file in files if file not in models]
    about = {
        "cpu": str(machine()["cpu"]),
        "onnxruntime": runtime_version(),
        "cores": str(cores),
        "models": " ".join([*map(sha256_of, models), *map(_state, beside)]),
        "variant": variant,
    }
    name = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:24]
    ways = splits(cores, sum(file.stat().st_size for file in files))
    kept = None if folder is None else folder / f"{name}.json"
    if not again:
        found = _measured_here.get(name) if kept is None else _read(kept, about, ways)
        if found is not None:
            return found
    measured = Calibration(splits=_measured(load, ways))
    log.info("measured on %d cores: %s", cores, "; ".join(f"{s} {s.fps:.0f} fps" for s in measured.splits))
    if kept is None:
        _measured_here[name] = measured
    else:
        value = {"about": about, "splits": [asdict(split) for split in measured.splits]}
        keep(kept, f"{json.dumps(value, indent=2)}\n".encode())
    return measured


def _state(weights: Path) -> str:
    """What changes with a file that is too large to be hashed at each start."""
    state = weights.stat()
    return f"{state.st_size}@{state.st_mtime_ns}"


def _measured(load: Callable[[int], _Runnable], ways: Sequence[Split]) -> tuple[Split, ...]:
    with contextlib.ExitStack() as stack:
        tries = []
        for way in ways:
            runs = [load(way.threads) for _ in range(way.sessions)]
            for run in runs:
                stack.callback(run.close)
                run.warm_up([1, _BATCH])
            tries.append(_Try(way, runs))
        begin = time.perf_counter()
        for _ in range(_ROUNDS):
            for attempt in tries:
                attempt.again()
            if time.perf_counter() - begin > _LONG_S:
                break
        return tuple(attempt.result for attempt in tries)


class _Try:
    """One way at work."""

    def __init__(self, way: Split, runs: Sequence[_Runnable]) -> None:
        self._way, self._runs = way, runs
        self._fps, self._frame_s = 0.0, float("inf")

    def again(self) -> None:
        # The best and the quickest, not medians: what others take of the machine only ever makes them worse.
        self._fps = max(self._fps, _rate(self._runs))
        self._frame_s = min(self._frame_s, _quickest(self._runs[0]))

    @property
    def result(self) -> Split:
        return replace(self._way, fps=round(self._fps, 2), frame_s=round(self._frame_s, 6))


def _rate(runs: Sequence[_Runnable]) -> float:
    """Frames a second of all of them side by side."""
    until = time.perf_counter() + _TRY_S

    def repeat(run: _Runnable) -> float:
        count, begin = 0, time.perf_counter()
        while not count or time.perf_counter() < until:
            run.warm_up([_BATCH])
            count += _BATCH
        # Each by its own time: the last batch of one may end long after the other's.
        return count / (time.perf_counter() - begin)

    with ThreadPoolExecutor(len(runs), "streampose-calibrate") as pool:
        return sum(pool.map(repeat, runs))


def _quickest(run: _Runnable) -> float:
    """What a single frame takes."""
    best, until = float("inf"), time.perf_counter() + _TRY_S / 2
    while (begin := time.perf_counter()) < until or best == float("inf"):
        run.warm_up([1])
        best = min(best, time.perf_counter() - begin)
    return best


def _read(path: Path, about: Mapping[str, str], ways: Sequence[Split]) -> Calibration | None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if value["about"] != about:
            log.warning("%s is of another machine or model: measuring anew", path)
            return None
        tried = [(s["sessions"], s["threads"]) for s in value["splits"]]
        figures = [(float(s["fps"]), float(s["frame_s"])) for s in value["splits"]]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        log.warning("%s is damaged (%s): measuring anew", path, error)
        return None
    alike = tried == [(way.sessions, way.threads) for way in ways]
    if not alike or not all(0 < figure < math.inf for pair in figures for figure in pair):
        log.warning("%s has figures that cannot be: measuring anew", path)
        return None
    found = (replace(way, fps=fps, frame_s=frame_s) for way, (fps, frame_s) in zip(ways, figures, strict=True))
    return Calibration(splits=tuple(found))
