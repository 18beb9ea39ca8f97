"""The GPU table, rehearsed on the CPU: every step runs, so that a machine with a GPU is not the first to try it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from streampose.inference.engine import provider_report

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCHMARKS / "gpu.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.assets
@pytest.mark.timeout(300)
def test_a_rehearsal_on_the_cpu(assets: Path, tmp_path: Path):
    rehearse = ("--device", "cpu", "--quick", "--assets", assets, "--json", tmp_path / "r.json")
    # Every way with one model, and the figures of the other are added to them.
    few = "one session,TensorRT with CPU preprocessing"
    for only in (("--models", "rtmdet"), ("--models", "yolov8n", "--ways", few, "--add")):
        done = run(*rehearse, *only)
        assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["quick"]
    assert [len(ways) for ways in report["models"].values()] == [10, 2]
    for ways in report["models"].values():
        figures = ways["one session"]
        assert figures["of_alone"] == pytest.approx(figures["pipeline_fps"] / figures["alone_fps"])
        assert figures["over_loop"] == pytest.approx(figures["pipeline_fps"] / figures["loop_fps"])
        assert figures["pipeline_fps"] > 0
        assert figures["utilisation"] is None
        assert 0 <= figures["streams"] <= 2
        assert figures["streams_tried"]
        assert "left_out" in ways["TensorRT with CPU preprocessing"]
    assert all(figures["frames"] == 12 for figures in report["decoding"].values())


@pytest.mark.skipif(provider_report()["cuda"] is None, reason="this machine has a GPU")
def test_without_a_gpu_it_says_so():
    done = run()
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("no GPU to measure: ")
    assert done.stderr.count("\n") == 1


def test_the_most_is_found_by_bisection(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from gpu import most

    for limit in (1, 2, 7, 128):
        for true in range(limit + 1):
            asked: list[int] = []

            def check(count: int, true: int = true, asked: list[int] = asked) -> bool:
                asked.append(count)
                return count <= true

            assert most(check, limit) == true
            assert len(asked) == len(set(asked)) <= 15
            assert max(asked) <= limit
