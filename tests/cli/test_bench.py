"""`streampose bench`, run for real on small models."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_run import clip, command, models  # noqa: F401 - fixtures


def plain(err: str) -> str:
    return " ".join(err.split())


def test_figures_of_a_file(command, models, clip: Path, tmp_path: Path):  # noqa: F811
    out = tmp_path / "bench.json"
    code, stdout, err = command("bench", clip, *models, "--json", out)
    assert (code, stdout) == (0, "")
    for words in ("rate", "latency p50", "models alone", "memory", "frames in a batch", "diagnosis", "decode software"):
        assert words in plain(err)
    report = json.loads(out.read_text())
    figures = report["figures"]
    assert figures["captured"] == sum(figures["delivered"].values()) == 30
    assert sum(int(size) * count for size, count in figures["batches"].items()) == 30
    assert figures["fps"] == pytest.approx(30 / figures["elapsed_s"])
    assert figures["of_bound"] == pytest.approx(figures["fps"] / figures["bound_fps"])
    assert 0 < figures["busy"] <= 1
    assert figures["latency_s"]["p50"] <= figures["latency_s"]["p90"] <= figures["latency_s"]["p99"]
    assert {"decode", "wait", "finish"} <= set(figures["stages_s"])
    assert all(seconds >= 0 for seconds in figures["stages_s"].values())
    assert report["machine"]["cores"] >= 1
    assert any("only 30 frames" in line for line in report["diagnosis"])


def test_a_short_file_counts_from_its_first_frame(command, models, clip: Path):  # noqa: F811
    code, stdout, _ = command("bench", clip, *models, "--no-bound", "--seconds", 60, "--json", "-")
    assert code == 0
    assert json.loads(stdout)["figures"]["captured"] == 30


def test_a_source_that_gave_nothing_is_a_failure(command, models, clip: Path, monkeypatch):  # noqa: F811
    monkeypatch.setattr("streampose.meter.Metered.read", lambda self: None)
    code, _, err = command("bench", clip, *models, "--no-bound")
    assert code == 1
    assert "nothing was delivered: see the errors above, or measure for longer (--seconds)" in plain(err)


def test_live_streams_of_drawn_figures(command, models):  # noqa: F811
    code, stdout, err = command(
        "bench",
        "synthetic:?size=160x120",
        *models,
        "--live",
        "--streams",
        3,
        "--seconds",
        1,
        "--json",
        "-",
        "--no-bound",
    )
    assert code == 0, err
    figures = json.loads(stdout)["figures"]
    assert figures["live"]
    assert figures["source_fps"] == 90
    assert len(figures["delivered"]) == 3
    # Three times 30 fps for a second: paced, not as fast as it goes.
    assert 60 <= figures["captured"] <= 100
    assert figures["bound_fps"] is None
    assert "Jain" in err


def test_frames_are_counted_for_each_stream(command, models):  # noqa: F811
    code, stdout, _ = command(
        "bench", "synthetic:?size=160x120", *models, "--frames", 20, "--streams", 2, "--no-bound", "--json", "-"
    )
    assert code == 0
    assert list(json.loads(stdout)["figures"]["delivered"].values()) == [20, 20]


def test_what_makes_no_sense(command, models, tmp_path: Path):  # noqa: F811
    for arguments, words in [
        (["--frames", 5, "--seconds", 5], "not both"),
        (["--json", tmp_path / "none" / "b.json"], "create it first"),
        (["--seconds", 0.3, "--json", tmp_path], "cannot be written"),
        (["--hwaccel", "cudaa"], "there are: none, auto"),
        ([tmp_path / "none.mp4"], "no file at"),
        (["--budget", "soon", "--live"], "not a time"),
    ]:
        code, _, err = command("bench", *models, *arguments)
        assert code == 1, arguments
        assert words in err
        assert len([line for line in err.splitlines() if line.startswith("error: ")]) == 1


def test_ctrl_c_gives_the_figures_so_far(models):  # noqa: F811
    arguments = ["bench", "synthetic:?size=160x120", *map(str, models), "--seconds", "600", "--no-bound", "--json", "-"]
    process = subprocess.Popen(
        [sys.executable, "-m", "streampose", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    process.stderr.readline()  # the models are loaded
    time.sleep(2.5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert json.loads(out)["figures"]["elapsed_s"] < 10
    assert sum(json.loads(out)["figures"]["delivered"].values()) > 0
    assert "Traceback" not in err
