"""Outputs for integrators, as asked for on the command line and in a file."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import cv2
import pytest
from redis import Redis
from servers.daemons import free_port, no_daemon_is_left, redis_server, webhook_server  # noqa: F401
from servers.rtsp import MediaServer, has_gstreamer, recorded
from test_run import clip, command, lines, models, start, wait_for_lines  # noqa: F401

from streampose.cli.outputs import Outputs
from streampose.cli.values import parse_budget, parse_rate, parse_rotation, parse_seconds
from streampose.errors import ConfigError, SinkFailed, SinkUnavailable
from streampose.sinks import Rotation


@pytest.mark.parametrize(
    ("text", "rotation"),
    [
        ("100MB", Rotation(max_bytes=100_000_000)),
        ("1.5 kB", Rotation(max_bytes=1500)),
        ("2gib", Rotation(max_bytes=2 << 30)),
        ("500b", Rotation(max_bytes=500)),
        ("1h", Rotation(max_age_s=3600)),
        ("1d", Rotation(max_age_s=86400)),
        ("10MB,30m", Rotation(max_bytes=10_000_000, max_age_s=1800)),
    ],
)
def test_rotation_is_a_size_a_time_or_both(text: str, rotation: Rotation):
    assert parse_rotation(text, None) == rotation


@pytest.mark.parametrize("text", ["", "100", "often", "1MB,", "0s", "-1h", "MB", "1d,2d", "1MB,2MB"])
def test_what_is_no_rotation_is_told(text: str):
    with pytest.raises(ConfigError, match="write"):
        parse_rotation(text, None)


def test_times():
    assert [parse_seconds(t) for t in ("100ms", "0.2s", "3", "5m", "1h", "2d")] == [0.1, 0.2, 3, 300, 3600, 172800]


def test_a_budget_without_its_unit_is_seconds_or_refused():
    assert [parse_budget(t) for t in ("100ms", "0.1", "10", "100s", "2m")] == [0.1, 0.1, 10, 100, 120]
    for text in ("100", " 10.5"):
        with pytest.raises(ConfigError, match=rf"{text.strip()}ms or {text.strip()}s: write which"):
            parse_budget(text)
    with pytest.raises(ConfigError, match="is not a time"):
        parse_budget("0")
    assert parse_budget("10m") == 600
    with pytest.raises(ConfigError, match="a budget of 5h is no latency: write 100ms"):
        parse_budget("5h")


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("24", Fraction(24)),
        ("23.976", Fraction(24000, 1001)),
        ("23.98", Fraction(24000, 1001)),
        ("23.976023976", Fraction(24000, 1001)),
        ("29.97", Fraction(30000, 1001)),
        ("29.97002997", Fraction(30000, 1001)),
        ("59.94", Fraction(60000, 1001)),
        ("30000/1001", Fraction(30000, 1001)),
        ("12.5", Fraction(25, 2)),
        ("999.99", Fraction(99999, 100)),
        ("1/3600", Fraction(1, 3600)),
        ("14.985014985014985", Fraction(15000, 1001)),
    ],
)
def test_rates_are_the_fractions_that_they_mean(text: str, rate: Fraction):
    assert parse_rate(text) == rate


def test_encoders_can_count_any_rate():
    for text in ("123.456789012345", "998.99999999999", "0.000277777777777777778"):
        rate = parse_rate(text)
        assert max(rate.numerator, rate.denominator) < 2**31
        assert float(rate) == pytest.approx(float(Fraction(text)), rel=1e-4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--json-rotate", "1MB"], "name one, or a folder, by --json"),
        (["--json", "-", "--json-rotate", "1MB"], "name one, or a folder, by --json"),
        (["--json", "{tmp}/o.jsonl", "--json-keep", "3"], "--json-rotate"),
        (["--json", "{tmp}/o.jsonl", "--json-rotate", "often"], "write a size"),
        (["--send", "ftp://me:secret@h/x"], "only to http"),
        (["--send", "mqtt://h"], "mqtt://host/topic"),
        (["--send", "https://{{env:NO_SUCH_VARIABLE}}@h/x"], "variable NO_SUCH_VARIABLE is not set"),
        (["--send", "http://me:secret@h/{{stream}}"], "another {…}"),
        (["--live", "--out", "rtsp://h/{{stream}}"], "another {…}"),
        (["--encoder", "libx264", "--out", "{tmp}/o.mp4"], "--encoder is for video that goes to a media server"),
        (["--out", "rtsp://h/x", "--encoder", "h265"], "no H.264 encoder is called 'h265'"),
        (["--out", "rtsp://me:secret@h/x"], "add --live"),
        (["--snapshot", "{tmp}/none/o.jpg"], "create it first"),
        (["--json", ""], "--json names nothing: write a file, or a folder"),
        (["--send", ""], "--send names nothing: write a URL"),
        (["--out", "{tmp}/o.mp4", "--snapshot", ""], "--snapshot names nothing"),
        (["--snapshot", "{tmp}/o.jpg", "--snapshot-every", "often"], "'often' is not a time"),
    ],
)
def test_what_makes_no_sense_is_told(command, clip: Path, tmp_path: Path, arguments: list[str], words: str):  # noqa: F811
    code, _, err = command("run", clip, *(text.format(tmp=tmp_path) for text in arguments))
    assert code == 1
    (line,) = err.splitlines()
    assert line.startswith("error: ")
    assert words in line
    assert "secret" not in line


def test_one_place_for_several_streams_is_told():
    outputs = Outputs(out="rtsp://me:secret@h/live")
    with pytest.raises(ConfigError, match=r"\*\*\*@h/live is one place for 2 streams: put \{name\}"):
        outputs.check({"a": "0", "b": "1"})
    Outputs(out="rtsp://h/{name}").check({"a": "0", "b": "1"})


def test_two_slashes_behind_a_drive_are_no_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("C:").mkdir(exist_ok=True)  # of Windows; elsewhere a folder
    Outputs(json="C://poses.jsonl").check({"a": "0"})
    with pytest.raises(ConfigError, match="is a URL, and not one for it"):
        Outputs(json="s3://bucket/poses.jsonl").check({"a": "0"})


def test_a_stream_that_is_called_like_another_s_old_file_is_told(tmp_path: Path):
    sources = {"door": "0", "door.000001": "1"}
    with pytest.raises(ConfigError, match=r"door\.000001\.jsonl is what an old file of --json-rotate is called"):
        Outputs(json=f"{tmp_path}/poses/", rotation=Rotation(max_bytes=4000)).check(sources)
    assert not (tmp_path / "poses").exists(), "where something is wrong nothing is made"
    Outputs(json=f"{tmp_path}/").check(sources)
    Outputs(json=f"{tmp_path}/", rotation=Rotation(max_bytes=4000)).check(
        {"door": "0", "door.00001": "1", "000001": "2"}
    )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no FIFOs here")
def test_a_fifo_does_not_rotate(tmp_path: Path):
    os.mkfifo(tmp_path / "o.jsonl")
    Outputs(json=str(tmp_path / "o.jsonl")).check({"a": "0"})
    for text in (f"{tmp_path}/o.jsonl", f"{tmp_path}/"):
        with pytest.raises(ConfigError, match=r"--json-rotate is for files, and .*/o\.jsonl is a device or a pipe"):
            Outputs(json=text, rotation=Rotation(max_bytes=4000)).check({"o": "0"})


def files(outputs: Outputs, name: str) -> list[str]:
    return [sink.path.name for sink in outputs.sinks(name, live=True)]


def test_a_folder_that_is_asked_for_as_one_is_made_and_a_files_is_not(tmp_path: Path):
    poses = tmp_path / "poses"
    for wrong, error in [
        (Outputs(json=f"{poses}/", out=str(tmp_path / "none" / "o.mp4")), "no folder .*none for .*create it first"),
        (Outputs(json=f"{tmp_path}/none/poses/"), "no folder .*poses for .*create it first"),
    ]:
        with pytest.raises(SinkUnavailable, match=error):
            wrong.check({"door": "0"})
    assert not poses.exists(), "where something is wrong nothing is made"
    Outputs(json=f"{poses}/", coco=f"{poses}/", snapshot=f"{tmp_path}/now/").check({"door": "0", "yard": "1"})
    assert sorted(tmp_path.iterdir()) == [tmp_path / "now", poses]
    (tmp_path / "file").touch()
    with pytest.raises(SinkFailed, match="file cannot be written: "):
        Outputs(json=f"{tmp_path}/file/").check({"door": "0"})


def test_a_stream_that_comes_again_writes_to_the_next_files_that_are_nobodys(tmp_path: Path):
    (tmp_path / "a.3.mp4").write_bytes(b"a recording")
    outputs = Outputs(json=f"{tmp_path}/", out=f"{tmp_path}/")
    sources = {"a": "0", "a.2": "1", "b": str(tmp_path / "a.3.mp4")}
    outputs.check(sources)
    assert [files(outputs, name) for name in sources] == [[f"{n}.jsonl", f"{n}.mp4"] for n in sources]
    # 2 is another stream's, and 3 an input.
    assert files(outputs, "a") == ["a.4.jsonl", "a.4.mp4"]
    # Who comes late finds what is taken already.
    outputs.check(sources | {"a.4": "2"})
    assert files(outputs, "a.4") == ["a.4.2.jsonl", "a.4.2.mp4"]
    with contextlib.suppress(ConfigError), outputs.all_or_none():
        assert files(outputs, "a") == ["a.5.jsonl", "a.5.mp4"]
        raise ConfigError("another stream cannot be")
    assert files(outputs, "a") == ["a.5.jsonl", "a.5.mp4"]


def test_one_file_is_not_begun_anew_by_a_stream_of_another_name(tmp_path: Path):
    for rotation, again in ((None, "o.2.jsonl"), (Rotation(max_bytes=1000), "o.jsonl")):
        outputs = Outputs(json=str(tmp_path / "o.jsonl"), rotation=rotation)
        for name, file in (("a", "o.jsonl"), ("b", again)):
            outputs.check({name: "0"})
            assert files(outputs, name) == [file]


def test_a_whole_url_may_be_kept_elsewhere(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PUSH_URL", "rtsp://me:secret@h/live")
    outputs = Outputs(out="{env:PUSH_URL}")
    outputs.check({"a": "0"})
    (sink,) = outputs.sinks("a", live=True)
    assert type(sink).__name__ == "PushSink"


def test_files_rotate_over_restarts(command, models, clip: Path, tmp_path: Path):  # noqa: F811
    for _ in range(2):
        code, _, err = command(
            "run", clip, *models, "--json", f"{tmp_path}/", "--json-rotate", "2kB", "--json-keep", "100", "--quiet"
        )
        assert (code, err) == (0, "")
    files = [*sorted(tmp_path.glob("clip.*.jsonl")), tmp_path / "clip.jsonl"]
    assert len(files) > 4
    assert all(file.stat().st_size <= 2000 for file in files)
    assert [line["frame"] for file in files for line in lines(file)] == [*range(30), *range(30)]


def test_lines_go_to_servers_and_to_a_file(models, tmp_path: Path):  # noqa: F811
    web, redis = webhook_server(tmp_path), redis_server(tmp_path)
    js = tmp_path / "door.jsonl"
    process = start(
        "run", "door=synthetic:?size=160x120&people=1", *models, "--json", js,
        "--send", f"http://127.0.0.1:{web.port}/hook/{{name}}",
        "--send", f"redis://127.0.0.1:{redis.port}/0?maxlen=0",
        "--snapshot", tmp_path / "door.jpg", "--snapshot-every", "200ms",
    )  # fmt: skip
    wait_for_lines(js, process, 60)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=90)
    assert process.returncode == 0, err
    with Redis(port=redis.port) as client:
        sent = [json.loads(fields[b"json"]) for _, fields in client.xrange("streampose:door")]
    web.kill()
    redis.kill()
    kept = {line["frame"]: line for line in lines(js)}
    # Each of them may have missed a frame that another one has: live outputs drop what they do not take in time.
    for got in (sent, lines(tmp_path / "webhook.jsonl")):
        assert len(got) >= 50
        assert all(kept[line["frame"]] == line for line in got if line["frame"] in kept)
    assert cv2.imread(str(tmp_path / "door.jpg")).shape == (120, 160, 3)
    assert "not sent" not in err


def test_a_secret_in_a_path_is_never_printed(models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # noqa: F811
    monkeypatch.setenv("TOKEN", "T0PSECRET")
    web, gone = webhook_server(tmp_path), free_port()
    process = start(
        "--log-level", "debug", "run", "door=synthetic:?size=160x120", *models, "--seconds", 2,
        "--send", f"http://127.0.0.1:{web.port}/status/503?code={{env:TOKEN}}",
        "--send", f"http://127.0.0.1:{web.port}/hook/{{env:TOKEN}}#token={{env:TOKEN}}",
        "--send", f"redis://127.0.0.1:{gone}/0?stream={{env:TOKEN}}",
        "--out", f"rtmp://127.0.0.1:{gone}/live/{{env:TOKEN}}",
    )  # fmt: skip
    out, err = process.communicate(timeout=60)
    web.kill()
    assert process.returncode == 0, err
    assert lines(tmp_path / "webhook.jsonl"), "it was sent"
    assert "T0PSECRET" not in out + err
    for server in (f"http://127.0.0.1:{web.port}", f"redis://127.0.0.1:{gone}", f"rtmp://127.0.0.1:{gone}"):
        assert f"output to {server}: " in err


def test_what_was_not_sent_is_in_the_summary(models, tmp_path: Path):  # noqa: F811
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    process = start(
        "run", "door=synthetic:?size=160x120", *models, "--seconds", 2, "--send", f"mqtt://me:secret@127.0.0.1:{port}/x"
    )
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert err.count(f"output to mqtt://127.0.0.1:{port}: no connection (Connection refused); trying again") == 1
    assert " not sent, " in err
    assert "secret" not in err


def test_they_are_keys_of_a_file(models, clip: Path, tmp_path: Path):  # noqa: F811
    web = webhook_server(tmp_path)
    file = tmp_path / "c.toml"
    keys = "\n".join(f'{model.lstrip("-")} = "{value}"' for model, value in zip(models[::2], models[1::2], strict=True))
    file.write_text(f"""
{keys}
json = "{tmp_path}/"
json-rotate = "2kB"
json-keep = 2
send = ["http://127.0.0.1:{web.port}/hook"]
snapshot = "{tmp_path}/"
snapshot-every = "1m"
[streams.a]
source = "{clip}"
""")
    done = subprocess.run(
        [sys.executable, "-m", "streampose", "run", "--config", file, "--quiet"],
        capture_output=True,
        text=True,
        check=False,
    )
    web.kill()
    assert (done.returncode, done.stderr) == (0, "")
    assert len(list(tmp_path.glob("a.*.jsonl"))) == 2
    assert [line["frame"] for line in lines(tmp_path / "webhook.jsonl")] == list(range(30))
    assert (tmp_path / "a.jpg").exists()


@pytest.mark.skipif(not has_gstreamer(), reason="GStreamer's RTSP server is not on this machine")
def test_several_streams_are_pushed_and_one_file_is_written(models, tmp_path: Path):  # noqa: F811
    server = MediaServer("--name", "a", "--name", "b", str(tmp_path))
    process = start(
        "run", "a=synthetic:?size=160x120", "b=synthetic:?size=320x240", *models, "--json", f"{tmp_path}/",
        "--out", server.url("{name}"),
    )  # fmt: skip
    wait_for_lines(tmp_path / "a.jsonl", process, 150)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=90)
    assert process.returncode == 0, err
    server.kill()
    for name, size in (("a", "160×120"), ("b", "320×240")):
        # A device's encoder where there is one.
        assert err.count(f"{name}: output to {server.url().rpartition('/')[0]}: {size} by ") == 1
        pictures = list(recorded(tmp_path / f"{name}.0.ts"))
        assert len(pictures) > 50
        assert f"{pictures[0].width}×{pictures[0].height}" == size
