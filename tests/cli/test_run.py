"""The command as people call it: real files, real models, and everything that can be wrong."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from dots import build
from servers.web import MjpegServer

from streampose.cli.main import main


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    """Run the command in this process: exit code, standard output, standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["streampose", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "300")
        with pytest.raises(SystemExit) as caught:
            main()
        output = capfd.readouterr()
        return int(caught.value.code or 0), output.out, output.err

    return run


@pytest.fixture
def models(tmp_path: Path) -> list[object]:
    """A detector and a key-point model that see nobody in ordinary pictures, and run fast."""
    detector = build(tmp_path / "det.onnx", "rtmdet", k=3, size=(64, 64))
    return ["--detector", detector, "--pose", build(tmp_path / "kpt.onnx", "simcc", size=(48, 64))]


@pytest.fixture
def leg(tmp_path: Path) -> list[object]:
    """A model of points that no other skeleton has."""
    skeleton = {"name": "leg", "points": ["shin", "heel", "toe"]}
    said = {"streampose.card": json.dumps({"skeleton": skeleton})}
    return ["--model", build(tmp_path / "leg.onnx", "rtmo", k=3, size=(64, 64), metadata=said)]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Thirty small frames of H.264."""
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(30):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 8 * i, np.uint8), format="bgr24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def times(path: Path) -> list[Fraction]:
    with av.open(str(path)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]


def test_a_file_gives_every_frame_at_its_time(command, models, clip: Path, tmp_path: Path):
    out, js, coco = tmp_path / "o.mp4", tmp_path / "o.jsonl", tmp_path / "o.json"
    code, stdout, _ = command("run", clip, *models, "--out", out, "--json", js, "--coco", coco)
    assert (code, stdout) == (0, "")
    assert [r["frame"] for r in lines(js)] == list(range(30))
    assert times(out) == times(clip)
    assert [Fraction(r["pts"] * r["time_base"][0], r["time_base"][1]) for r in lines(js)] == times(clip)
    assert json.loads(coco.read_text()) == []


def test_a_model_without_a_point_of_coco_s_is_refused_before_any_output_is_begun(command, clip, leg, tmp_path: Path):
    coco, js = tmp_path / "o.json", tmp_path / "o.jsonl"
    code, _, err = command("run", clip, *leg, "--json", js, "--coco", coco, "--device", "cpu")
    assert (code, "leg has none of COCO's 17 points: write another format" in err) == (1, True), err
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("o.")]


def test_json_to_standard_output_is_nothing_but_json(command, models, clip: Path):
    code, stdout, _ = command("run", clip, *models, "--json", "-")
    assert code == 0
    assert len([json.loads(line) for line in stdout.splitlines()]) == 30


def test_several_sources_write_into_folders(command, models, clip: Path, tmp_path: Path):
    (tmp_path / "out").mkdir()
    synthetic = "synthetic:?people=1&size=160x120&seconds=0.5"
    code, _, _ = command("run", f"a={clip}", clip, synthetic, *models, "--offline", "--json", tmp_path / "out")
    assert code == 0
    assert {p.name: len(lines(p)) for p in (tmp_path / "out").iterdir()} == {
        "a.jsonl": 30,
        "clip.jsonl": 30,
        "synthetic.jsonl": 15,
    }


def test_live_keeps_the_clips_own_speed(command, models, clip: Path, tmp_path: Path):
    start = time.monotonic()
    code, _, err = command("run", clip, *models, "--live", "--json", tmp_path / "o.jsonl")
    assert code == 0
    assert time.monotonic() - start > 29 / 30
    assert "latency" in err


@pytest.mark.parametrize("options", [["--live"], []])
def test_threads_of_live_streams_share_two_arenas(command, models, clip: Path, monkeypatch, options: list[str]):
    done: list[bool] = []
    module = importlib.import_module("streampose.cli.run")
    monkeypatch.setattr(module, "few_arenas", lambda: done.append(True))
    monkeypatch.setattr(module, "start_session", lambda _: 0)
    assert command("run", clip, *models, *options)[0] == 0
    assert done == [True] * len(options)


def test_the_end_by_seconds_is_told_to_the_service_manager(
    command, models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        code, _, err = command("run", "synthetic:?size=160x120", *models, "--seconds", 0.3, "--quiet")
        assert (code, err) == (0, "")
        manager.settimeout(5)
        assert [manager.recv(4096) for _ in range(2)] == [b"READY=1\nSTATUS=1 streams", b"STOPPING=1"]


def test_decoding_on_a_device_loses_no_frame(command, models, clip: Path, tmp_path: Path):
    code, _, err = command("run", clip, *models, "--hwaccel", "auto", "--json", tmp_path / "o.jsonl")
    assert code == 0
    assert [r["frame"] for r in lines(tmp_path / "o.jsonl")] == list(range(30))
    assert "decode: " in err
    code, _, err = command("run", clip, *models, "--hwaccel", "cudaa")
    assert (code, err.count("\n")) == (1, 1)
    assert "there are: none, auto" in err


@pytest.mark.parametrize("kind", ["missing", "text", "truncated", "empty", "folder"])
def test_bad_sources(command, models, clip: Path, tmp_path: Path, kind: str):
    bad = tmp_path / "bad.mp4"
    words = {
        "missing": "no file at",
        "text": "cannot be opened as video",
        "truncated": "cut off before it was finished",
        "empty": "is empty",
        "folder": "no images",
    }[kind]
    if kind == "text":
        bad.write_text("this is not a video\n" * 100)
    elif kind == "truncated":
        bad.write_bytes(clip.read_bytes()[:900])
    elif kind == "empty":
        bad.touch()
    elif kind == "folder":
        bad.mkdir()
    code, stdout, err = command("run", bad, *models, "--quiet")
    assert code == 1
    assert stdout == ""
    assert words in err
    assert err.count("\n") == 1, err
    assert "Traceback" not in err


def test_a_bad_source_does_not_stop_a_good_one(command, models, clip: Path, tmp_path: Path):
    bad = tmp_path / "bad.mp4"
    bad.write_text("no")
    (tmp_path / "out").mkdir()
    code, _, err = command("run", f"good={clip}", f"bad={bad}", *models, "--json", tmp_path / "out", "--quiet")
    assert code == 1
    assert err.startswith("error: bad: ")
    assert len(lines(tmp_path / "out" / "good.jsonl")) == 30


def test_sources_that_nobody_answers_for(command, models):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code, _, err = command("run", f"rtsp://user:secret@127.0.0.1:{port}/x", *models, "--quiet", "--no-reconnect")
    assert (code, err.count("\n")) == (1, 1)
    assert "refused the connection" in err
    assert "secret" not in err
    code, _, err = command("run", "99", *models, "--quiet")
    assert (code, err.count("\n")) == (1, 1)
    assert "no camera" in err
    code, _, err = command("run", "rstp://host/x", *models)
    assert code == 1
    assert "did you mean rtsp://?" in err


def test_bad_models(command, models, clip: Path, tmp_path: Path):
    text = tmp_path / "text.onnx"
    text.write_text("not a model")
    unknown = tmp_path / "unknown.onnx"
    _identity(unknown)
    nan = build(tmp_path / "nan.onnx", "nan")
    detector, pose = models[1], models[3]
    for arguments, words in [
        (["--model", text], "not an ONNX model"),
        (["--model", tmp_path / "none.onnx"], "no model file at"),
        (["--model", unknown], "(x tensor(float)[1, 7]) → (y tensor(float)[1, 7]). Known: "),
        (["--detector", detector, "--pose", detector], "is a detector (rtmdet), not a key-point model"),
        (["--detector", pose, "--pose", pose], "cannot find people"),
        (["--model", detector], "gives boxes but no key points"),
        (["--model", "streampose-nano", "--pose", pose], "not both"),
        (["--detector-size", "300"], "a multiple of 32"),
        (["--model", "rtmo-s", "--pose", pose], "not both"),
        (["--model", "rtmo"], "did you mean"),
        (["--model", nan, "--family", "heatmap"], "returned NaN"),
        ([*models, "--device", "cuda"], "cuda was asked for and cannot be used"),
        ([*models, "--detector-size", "300"], "takes 64×64 only"),
    ]:
        if "cuda" in arguments and shutil.which("nvidia-smi"):
            continue
        code, _, err = command("run", clip, *arguments, "--quiet")
        assert code == 1, arguments
        assert words in err, (arguments, err)
        assert "Traceback" not in err
        assert len([line for line in err.splitlines() if line.startswith("error: ")]) == 1, err


@pytest.mark.parametrize(
    "arguments",
    [["run", "{clip}", "--json", "{out}"], ["process", "{clip}", "-o", "{out}"], ["bench", "{clip}"], ["serve"]],
    ids=lambda arguments: arguments[0],
)
def test_all_that_run_models_read_them_as_they_are_told(command, models, clip: Path, tmp_path: Path, arguments):
    """Key points that nobody can guess, a family that is not recognised, and what counts as a person."""
    pose = build(tmp_path / "p.onnx", "simcc", k=18, size=(48, 64))
    words = [word.format(clip=clip, out=tmp_path / "out") for word in arguments] + [*models[:2], "--pose", pose]
    for said, expected in [
        ([], "Name its skeleton"),
        (["--skeleton", "octopus"], "no skeleton is called 'octopus'; there are: coco-17"),
        (["--skeleton", "coco-17"], "18 key points, and the skeleton coco-17 17"),
        (["--family", "simc"], "no family is called 'simc'"),
        (["--detector-family", "rtm"], "no family is called 'rtm'"),
        (["--min-score", 2], "--min-score"),
        (["--max-people", 0], "--max-people"),
    ]:
        code, _, err = command(*words, *said, "--device", "cpu", *(["--port", 0] if words[0] == "serve" else []))
        assert code in {1, 2}, said
        assert expected in err, (said, err)
    if words[0] in {"process", "bench"}:
        more = ["--no-bound", "--sessions", 1] if words[0] == "bench" else []
        said = ["--skeleton", "openpose-18", "--min-score", 0.2, "--max-people", 3]
        assert command(*words, *said, *more)[0] == 0


def test_bad_outputs(command, models, clip: Path, tmp_path: Path):
    for arguments, words in [
        (["--out", tmp_path / "none" / "o.mp4"], "create it first"),
        (["--json", tmp_path / "none" / "o.jsonl"], "create it first"),
        (["--out", tmp_path / "o.xyz"], "video is written as .mp4"),
        (["--out", clip], "would overwrite an input"),
        (["--show"], "no screen here"),
    ]:
        if arguments == ["--show"] and (os.environ.get("DISPLAY") or sys.platform != "linux"):
            continue
        code, _, err = command("run", clip, *models, *arguments, "--quiet")
        assert (code, err.count("\n")) == (1, 1), err
        assert words in err
    code, _, err = command("run", f"a={clip}", f"b={clip}", *models, "--out", tmp_path / "o.mp4")
    assert code == 1
    assert "one file for 2 streams" in err


def test_usage_errors_are_two(command, clip: Path):
    assert command("run")[0] == 2
    assert command("run", clip, "--no-such-option")[0] == 2
    assert command("--version") == (0, "0.1.0\n", "")
    assert command("run", clip, "--budget", "soon", "--model", "x")[0] == 1


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can mount a small tmpfs")
def test_a_full_disk_ends_its_stream_with_whole_lines(command, models, clip: Path, tmp_path: Path):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", small], check=False)
    if mounted.returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        synthetic = "synthetic:?people=0&size=64x64&seconds=10"
        code, _, err = command("run", synthetic, *models, "--offline", "--json", small / "o.jsonl", "--quiet")
        assert (code, err.count("\n")) == (1, 1)
        assert "No space left on device" in err
        assert len(lines(small / "o.jsonl")) > 5
    finally:
        subprocess.run(["umount", small], check=True)


def start(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "streampose", *map(str, arguments)],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def wait_for_lines(path: Path, process: subprocess.Popen[str], count: int = 20) -> None:
    deadline = time.monotonic() + 60
    while not (path.exists() and path.read_bytes().count(b"\n") >= count):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_finishes_the_files(models, tmp_path: Path, number: signal.Signals):
    js, out = tmp_path / "o.jsonl", tmp_path / "o.mp4"
    # Each output of a live stream may leave out what it is too slow for; at ten a second neither is.
    process = start("run", "synthetic:?size=160x120&fps=10", *models, "--json", js, "--out", out)
    wait_for_lines(js, process)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "stopping" in err
    assert "stopped after" in err
    assert "Traceback" not in err
    assert abs(len(times(out)) - len(lines(js))) <= 3


def test_a_second_ctrl_c_cuts_off(models, tmp_path: Path):
    js = tmp_path / "o.jsonl"
    # A server that takes the connection and then says nothing: opening it takes its whole time.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/x"
        process = start("run", "synthetic:?size=160x120", url, *models, "--json", f"{tmp_path}/")
        wait_for_lines(tmp_path / "synthetic.jsonl", process)
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    # Stopping takes a moment only: the second signal may find a process that is done and on its way out.
    assert process.returncode in {0, 130, -signal.SIGINT}, err
    assert "Traceback" not in err
    assert not js.exists()


def test_a_camera_that_goes_away_and_comes_back(models, tmp_path: Path):
    js = tmp_path / "o.jsonl"
    camera = MjpegServer()
    process = start("run", f"door=http://me:secret@127.0.0.1:{camera.port}/v", *models, "--json", js)
    wait_for_lines(js, process)
    camera.stop()
    camera = MjpegServer(camera.port)
    deadline = time.monotonic() + 60
    while lines(js)[-1]["epoch"] == 0:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    camera.stop()
    assert process.returncode == 0, err
    assert [err.count(words) for words in ("door: lost, trying again (", "door: back after ")] == [1, 1]
    assert "1 reconnect (lost: " in err
    assert "secret" not in err


def test_kill_leaves_a_playable_video_and_whole_lines(models, tmp_path: Path):
    js, out = tmp_path / "o.jsonl", tmp_path / "o.mp4"
    process = start("run", "synthetic:?size=160x120", *models, "--json", js, "--out", out)
    wait_for_lines(js, process, 100)
    process.kill()
    process.communicate()
    written = len(lines(js))
    played = len(times(out))
    assert written >= 100
    assert played >= written - 65, f"{written} lines, but only {played} frames can be played"


def _identity(path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    tensor = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 7]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", tensor[:1], tensor[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
