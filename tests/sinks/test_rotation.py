"""Files of lines that rotate: nothing is lost, nothing is torn, and the order of names is the order of lines."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from fakes import poses_of
from hypothesis import given
from hypothesis import strategies as st
from test_sinks import INFO, result, small_disk  # noqa: F401

from streampose.errors import ConfigError, SinkFailed, SinkUnavailable
from streampose.sinks import JsonlSink, Rotation, jsonl, rotation
from streampose.sinks.jsonl import to_line
from streampose.sinks.rotation import rotate

NUMBERED = re.compile(r"o\.(\d{6,})\.jsonl")


def old_files(folder: Path) -> list[Path]:
    """In the order of their numbers."""
    return sorted((p for p in folder.iterdir() if NUMBERED.fullmatch(p.name)), key=lambda p: int(p.name.split(".")[1]))


def one(i: int, people: int):
    return replace(result(i), poses=poses_of(i, people=people))


@given(
    runs=st.lists(st.lists(st.integers(0, 3), max_size=12), min_size=1, max_size=4),
    max_bytes=st.integers(1, 4000),
    keep=st.none() | st.integers(1, 5),
)
def test_the_files_in_order_are_what_would_have_been_one(runs: list[list[int]], max_bytes: int, keep: int | None):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "o.jsonl"
        expected = []
        for people in runs:  # each of them a start of the program
            sink = JsonlSink(path, Rotation(max_bytes=max_bytes, keep=keep))
            sink.open("s", INFO)
            for i, n in enumerate(people):
                expected.append(to_line(one(i, n)))
                sink.write(one(i, n))
                assert path.read_bytes().endswith(expected[-1]), "the newest line is not in the file of that name"
            sink.close()
        files = [*old_files(folder), path]
        assert {*folder.iterdir()} == {*files}
        found = b"".join(file.read_bytes() for file in files)
        if keep is None:
            assert found == b"".join(expected)
        else:
            assert b"".join(expected).endswith(found)
            assert len(files) <= keep + 1
        for file in files:
            lines = file.read_bytes().splitlines(keepends=True)
            assert all(line in expected for line in lines), f"a torn line in {file.name}"
            assert len(lines) <= 1 or file.stat().st_size <= max_bytes
        assert all(file.stat().st_size for file in files[:-1])


def test_a_file_ends_when_it_is_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    now = 1000.0
    for module in (jsonl, rotation):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now))
    sink = JsonlSink(tmp_path / "o.jsonl", Rotation(max_age_s=60))
    sink.open("s", INFO)
    now += 100  # it is not old before its first line
    for i in (0, 1):
        sink.write(result(i))
        now += 59
    assert old_files(tmp_path) == []
    now += 1
    sink.write(result(2))
    sink.close()
    (old,) = old_files(tmp_path)
    assert old.read_bytes() == to_line(result(0)) + to_line(result(1))
    assert (tmp_path / "o.jsonl").read_bytes() == to_line(result(2))


def test_numbers_go_on_and_strangers_stay(tmp_path: Path):
    for name in (
        "o.20251128.jsonl",
        "o.000007.jsonl",
        "o.1000000.jsonl",
        "o.2.jsonl",
        "p.000009.jsonl",
        "o.000009.json",
    ):
        (tmp_path / name).write_text(name)
    path = tmp_path / "o.jsonl"
    rotate(path, keep=1)  # no file yet
    path.write_text("")
    rotate(path, keep=1)  # an empty one
    path.write_text("x")
    rotate(path, keep=1)
    strangers = {"o.20251128.jsonl", "o.2.jsonl", "p.000009.jsonl", "o.000009.json"}
    assert {p.name for p in tmp_path.iterdir()} == {"o.1000001.jsonl", *strangers}


def test_an_old_file_is_never_written_over_also_beyond_the_last_number(tmp_path: Path):
    (tmp_path / "o.9999999.jsonl").write_text("old")
    for text in ("one", "two", "three"):
        (tmp_path / "o.jsonl").write_text(text)
        rotate(tmp_path / "o.jsonl", keep=None)
    assert {p.read_text() for p in tmp_path.iterdir()} == {"old", "one", "two", "three"}


def test_a_link_stays_and_its_file_is_what_rotates(tmp_path: Path):
    (disk := tmp_path / "disk").mkdir()
    (link := tmp_path / "o.jsonl").symlink_to(disk / "o.jsonl")
    sink = JsonlSink(link, Rotation(max_bytes=1))
    sink.open("s", INFO)
    for i in (0, 1):
        sink.write(result(i))
    sink.close()
    assert link.is_symlink()
    assert [p.name for p in tmp_path.iterdir() if p != disk] == ["o.jsonl"]
    assert [p.read_bytes() for p in (*old_files(disk), disk / "o.jsonl")] == [to_line(result(0)), to_line(result(1))]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="files have no names by their numbers here")
def test_where_standard_output_goes_into_a_file_its_name_rotates_and_nothing_is_lost(tmp_path: Path):
    (disk := tmp_path / "disk").mkdir()
    with (disk / "o.jsonl").open("wb") as shared:
        # As /dev/stdout, which leads to /proc/self/fd/1.
        (link := tmp_path / "o.jsonl").symlink_to(f"/proc/self/fd/{shared.fileno()}")
        sink = JsonlSink(link, Rotation(max_bytes=1))
        sink.open("s", INFO)
        for i in range(4):
            sink.write(result(i))
        sink.close()
    assert [p.name for p in old_files(disk)] == [f"o.00000{i}.jsonl" for i in (1, 2, 3)]
    assert [p.read_bytes() for p in (*old_files(disk), disk / "o.jsonl")] == [to_line(result(i)) for i in range(4)]


@pytest.mark.parametrize("rotation", [None, Rotation(max_bytes=4 * len(to_line(result(0))) - 1)])
def test_a_file_that_another_program_empties_has_no_hole_and_is_as_long_as_it_is(
    tmp_path: Path, rotation: Rotation | None
):
    path = tmp_path / "o.jsonl"
    sink = JsonlSink(path, rotation)
    sink.open("s", INFO)
    for i in (0, 1):
        sink.write(result(i))
    os.truncate(path, 0)  # as logrotate's copytruncate
    for i in (2, 3):
        sink.write(result(i))
    sink.close()
    assert path.read_bytes() == to_line(result(2)) + to_line(result(3))
    assert old_files(tmp_path) == []


def test_without_rotation_it_is_overwritten(tmp_path: Path):
    (tmp_path / "o.jsonl").write_text("of last time\n")
    sink = JsonlSink(tmp_path / "o.jsonl")
    sink.open("s", INFO)
    sink.close()
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("o.jsonl", "")]


def test_a_full_disk_is_told_and_lines_stay_whole(small_disk: Path):  # noqa: F811
    sink = JsonlSink(small_disk / "o.jsonl", Rotation(max_bytes=8000))
    sink.open("s", INFO)
    lines = []

    def fill() -> None:
        for i in range(3000):
            sink.write(result(i))
            lines.append(to_line(result(i)))

    with pytest.raises(SinkFailed, match="No space left"):
        fill()
    sink.close()
    assert len(old_files(small_disk)) > 3
    assert b"".join(p.read_bytes() for p in [*old_files(small_disk), small_disk / "o.jsonl"]) == b"".join(lines)


def test_a_folder_that_is_gone_is_told(tmp_path: Path):
    folder = tmp_path / "gone"
    folder.mkdir()
    sink = JsonlSink(folder / "o.jsonl", Rotation(max_bytes=1))
    sink.open("s", INFO)
    (folder / "o.jsonl").unlink()
    folder.rmdir()
    sink.write(result(0))
    with pytest.raises(SinkFailed, match="No such file"):
        sink.write(result(1))
    sink.close()
    with pytest.raises(SinkUnavailable, match="create it first"):
        sink.open("s", INFO)


@pytest.mark.skipif(sys.platform != "linux", reason="another system's tail has other options")
def test_a_reader_that_follows_the_name_sees_every_line(tmp_path: Path):
    path = tmp_path / "o.jsonl"
    path.touch()
    with subprocess.Popen(
        ["tail", "-n", "+1", "-F", "-s", "0.02", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as tail:
        sink = JsonlSink(path, Rotation(max_bytes=4000))
        sink.open("s", INFO)
        assert tail.stdout is not None
        # It looks every 20 ms, or later on a busy machine: two files within one look would be one too many for it.
        (watchdog := threading.Timer(60, tail.kill)).start()
        for i in range(40):
            sink.write(result(i))
            assert tail.stdout.readline() == to_line(result(i)).decode()
        sink.close()
        watchdog.cancel()
        tail.send_signal(signal.SIGTERM)
        rest, _ = tail.communicate(timeout=10)
    assert rest == ""
    assert len(old_files(tmp_path)) >= 3


WRITER = """
import sys
sys.path[:0] = {path!r}
from test_sinks import INFO, result
from streampose.sinks import JsonlSink, Rotation, jsonl, rotation
sink = JsonlSink({file!r}, Rotation(max_bytes=2000))
sink.open("s", INFO)
i = 0
while True:
    sink.write(result(i))
    i += 1
"""


def test_a_kill_at_any_moment_loses_no_written_line(tmp_path: Path):
    total = 0
    for _ in range(3):
        program = WRITER.format(path=[p for p in sys.path if p], file=str(tmp_path / "o.jsonl"))
        with subprocess.Popen([sys.executable, "-c", program]) as writer:
            deadline = time.monotonic() + 60
            while len(old_files(tmp_path)) < total + 20:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            writer.kill()
        total = len(old_files(tmp_path))
    path = tmp_path / "o.jsonl"
    files = [*old_files(tmp_path), *([path] if path.exists() else [])]
    numbers = [json.loads(line)["frame"] for file in files for line in file.read_text().splitlines()]
    begins = [i for i, number in enumerate(numbers) if number == 0]
    assert len(begins) == 3
    for begin, end in zip(begins, [*begins[1:], len(numbers)], strict=True):
        assert numbers[begin:end] == list(range(end - begin))


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_bytes": -1},
        {"max_bytes": 0},
        {"max_bytes": "x"},
        {"max_age_s": 0},
        {"max_age_s": "x"},
        {"keep": 0},
        {"keep": 1.5},
    ],
)
def test_what_would_begin_a_file_for_each_line_or_keep_no_old_one_is_refused(wrong: dict[str, object]):
    (name,) = wrong
    with pytest.raises(
        ConfigError, match=f"{name} is (at least 1|more than 0|a whole number of files), not {wrong[name]}"
    ):
        Rotation(**wrong)
