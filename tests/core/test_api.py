from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from dots import build
from fakes import ScriptedSource

import streampose
from streampose.errors import ModelNotFound, SourceNotFound


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return build(tmp_path / "m.onnx", "rtmo", size=(64, 64))


async def test_every_frame_of_a_recording(model: Path):
    source = streampose.SyntheticSource(width_px=64, height_px=64, seconds=1, live=False)
    indices = [r.frame.index async for r in streampose.stream(source, model=model, pictures=True)]
    assert indices == list(range(30))


async def test_leaving_the_loop_early_ends_everything(model: Path):
    source = ScriptedSource(range(10_000))
    results = streampose.stream(source, model=model)
    async for result in results:
        if result.frame.index == 5:
            break
    await results.aclose()
    assert source.closed == 1


async def test_a_failure_comes_after_the_results(model: Path):
    source = ScriptedSource([0, 1, 2, SourceNotFound("gone")])
    results = streampose.stream(source, model=model)
    assert [(await anext(results)).frame.index for _ in range(3)] == [0, 1, 2]
    with pytest.raises(SourceNotFound):
        await anext(results)


async def test_what_is_missing_is_said_at_once():
    with pytest.raises(ModelNotFound):
        await anext(streampose.stream("synthetic:", model="none.onnx"))
    with pytest.raises(SourceNotFound):
        await anext(streampose.stream("none.mp4", model="none.onnx"))


def test_nothing_is_told_about_the_machine(model: Path, tmp_path: Path):
    home = tmp_path / "home"
    home.mkdir()
    # The runtime keeps still in what looks like CI, so next to nothing of this environment goes on.
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PYTHONPATH": str(Path(streampose.__file__).parents[1]),
    }
    code = (
        f"import streampose as s, pathlib; s.load_estimator(s.ModelChoice(model=pathlib.Path({str(model)!r}))).close()"
    )
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)
    assert not list(home.rglob("*onnxruntime*"))  # where it notes what it is going to send
