"""The comparison with peers: pictures say when they were sent, also after H.264 and RTSP."""

from __future__ import annotations

import importlib
import json
import time
from pathlib import Path

import numpy as np
import pytest
from servers.rtsp import RtspServer, has_gstreamer

from streampose.sources import NetworkSource


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("peers")


@pytest.mark.assets
@pytest.mark.rtsp
@pytest.mark.skipif(not has_gstreamer(), reason="needs GStreamer's RTSP server")
def test_ages_of_pictures_of_a_real_server(peers, assets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    watcher = importlib.import_module("watcher")
    monkeypatch.setattr(peers, "FRAMES", 60)
    monkeypatch.setattr(watcher, "FRAMES", 60)
    peers.clip(tmp_path / "clip", assets / "videos" / "pose2sim_single_cam03.mp4")
    server = RtspServer("--clip", str(tmp_path / "clip"), "--streams", "2")
    source = NetworkSource(server.url("live1"), transport="tcp")
    try:
        source.open("s")
        seen = watcher.Watcher(2, seconds=1.0, warm_up_s=0.2)
        while (frame := source.read()) is not None and seen.saw(1, frame.image, people=1):
            pass
    finally:
        source.close()
        server.kill()
    report = json.loads(seen.report())
    figures = peers.figures(seen.report(), seconds=1.0, budget_s=0.2)
    assert report["ages_s"][0] == []
    assert 15 <= len(report["ages_s"][1]) == report["people"] <= 32
    # FFmpeg's parser holds a picture of H.264 back until the next one begins.
    assert 30 <= figures["p50_ms"] < 500
    assert figures["fps"] == len(report["ages_s"][1])


def test_every_number_is_read(peers):
    watcher = importlib.import_module("watcher")
    picture = np.random.default_rng(0).integers(0, 255, (360, 640, 3), np.uint8)
    for number in range(watcher.FRAMES):
        watcher.stamp(picture, number)
        assert watcher.number_of(picture) == number


def test_an_age_is_from_when_a_camera_sent_it(peers, monkeypatch: pytest.MonkeyPatch):
    watcher = importlib.import_module("watcher")
    now = 1000 * watcher.FRAMES / watcher.RATE
    monkeypatch.setattr(time, "monotonic", lambda: now)
    picture = np.zeros((360, 640, 3), np.uint8)
    seen = watcher.Watcher(4, seconds=10.0, warm_up_s=0.5)
    assert seen.saw(0, picture, 0)  # of the warm-up
    watcher.stamp(picture, 30)
    now += 1.75
    assert seen.saw(2, picture, 3)
    now += 10
    assert not seen.saw(2, picture, 3)
    ages = json.loads(seen.report())["ages_s"]
    assert ages == [[], [], [pytest.approx(0.75 - 0.5 / watcher.RATE, abs=1e-3)], []]
