"""What decides whether work of an earlier run, or version, is done anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from test_process import FAST, clip, command  # noqa: F401 - a fixture

from streampose.inference.engine import EngineOptions
from streampose.inference.loading import ModelChoice
from streampose.offline.inputs import find_inputs
from streampose.offline.job import Job
from streampose.offline.plan import Plan

# What the first version (9f202d4) made of these.
FOUND = {
    "synthetic:?seconds=1": "e45387e7e8cb49a0ffdae8ad",
    "a.mp4": "056427557c780c8a878d3caf",
    "b.ts": "ac324bd3ce4018f301d51877",
    "shots": "62af077b8937ac18e309f1d2",
}


def test_what_earlier_versions_found_is_done_anew_only_where_it_was_read_in_another_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    Path("shots").mkdir()
    for name in ("model.onnx", "a.mp4", "b.ts", "shots/0.png", "shots/1.png"):
        Path(name).touch()
        os.utime(name, (0, 0))
    model = Path("model.onnx")
    plan = Plan(choice=ModelChoice(detector=model, pose=model), engine=EngineOptions())
    found = {text: plan.found(Job(input=find_inputs([text])[0], folder=Path("out"))) for text in FOUND}
    assert {text for text in FOUND if found[text] != FOUND[text]} == {"b.ts"}  # may be joined


def test_a_version_whose_second_pass_is_another_needs_no_model(
    command,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    arguments = ["process", clip(tmp_path / "a.mp4"), "-o", tmp_path / "out", *FAST]
    with monkeypatch.context() as earlier:
        earlier.setattr("streampose.offline.plan.REFINED", 1)
        assert command(*arguments)[0] == 0
    before = (tmp_path / "out" / "a.jsonl").stat().st_mtime_ns
    code, err = command(*arguments)
    assert (code, "30 of them before" in err) == (0, True)
    assert (tmp_path / "out" / "a.jsonl").stat().st_mtime_ns > before


def test_a_version_that_draws_in_another_way_draws_anew_and_needs_no_model(
    command,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    arguments = ["process", clip(tmp_path / "a.mp4"), "-o", tmp_path / "out", *FAST, "--draw", "coco"]
    drawn, poses = tmp_path / "out" / "a.coco.mp4", tmp_path / "out" / "a.jsonl"
    with monkeypatch.context() as earlier:
        earlier.setattr("streampose.offline.plan.DRAWN", 1)
        assert command(*arguments)[0] == 0
    before = poses.stat().st_mtime_ns, drawn.stat().st_mtime_ns
    code, err = command(*arguments)
    assert (code, "30 of them before" in err) == (0, True)
    assert poses.stat().st_mtime_ns == before[0]
    assert drawn.stat().st_mtime_ns > before[1]
    assert "a: there already" in command(*arguments)[1]
