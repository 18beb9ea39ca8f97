from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_quick_run_writes_every_policy_of_every_cell(tmp_path: Path):
    figures = tmp_path / "batching.json"
    run = subprocess.run(
        [sys.executable, "benchmarks/batching.py", "--quick", "--processes", "1", "--json", str(figures)],
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert run.returncode == 0, run.stderr
    whole = json.loads(figures.read_text())
    assert len(whole["grid"]) >= 4
    assert len(whole["plotted"]) == 2
    assert len(whole["cold"]) == 1
    for row in (*whole["grid"], *whole["plotted"], *whole["cold"]):
        assert len(row["policies"]) == 10
        for name, policy in row["policies"].items():
            assert policy["goodput"] <= row["ceiling"] <= row["bound"] <= row["captured"], name
            assert policy["goodput"] + policy["late"] + sum(policy["drops"].values()) <= row["captured"] + 200
    assert "latency" in run.stdout
