from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from test_sinks import INFO, result, small_disk  # noqa: F401

from streampose.errors import SinkFailed, SinkUnavailable
from streampose.sinks import SnapshotSink


def look(path: Path) -> int:
    """The brightness of a whole JPEG."""
    data = path.read_bytes()
    assert data[:2] == b"\xff\xd8", "it does not begin like a JPEG"
    assert data[-2:] == b"\xff\xd9", "it does not end like a JPEG"
    return round(float(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE).mean()))


def test_the_newest_picture_every_so_often(tmp_path: Path):
    sink = SnapshotSink(tmp_path / "door.jpg", every_s=0.15)
    sink.open("door", INFO)
    seen = []
    begun = time.monotonic()
    for i in range(31):
        sink.write(result(i))
        seen.append(look(tmp_path / "door.jpg"))
        time.sleep(0.02)
    took = time.monotonic() - begun
    sink.close()
    changes = [0, *(i for i in range(1, 31) if seen[i] != seen[i - 1])]
    assert all(seen[i] == pytest.approx(8 * i, abs=2) for i in changes)
    assert 2 <= len(changes) <= 1 + took / 0.15
    assert [p.name for p in tmp_path.iterdir()] == ["door.jpg"]


def test_whoever_looks_sees_a_whole_picture(tmp_path: Path):
    path = tmp_path / "o.jpg"
    sink = SnapshotSink(path, every_s=0.0)
    sink.open("s", INFO)
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    sink.write(replace(result(0), picture=noise))
    stop, looks, torn = threading.Event(), 0, []

    def read() -> None:
        nonlocal looks
        while not stop.is_set():
            data = path.read_bytes()
            looks += 1
            if data[:2] != b"\xff\xd8" or data[-2:] != b"\xff\xd9":
                torn.append(len(data))

    reader = threading.Thread(target=read)
    reader.start()
    for i in range(100):
        sink.write(replace(result(i), picture=np.roll(noise, i)))
    stop.set()
    reader.join()
    assert looks > 100
    assert not torn


def test_a_full_disk_leaves_the_last_one(small_disk: Path):  # noqa: F811
    sink = SnapshotSink(small_disk / "o.jpg", every_s=0.0)
    sink.open("s", INFO)
    sink.write(result(3))
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    with pytest.raises(SinkFailed, match="No space left"):
        sink.write(replace(result(4), picture=noise))
    sink.close()
    assert look(small_disk / "o.jpg") == pytest.approx(24, abs=2)
    assert [p.name for p in small_disk.iterdir()] == ["o.jpg"]


def test_another_kind_of_file_is_told(tmp_path: Path):
    with pytest.raises(SinkUnavailable, match=r"a \.jpg, not \.png"):
        SnapshotSink(tmp_path / "o.png").open("s", INFO)
