"""Outputs that hang hold up no stop for ever; those that are slow are waited for."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
import threading
import time
from pathlib import Path

import pytest
from fakes import FakeEstimator, MemorySink, ScriptedSource

from streampose.errors import SinkFailed
from streampose.patience import Patience
from streampose.pipeline import Pipeline
from streampose.sinks import JsonlSink, Sink
from streampose.streams import Outcome, Stream
from streampose.worker import Worker


def camera(name: str, *sinks: Sink) -> Stream:
    return Stream(name=name, source=ScriptedSource(range(100_000), live=True, period_s=0.003), sinks=sinks)


async def seen(sink: MemorySink, count: int) -> None:
    async with asyncio.timeout(10):
        while len(sink.results) < count:
            await asyncio.sleep(0.005)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no FIFOs in its file system")
@pytest.mark.parametrize("begun", [True, False])
async def test_a_fifo_that_nobody_reads_holds_up_no_stop_and_its_stream_alone_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, *, begun: bool
):
    monkeypatch.setattr(Patience, "limit_s", 0.3)
    os.mkfifo(fifo := tmp_path / "poses.jsonl")
    caplog.set_level(logging.INFO, logger="streampose")
    reader = None
    if begun:
        reader, writer = (os.open(fifo, how | os.O_NONBLOCK) for how in (os.O_RDONLY, os.O_WRONLY))
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writer, bytes(1024))  # until it is full
        os.close(writer)
    other, well = MemorySink(), MemorySink()
    file = JsonlSink(tmp_path / "whole.jsonl")
    async with Pipeline([camera("stuck", JsonlSink(fifo), file, other), camera("well", well)], FakeEstimator()) as p:
        running = asyncio.create_task(p.run())
        await seen(well, 10)
        if begun:
            await seen(other, 10)
        p.stop()
        try:
            async with asyncio.timeout(10):
                reports = await running
        finally:  # its thread is let go
            os.close(os.open(fifo, os.O_RDONLY | os.O_NONBLOCK) if reader is None else reader)
    assert {name: report.outcome for name, report in reports.items()} == {
        "stuck": Outcome.FAILED,
        "well": Outcome.STOPPED,
    }
    assert type(reports["stuck"].error) is SinkFailed
    (told,) = [record.getMessage() for record in caplog.records if record.name == "streampose"]
    assert told.startswith(f"stuck failed: {fifo} took nothing for 0.3 s after the stop")
    if begun:
        *_, last = (tmp_path / "whole.jsonl").read_bytes().splitlines()
        assert json.loads(last)["frame"] == other.indices[-1]
        assert other.closed == 1


async def test_standard_output_that_takes_nothing_is_called_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Patience, "limit_s", 0.05)
    go_on = threading.Event()
    worker, patience = Worker(JsonlSink("-"), "sink"), Patience(live=True)
    patience.begin()
    try:
        with pytest.raises(SinkFailed, match=r"^standard output took nothing for 0\.05 s"):
            await patience.call(worker, go_on.wait, 10)
    finally:
        go_on.set()
        await patience.close(worker)


@pytest.mark.parametrize("error", [None, OSError("disk full"), TimeoutError("silent")])
async def test_an_output_that_took_something_while_the_loop_was_held_up_is_not_given_up(
    monkeypatch: pytest.MonkeyPatch, error: Exception | None
):
    monkeypatch.setattr(Patience, "limit_s", 0.02)
    go_on, gone_on = threading.Event(), threading.Event()

    def take() -> str:
        go_on.wait(10)
        if error is not None:
            raise error
        return "taken"

    worker, patience = Worker(MemorySink(), "sink"), Patience(live=True)
    patience.begin()
    taking = asyncio.create_task(patience.call(worker, take))
    await asyncio.sleep(0)
    worker.start(gone_on.set)  # it comes next
    go_on.set()
    assert gone_on.wait(10)
    time.sleep(0.03)  # the loop is held up, until the time is over
    (outcome,) = await asyncio.gather(taking, return_exceptions=True)
    assert outcome == (error or "taken")
    await patience.close(worker)


async def test_an_output_that_does_not_close_is_left_behind_and_one_line_says_which(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(Patience, "closing_s", 0.2)
    caplog.set_level(logging.INFO, logger="streampose")
    go_on, closed = threading.Event(), threading.Event()

    class Hangs(MemorySink):
        path = Path("poses.jsonl")

        def close(self):
            go_on.wait(10)
            super().close()
            closed.set()

    well = MemorySink()
    async with Pipeline([camera("stuck", Hangs()), camera("well", well)], FakeEstimator()) as pipeline:
        running = asyncio.create_task(pipeline.run())
        await seen(well, 3)
        pipeline.stop()
        reports = await running
    go_on.set()
    assert await asyncio.to_thread(closed.wait, 10)
    assert {name: report.outcome for name, report in reports.items()} == {
        "stuck": Outcome.FAILED,
        "well": Outcome.STOPPED,
    }
    assert type(reports["stuck"].error) is SinkFailed
    (told,) = [record.getMessage() for record in caplog.records if record.name == "streampose"]
    assert told.startswith("stuck failed: poses.jsonl did not close within 0.2 s, and was left behind")


@pytest.mark.parametrize("live", [True, False])
async def test_a_slow_output_is_waited_for_where_it_takes_something(monkeypatch: pytest.MonkeyPatch, *, live: bool):
    """Of a live stream within the limit, of a recording however long it takes."""
    monkeypatch.setattr(Patience, "limit_s", 0.8 if live else 0.02)
    begun = threading.Event()

    class Slow(MemorySink):
        def write(self, result):
            begun.set()
            super().write(result)

    sink = Slow(delay_s=0.3 if live else 0.1)
    one = Stream(name="a", source=ScriptedSource(range(100_000), live=live, period_s=0.005), sinks=[sink])
    async with Pipeline([one], FakeEstimator()) as pipeline:
        running = asyncio.create_task(pipeline.run())
        while not begun.is_set():
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)  # until others wait
        pipeline.stop()
        reports = await running
    assert reports["a"].outcome is Outcome.STOPPED
    assert len(sink.results) >= 3
    assert sink.closed == 1
