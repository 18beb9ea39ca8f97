"""The rules of the house that a machine can check."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import streampose

PACKAGE = Path(streampose.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

# Lower may not import higher, and parts may not import one another.
LEVELS = [
    {"arenas", "errors", "redaction", "clock", "interrupt", "loop", "naming", "number"},
    {"typed"},
    {"frame", "pose", "skeletons", "result", "clip", "whole"},
    {
        "channel",
        "worker",
        "cores",
        "metrics",
        "backoff",
        "resolver",
        "evaluation",
        "figures",
        "diagnosis",
        "gauges",
        "formats",
        "motion",
    },
    {"batching", "inference", "sources", "tracking", "render", "sinks"},
    {"streams", "share", "finisher", "engine_thread", "patience", "flow", "pipeline"},
    {"api", "handover", "images", "measure", "meter", "observe", "preview", "offline"},
    {"web"},
    {"cli", "public", "__init__", "__main__"},
]
LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names}
PARTS = LEVELS[4]


def imports(path: Path) -> list[str]:
    """What a file imports, also inside functions."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append(node.module or "")
    return found


def part_of(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_downwards(path: Path):
    me = part_of(path)
    for name in imports(path):
        if not name.startswith("streampose."):
            continue
        other = name.split(".")[1]
        assert LEVEL[other] < LEVEL[me] or other == me or (LEVEL[me] == LEVEL[other] and me not in PARTS), (
            f"{path.name} imports {name}"
        )


def test_each_library_has_its_place():
    for path in FILES:
        roots = {name.split(".")[0] for name in imports(path)}
        relative = path.relative_to(PACKAGE).as_posix()
        # Sessions are opened in one place and run in another; the converter to 16 bits comes with the runtime, and its
        # threads copy pictures.
        runtime = {f"inference/{name}.py" for name in ("providers", "runner", "half", "joiner")}
        assert "onnxruntime" not in roots or relative in runtime, relative
        # What WebRTC brings and takes are PyAV's frames.
        media = relative.startswith(("sources/", "sinks/", "web/")) or relative == "cli/doctor.py"
        assert "av" not in roots or media, relative
        assert not roots & {"aiortc", "aioice"} or relative.startswith("web/"), relative


def test_the_layout_names_every_file_beside_the_parts():
    layout = (PACKAGE.parent / "docs" / "design.md").read_text().partition("## Layout")[2].partition("## Core")[0]
    assert [path.name for path in PACKAGE.glob("[!_]*.py") if path.name not in layout] == []


def test_the_page_on_the_design_has_these_levels():
    block = (PACKAGE.parent / "docs" / "design.md").read_text().partition("### Imports")[2].partition("\n- ")[0]
    lines = [line.removeprefix("    ").removeprefix("← ") for line in block.splitlines() if line.startswith("    ")]
    levels = [{name for name in names if not name.startswith("__")} for names in LEVELS]
    assert [set(line.split(", ")) for line in lines] == levels


def test_only_the_pipeline_starts_tasks():
    for path in FILES:
        text = path.read_text()
        if ".create_task(" in text:
            relative = path.relative_to(PACKAGE).as_posix()
            # The batcher's are its batches; the short way, the commands and the measurement start the pipeline itself;
            # a signal's handler cannot wait for the streams that it changes. Sessions of visitors own their tasks.
            assert relative in {
                "pipeline.py",
                "flow.py",
                "batching/batcher.py",
                "api.py",
                "cli/session.py",
                "offline/process.py",
                "cli/roster.py",
                "cli/serve.py",
                "web/tasks.py",
                "measure.py",
            }, relative


def test_the_public_face_is_explicit_and_there():
    for name in streampose.__all__:
        assert getattr(streampose, name) is not None
    assert set(streampose.__all__) <= set(dir(streampose))
    everything: dict[str, object] = {}
    exec("from streampose import *", everything)
    assert everything.keys() - {"__builtins__"} == set(streampose.__all__)
    assert not hasattr(streampose, "Cubist")
    assert (PACKAGE / "py.typed").exists()
