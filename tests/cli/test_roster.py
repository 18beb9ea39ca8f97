"""Streams of a file that is read again, where they are in one another's way."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
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
from streampose.streams import Stream

pytestmark = hang_up

ReadAgain = Callable[[str], Awaitable[str]]
Make = Callable[[Mapping[str, StreamEntry], Sequence[str]], list[Stream]]


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
async def running(folder: Path, text: str, make: Make):
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


class Camera(ScriptedSource):
    """One at a time has it, and that of a slow driver is let go slowly."""

    def __init__(self, lock: threading.Lock, *, slow: bool) -> None:
        super().__init__(range(100_000), live=True, period_s=0.01)
        self._lock, self._slow = lock, slow

    def open(self, stream: str) -> StreamInfo:
        if not self._lock.acquire(blocking=False):
            raise SourceUnauthorized("another program has it")
        return super().open(stream)

    def close(self) -> None:
        if self.opened:
            if self._slow:
                time.sleep(0.1)
            self._lock.release()


@pytest.fixture
def make() -> Make:
    """Streams of cameras, of which the second has a slow driver."""
    cameras = {number: threading.Lock() for number in "0123"}

    def made(entries: Mapping[str, StreamEntry], names: Sequence[str]) -> list[Stream]:
        return [
            Stream(
                name=name,
                source=Camera(cameras[entries[name].source], slow=entries[name].source == "1"),
                sinks=[MemorySink()],
            )
            for name in names
        ]

    return made


def text(streams: str) -> str:
    """Such as ``a=0 b=1``, as a file has it."""
    pairs = (stream.split("=") for stream in streams.split())
    return "".join(f"[streams.{name}]\nsource = '{camera}'\n" for name, camera in pairs)


@pytest.mark.parametrize(
    ("then", "said"),
    [
        ("a=1 b=0", "0 added, 2 changed, 0 removed"),
        ("a=1", "0 added, 1 changed, 1 removed"),
        ("a=1 b=2", "0 added, 2 changed, 0 removed"),
        ("c=1", "1 added, 0 changed, 2 removed"),
        ("b=0 c=1", "1 added, 1 changed, 1 removed"),
    ],
)
async def test_a_camera_is_let_go_before_another_stream_opens_it(
    read_again: ReadAgain, tmp_path: Path, make: Make, then: str, said: str
):
    async with running(tmp_path, text("a=0 b=1"), make) as (pipeline, run):
        await opened(pipeline)
        assert said in await read_again(text(then))
        await opened(pipeline)
        assert sorted(pipeline.reports) == [stream.split("=")[0] for stream in then.split()]
        assert not run.done()


async def test_what_could_not_be_is_all_told_and_tried_again_and_what_could_be_is_kept_and_goes_when_it_is_gone(
    read_again: ReadAgain, tmp_path: Path, make: Make
):
    one = tmp_path / "one.jsonl"
    files = dict.fromkeys(("yard", "gate", "hall"), one)

    def writing(entries: Mapping[str, StreamEntry], names: Sequence[str]) -> list[Stream]:
        made = make(entries, names)
        return [replace(s, sinks=[JsonlSink(files[s.name])]) if s.name in files else s for s in made]

    start = text("yard=0")
    more = f"{start}weight = 2\n" + text("gate=3 hall=2 door=1")
    refused = [f"not everything was changed: streams {name!r} and 'yard' write one file" for name in ("gate", "hall")]
    async with running(tmp_path, start, writing) as (pipeline, _):
        await opened(pipeline)
        said = await read_again(more)
        assert "1 added, 1 changed, 0 removed" in said
        assert all(words in said for words in refused)
        assert set(pipeline.reports) == {"yard", "door"}
        await opened(pipeline)
        door = pipeline.reports["door"]
        files["hall"] = tmp_path / "hall.jsonl"
        said = await read_again(more)
        assert "1 added, 0 changed, 0 removed" in said
        assert refused[0] in said
        await opened(pipeline)
        assert pipeline.reports["door"] is door
        assert "0 added, 1 changed, 2 removed" in await read_again(start)
        assert set(pipeline.reports) == {"yard"}


async def test_a_stream_that_gave_way_to_one_that_could_not_be_comes_back_with_the_file(
    read_again: ReadAgain, tmp_path: Path, make: Make
):
    one = tmp_path / "one.jsonl"

    def writing(entries: Mapping[str, StreamEntry], names: Sequence[str]) -> list[Stream]:
        return [s if s.name == "door" else replace(s, sinks=[JsonlSink(one)]) for s in make(entries, names)]

    async with running(tmp_path, text("door=0 yard=2"), writing) as (pipeline, _):
        await opened(pipeline)
        said = await read_again(text("gate=1 yard=2"))
        assert "0 added, 0 changed, 1 removed" in said
        assert "not everything was changed: streams 'gate' and 'yard' write one file" in said
        assert "1 added, 0 changed, 0 removed" in await read_again(text("door=0 yard=2"))
        await opened(pipeline)
        assert set(pipeline.reports) == {"door", "yard"}
