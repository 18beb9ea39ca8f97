"""Engines of one thread, one for each core, stay where they are."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Sequence

import cv2
import pytest
from fakes import FakeEstimator, MemorySink, ScriptedSource

from streampose import LatencyBatch, Pipeline, Stream, cores
from streampose import pipeline as pipelines
from streampose.cores import available_cores
from streampose.frame import Image
from streampose.pose import Poses

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="threads are kept to cores on Linux only"),
    pytest.mark.skipif(available_cores() < 2, reason="on one core everything stays"),
]


@pytest.fixture(autouse=True)
def shared(monkeypatch: pytest.MonkeyPatch):
    """As the commands do, for one test."""
    interval, threads = sys.getswitchinterval(), cv2.getNumThreads()
    monkeypatch.setattr(cores, "_shared", False)
    cores.share_cores()
    yield
    sys.setswitchinterval(interval)
    cv2.setNumThreads(threads)


class Engine(FakeEstimator):
    """Notes on which cores it may run."""

    def __init__(self, single_threaded: bool = True) -> None:
        super().__init__()
        self.single_threaded = single_threaded
        self.may_run_on: set[int] = set()
        self.counted = 0

    def __call__(self, images: Sequence[Image]) -> list[Poses]:
        self.may_run_on = os.sched_getaffinity(0)
        self.counted = available_cores()
        return super().__call__(images)


async def run(engines: Sequence[Engine], *, live: bool) -> None:
    """So many frames that each engine gets some."""
    source = ScriptedSource(range(40), live=live, period_s=0.002)
    stream = Stream(name="s", source=source, sinks=[MemorySink()], credits=8)
    policy = LatencyBatch(5.0, max_frames=1)
    async with asyncio.timeout(30), Pipeline([stream], engines, policy=policy) as pipeline:
        await pipeline.run()


async def test_each_has_a_core_of_its_own():
    every = os.sched_getaffinity(0)
    engines = [Engine() for _ in every]
    await run(engines, live=True)
    mine = [engine.may_run_on for engine in engines if engine.may_run_on]
    assert mine
    assert all(len(core) == 1 for core in mine)
    assert len(set.union(*mine)) == len(mine)
    assert os.sched_getaffinity(0) == every
    assert {engine.counted for engine in engines if engine.counted} == {len(every)}


@pytest.mark.parametrize(
    ("live", "single_threaded", "spare"), [(False, True, 0), (True, False, 0), (True, True, 1)], ids=str
)
async def test_where_it_would_not_help_all_may_move(
    monkeypatch: pytest.MonkeyPatch, live: bool, single_threaded: bool, spare: int
):
    every = os.sched_getaffinity(0)
    monkeypatch.setattr(pipelines, "available_cores", lambda: len(every) + spare)
    engines = [Engine(single_threaded) for _ in every]
    await run(engines, live=live)
    assert {frozenset(engine.may_run_on) for engine in engines if engine.may_run_on} == {frozenset(every)}


@pytest.mark.parametrize("why", ["a library", "not allowed"])
def test_where_the_process_is_somebody_elses_or_forbids_it_nothing_happens(monkeypatch: pytest.MonkeyPatch, why: str):
    def forbidden(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    if why == "a library":
        monkeypatch.setattr(cores, "_shared", False)
    else:
        monkeypatch.setattr(os, "sched_setaffinity", forbidden)
    seen: list[set[int]] = []

    def look() -> None:
        cores.stay_on_core(0)
        seen.append(os.sched_getaffinity(0))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [os.sched_getaffinity(0)]


def test_more_engines_than_cores_go_round():
    every = sorted(os.sched_getaffinity(0))
    seen: list[set[int]] = []

    def look(n: int) -> None:
        cores.stay_on_core(n)
        seen.append(os.sched_getaffinity(0))

    for n in range(len(every) + 1):
        thread = threading.Thread(target=look, args=(n,))
        thread.start()
        thread.join()
    assert seen == [{core} for core in (*every, every[0])]
