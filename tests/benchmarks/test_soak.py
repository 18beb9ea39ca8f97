"""The soak in its short form: 8 streams, random faults; all that it asks for, but for the slope of memory.

In under a minute memory has no slope yet; `benchmarks/soak.py` takes half an hour for that.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from servers.rtsp import has_gstreamer

SOAK = Path(__file__).parents[2] / "benchmarks" / "soak.py"


@pytest.mark.skipif(not has_gstreamer(), reason="GStreamer's RTSP server is absent (gir1.2-gst-rtsp-server-1.0)")
@pytest.mark.timeout(180)
def test_eight_streams_with_random_faults(tmp_path: Path):
    path = tmp_path / "soak.json"
    command = [sys.executable, str(SOAK), "--minutes", "0.6", "--most-age-s", "10", "--json", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert path.exists(), done.stderr
    row = json.loads(path.read_text())["soak"]
    assert row["not as asked for"] == [], row
    assert done.returncode == 0, done.stderr
    assert sum(row["faults"].values()) >= 6  # one at least of each camera that has any
    lose = sum(row["faults"].get(name, 0) for name in ("killed", "silent", "held", "reset", "half_open"))
    assert sum(row["lost"].values()) >= lose >= 1
    frames = row["frames"]
    # What a sink was too slow for had been delivered.
    before = sum(n for cause, n in frames["dropped"].items() if not cause.startswith("sink"))
    assert frames["captured"] == frames["delivered"] + before
    assert 0 <= frames["given"] - frames["captured"] <= 8
    assert frames["healthy"] > 300
    assert row["rss MB: first, after warm-up, last, most"][-1] < 600
