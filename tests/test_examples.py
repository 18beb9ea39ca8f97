"""The examples run, as their first lines say, on drawn figures or a short clip."""

from __future__ import annotations

import contextlib
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from servers.screen import XServer

import streampose

EXAMPLES = Path(__file__).parents[1] / "examples"


def start(folder: Path, name: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-X", "dev", "-W", "error", EXAMPLES / name, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=folder, timeout=100, check=False, env=os.environ | variables
    )


def run(folder: Path, name: str, *arguments: str) -> str:
    done = start(folder, name, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, width=160, height=96, pix_fmt="yuv420p")
        for level in range(12):
            frame = av.VideoFrame.from_ndarray(np.full((96, 160, 3), 20 * level, np.uint8), "bgr24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_what_the_page_on_python_shows_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """One snippet after the other, as somebody would type them, on smaller figures."""
    monkeypatch.chdir(tmp_path)
    text = (EXAMPLES.parent / "docs" / "python.md").read_text().replace("seconds=1", "seconds=0.2&size=320x240")
    typed: dict[str, object] = {"__name__": "typed"}
    for snippet in re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        exec(compile(snippet, "docs/python.md", "exec", dont_inherit=True), typed)
    assert typed["people"] == {"front": 1, "back": 1}
    assert len(streampose.load("back.jsonl")) == 6


def test_the_page_on_python_has_all_names_and_no_others():
    table = (EXAMPLES.parent / "docs" / "python.md").read_text().partition("## All names")[2].partition("\n\n")[0]
    assert sorted(re.findall(r"`(\w+)`", table)) == sorted(streampose.__all__)


def test_three_lines(tmp_path: Path, clip: Path):
    assert len(run(tmp_path, "three_lines.py", str(clip)).splitlines()) == 12


def test_push_frames(tmp_path: Path):
    with av.open(str(tmp_path / "people.mp4"), "w") as container:
        source = streampose.SyntheticSource(people=1, seconds=1, live=False)
        info = source.open("s")
        stream = container.add_stream("libx264", rate=30, width=info.width_px, height=info.height_px, pix_fmt="yuv420p")
        while (frame := source.read()) is not None:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame.image, "bgr24")))
        container.mux(stream.encode())
    lines = run(tmp_path, "push_frames.py", "people.mp4").splitlines()
    assert len(lines) >= 25
    assert lines[-1].startswith("frame 29: person 1 has the nose at ")


def test_a_reader_that_breaks_ends_the_source_that_it_pushes_into():
    class Broken:
        def read(self) -> tuple[bool, None]:
            raise RuntimeError("unplugged")

    source = streampose.PushSource()
    with pytest.raises(RuntimeError, match="unplugged"):
        runpy.run_path(str(EXAMPLES / "push_frames.py"))["feed"](source, Broken())
    assert not source.push(np.zeros((4, 4, 3), np.uint8))


def test_files_to_video(tmp_path: Path, clip: Path):
    assert "clip 12 frames" in run(tmp_path, "files_to_video.py", str(clip))
    with av.open(str(tmp_path / "clip.poses.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 12


def test_files_to_video_of_one_name(tmp_path: Path, clip: Path):
    (tmp_path / "other").mkdir()
    other = shutil.copy(clip, tmp_path / "other" / "clip.mp4")
    out = run(tmp_path, "files_to_video.py", str(clip), str(other))
    assert out.splitlines() == ["clip 12 frames", "clip-2 12 frames"]
    assert (tmp_path / "clip-2.poses.mp4").exists()


def test_streams_come_and_go(tmp_path: Path):
    figures = "synthetic:?people={}&size=320x240&fps=10"
    command = [sys.executable, "-X", "dev", "-W", "error", EXAMPLES / "come_and_go.py"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None

        def say(line: str, *until: str) -> None:
            print(line, file=running.stdin, flush=True)
            wanted = list(until)
            while wanted:
                heard = running.stdout.readline().strip()
                assert heard, "it ended"
                wanted = [words for words in wanted if words not in heard]

        say("a=" + figures.format(1), "a is synthetic", "a: 1 people")
        say("b=" + figures.format(1), "b is synthetic", "b: 1 people")
        say("a=" + figures.format(2), "a is synthetic", "a: 2 people")
        say("b=", "b has left: stopped")
        say("c=", "no stream is named 'c'")
        say("c=rstp://host/x", "did you mean rtsp://?")
        running.stdin.close()
        assert running.wait(timeout=60) == 0, running.stderr


def test_custom_sink(tmp_path: Path):
    shorter = tmp_path / "custom_sink.py"
    text = (EXAMPLES / "custom_sink.py").read_text()
    assert "seconds=10" in text
    shorter.write_text(text.replace("seconds=10", "seconds=2"))
    out = run(tmp_path, str(shorter))
    assert out.startswith("watching figures, 1280×720")
    assert out.endswith("done\n")


def test_rtsp_to_json_says_what_failed(tmp_path: Path):
    done = start(tmp_path, "rtsp_to_json.py", "rtsp://no..camera/none")
    assert done.stdout.startswith("cam1 failed")
    assert done.returncode == 1


@pytest.mark.parametrize(
    ("name", "source", "words"),
    [
        ("files_to_video.py", "broken.mp4", "broken: broken.mp4 cannot be opened as video"),
        ("push_frames.py", "broken.mp4", "broken.mp4 cannot be opened"),
        ("webcam_preview.py", "broken.mp4", "no screen here"),
    ],
)
def test_what_fails_is_told_in_a_line(tmp_path: Path, name: str, source: str, words: str):
    (tmp_path / "broken.mp4").write_bytes(bytes(3000))
    done = start(tmp_path, name, source, DISPLAY="", WAYLAND_DISPLAY="", OPENCV_FFMPEG_LOGLEVEL="-8")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert words in done.stderr.splitlines()[-1]


@pytest.mark.skipif(not shutil.which("Xvfb"), reason="Xvfb is absent")
def test_a_preview_of_a_camera_that_is_not_there_says_so(tmp_path: Path):
    with contextlib.closing(XServer(64, 64, managed=False)) as screen:
        done = start(tmp_path, "webcam_preview.py", "97", DISPLAY=screen.display)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("no camera at ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "arguments", "typed", "last"),
    [
        ("come_and_go.py", (), "a=synthetic:?people=1\n", "a: "),
        ("three_lines.py", ("synthetic:",), "", " ms"),
        ("rtsp_to_json.py", ("synthetic:",), "", "cam1 cancelled"),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="signals and FIFOs are POSIX")
def test_ctrl_c_ends_it(tmp_path: Path, name: str, arguments: tuple[str, ...], typed: str, last: str):
    """Its input stays open all the while: one that read it on a thread of asyncio's waited for one more line."""
    os.mkfifo(tmp_path / "cam1.jsonl")
    command = [sys.executable, "-u", EXAMPLES / name, *arguments]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        assert running.stderr is not None
        print(typed, end="", file=running.stdin, flush=True)
        if name == "rtsp_to_json.py":  # which prints nothing while it runs
            with (tmp_path / "cam1.jsonl").open() as lines:
                assert next(lines)
                running.send_signal(signal.SIGINT)
                lines.read()
        else:
            assert next(line for line in running.stdout if last in line)
            running.send_signal(signal.SIGINT)
        said, failures = running.stdout.read(), running.stderr.read()
        assert running.wait(timeout=60) == 130
    assert "Traceback" not in failures
    assert "Fatal" not in failures
    assert last in said or name != "rtsp_to_json.py"


@pytest.mark.parametrize("name", ["three_lines.py", "rtsp_to_json.py"])
def test_a_wrong_file_is_told_in_a_line(tmp_path: Path, name: str):
    command = [sys.executable, EXAMPLES / name, "away.mp4"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=100, check=False)
    assert (done.returncode, done.stderr) == (1, "no file at away.mp4\n")
