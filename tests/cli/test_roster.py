"""Streams of a file that is read again, where they are in one another's way."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from fakes import FakeEstimator, MemorySink, ScriptedSource
from test_config import frames, hang_up

from streampose.cli.config import StreamEntry, load_config
from streampose.cli.outputs import Outputs
from streampose.cli.roster import Roster
from streampose.errors import SourceUnauthorized
from streampose.frame import StreamInfo
from streampose.pipeline import Pipeline
from streampose.sinks import JsonlSink, Rotation
from streampose.streams import Outcome, Stream

pytestmark = hang_up

ReadAgain = Callable[[str], Awaitable[str]]


@pytest.fixture
def read_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[ReadAgain]:
    """Writes the file, hangs up, and gives what is said of it."""
    before = signal.getsignal(signal.SIGHUP)

    async def again(text: str) -> str:
        (tmp_path / "cameras.toml").write_text(text)
        os.kill(os.getpid(), signal.SIGHUP)
        async with asyncio.timeout(10):
            while not (said := capsys.readouterr().err):
                await asyncio.sleep(0.01)
        return said

    yield again
    signal.signal(signal.SIGHUP, before)


@contextlib.asynccontextmanager
async def running(folder: Path, text: str, make: Callable[..., list[Stream]]):
    """The pipeline of such a file, while the file is followed, and its run."""
    (file := folder / "cameras.toml").write_text(text)
    known = load_config(file)
    roster = Roster(file, known, make)
    streams = make(known.streams, list(known.streams))
    with roster.listening():
        async with Pipeline(streams, FakeEstimator()) as pipeline:
            run = asyncio.create_task(pipeline.run())
            try:
                with roster.following(pipeline):
                    yield pipeline, run
            finally:
                pipeline.stop()
                await run


async def opened(pipeline: Pipeline) -> None:
    async with asyncio.timeout(10):
        while any(report.info is None for report in pipeline.reports.values()):
            assert {report.error for report in pipeline.reports.values()} == {None}
            await asyncio.sleep(0.01)


async def test_the_only_stream_may_have_another_name_where_its_outputs_keep_theirs(
    read_again: ReadAgain, tmp_path: Path
):
    one, now = tmp_path / "one.jsonl", tmp_path / "now.jpg"
    outputs = Outputs(json=str(one), rotation=Rotation(max_bytes=10**9), snapshot=str(now))

    def make(entries: Mapping[str, StreamEntry], names: Sequence[str]) -> list[Stream]:
        outputs.check({name: entry.source for name, entry in entries.items()})
        return [
            Stream(
                name=name,
                source=ScriptedSource(range(100_000), live=True, period_s=0.01),
                sinks=outputs.sinks(name, live=True),
            )
            for name in names
        ]

    async def written(name: str) -> None:
        async with asyncio.timeout(10):
            while not (frames(one) and f'"{name}"' in one.read_text()):
                await asyncio.sleep(0.01)

    async with running(tmp_path, "[streams.a]\nsource = '0'\n", make) as (pipeline, run):
        await written("a")
        assert "1 added, 0 changed, 1 removed" in await read_again("[streams.b]\nsource = '1'\n")
        await written("b")
        assert not run.done()
        assert set(pipeline.reports) == {"b"}
    assert '"a"' in (tmp_path / "one.000001.jsonl").read_text()
    assert now.exists()


async def test_a_camera_is_let_go_before_it_has_another_name_and_what_could_not_be_is_tried_again(
    read_again: ReadAgain, tmp_path: Path
):
    class Camera(ScriptedSource):
        """One at a time has it."""

        def __init__(self, lock: threading.Lock) -> None:
            super().__init__(range(100_000), live=True, period_s=0.01)
            self._lock = lock

        def open(self, stream: str) -> StreamInfo:
            if not self._lock.acquire(blocking=False):
                raise SourceUnauthorized("another program has it")
            return super().open(stream)

        def close(self) -> None:
            if self.opened:
                self._lock.release()

    cameras = {number: threading.Lock() for number in "012"}
    files = {"yard": tmp_path / "o.jsonl", "gate": tmp_path / "o.jsonl"}

    def make(entries: Mapping[str, StreamEntry], names: Sequence[str]) -> list[Stream]:
        return [
            Stream(
                name=name,
                source=Camera(cameras[entries[name].source]),
                sinks=[JsonlSink(files[name])] if name in files else [MemorySink()],
            )
            for name in names
        ]

    renamed = "[streams.door]\nsource = '1'\n[streams.yard]\nsource = '0'\n"
    more = f"{renamed}weight = 2\n[streams.gate]\nsource = '2'\n"
    async with running(tmp_path, "[streams.a]\nsource = '0'\n[streams.b]\nsource = '1'\n", make) as (pipeline, _):
        await opened(pipeline)
        assert "2 added, 0 changed, 2 removed" in await read_again(renamed)
        await opened(pipeline)
        assert "not everything was changed: streams 'gate' and 'yard' write one file" in await read_again(more)
        files["gate"] = tmp_path / "p.jsonl"
        assert "1 added, 1 changed, 0 removed" in await read_again(more)
    outcomes = {name: report.outcome for name, report in pipeline.reports.items()}
    assert outcomes == dict.fromkeys(("door", "yard", "gate"), Outcome.STOPPED)
