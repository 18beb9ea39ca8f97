"""The command as a service: signals, systemd's words, what is seen from outside, and the files in examples/."""

from __future__ import annotations

import asyncio
import configparser
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import httpx
import numpy as np
import pytest
from servers.folder import served
from servers.rtsp import RtspServer, has_gstreamer

from streampose.cli.main import main
from streampose.cli.service import parse_secret
from streampose.cli.session import interrupts
from streampose.observe.notify import ServiceManager
from streampose.preview import Screen

EXAMPLES = Path(__file__).parents[2] / "examples"
rtsp = pytest.mark.skipif(not has_gstreamer(), reason="GStreamer's RTSP server is absent (gir1.2-gst-rtsp-server-1.0)")
COMMAND = [sys.executable, "-m", "streampose"]


def streampose(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def wait_for(url: str, running: subprocess.Popen, timeout_s: float = 60) -> None:
    """Until it answers 200."""
    until = time.monotonic() + timeout_s
    while time.monotonic() < until and running.poll() is None:
        try:
            if httpx.get(url).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    pytest.fail(f"{url} was never ready")


def listen(manager: socket.socket, words: list[str]) -> None:
    while (said := manager.recv(4096).decode()) != "END":
        words += said.splitlines()


def read_until(terminal: int, done: Callable[[bytes], bool], timeout_s: float = 60) -> bytes:
    """What a program writes to its terminal until this holds."""
    seen, until = b"", time.monotonic() + timeout_s
    while not done(seen):
        assert time.monotonic() < until, seen
        try:
            seen += os.read(terminal, 65536) if select.select([terminal], [], [], 0.1)[0] else b""
        except OSError:  # Linux's way to say that the other side is closed
            time.sleep(0.01)
    return seen


def decoded(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


@pytest.fixture
def camera() -> Iterator[RtspServer]:
    server = RtspServer("--rate", "30", "--gop", "5")
    yield server
    server.kill()


@pytest.fixture
def long_clip(tmp_path: Path) -> Path:
    """More than is done when it is cut short."""
    path = tmp_path / "long.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        picture = av.VideoFrame.from_ndarray(np.zeros((120, 160, 3), np.uint8), format="bgr24")
        for _ in range(3000):
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


@rtsp
@pytest.mark.rtsp
def test_sigterm_drains_a_camera_and_a_file_while_systemd_and_top_look_on(
    camera: RtspServer, long_clip: Path, tmp_path: Path
):
    out, port = tmp_path / "out", free_port()
    out.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        words: list[str] = []
        listening = threading.Thread(target=listen, args=(manager, words))
        listening.start()
        env = os.environ | {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "400000"}
        arguments = ["--log-format", "json", "--log-level", "info", "run", f"door={camera.url()}", f"clip={long_clip}"]
        outputs = ["--out", f"{out}/", "--json", f"{out}/", "--metrics", str(port), "--ready", "all"]
        with subprocess.Popen([*COMMAND, *arguments, *outputs], env=env, stderr=subprocess.PIPE, text=True) as running:
            try:
                wait_for(f"http://127.0.0.1:{port}/readyz", running)
                top = streampose("top", f"127.0.0.1:{port}", "--once")
                running.send_signal(signal.SIGTERM)
                _, err = running.communicate(timeout=60)
            finally:
                running.kill()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.sendto(b"END", str(tmp_path / "notify"))
        listening.join()
    assert running.returncode == 0, err
    for name in ("door", "clip"):
        lines = [json.loads(line) for line in (out / f"{name}.jsonl").read_text().splitlines()]
        said = re.search(rf"{name}: stopped after (\d+) frames(?:, \d+ dropped)?(?:, (\d+) not taken in time)?", err)
        assert said is not None
        delivered, missed = int(said[1]), int(said[2] or 0)
        # Not one result is lost that was on its way, but for what one of both outputs of a camera did not take in time.
        assert len(lines) + decoded(out / f"{name}.mp4") == 2 * delivered - missed
        assert min(len(lines), decoded(out / f"{name}.mp4")) > 0
        if name == "clip":
            assert missed == 0
            assert [line["frame"] for line in lines] == list(range(len(lines)))
            assert len(lines) < 3000
    assert words[:2] == ["READY=1", "STATUS=2 streams"]
    assert words.count("STOPPING=1") == 1
    assert words.count("WATCHDOG=1") >= 2
    assert [json.loads(line)["logger"] for line in err.splitlines()]
    assert top.returncode == 0, top.stderr
    time_ = r"(?:\d+ ms|\d+\.\d s)"
    assert re.search(rf"door +running +\d+\.\d +\d+\.\d +{time_} +{time_}", top.stdout), top.stdout
    assert re.search(r"engine: \d × \d+% busy, \d", top.stdout)


LOADS_FOR_MINUTES = """
from streampose.cli import main, session
load = session.load_estimators
session.load_estimators = lambda *given, **how: [load(*given, **how) for _ in range(100)]
main()
"""


@pytest.mark.assets
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_while_the_models_load_is_obeyed_at_once(assets: Path, times: int):
    # It takes seconds to load, and all of them are spent in the runtime.
    model = ["--model", assets / "models" / "yolov8n-pose_640_from_int8.onnx", "--recalibrate", "--in-graph"]
    port = free_port()
    command = [sys.executable, "-c", LOADS_FOR_MINUTES, "run", "yard=synthetic:", "--metrics", str(port), *model]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as loading:
        try:
            wait_for(f"http://127.0.0.1:{port}/healthz", loading)
            for _ in range(times):
                loading.send_signal(signal.SIGINT)
                time.sleep(0.1)
            _, err = loading.communicate(timeout=30)
        finally:
            loading.kill()
    assert (loading.returncode, err.splitlines()[1:]) == (130, ["cut off"])


def wait_for_signals(process: int, which: str, number: signal.Signals) -> None:
    """Until they are caught (`SigCgt`) or held back (`SigBlk`)."""
    until = time.monotonic() + 60
    while True:
        told = re.search(rf"{which}:\s+(\w+)", Path(f"/proc/{process}/status").read_text())
        if told is not None and int(told[1], 16) >> (number - 1) & 1:
            return
        assert time.monotonic() < until
        time.sleep(0.005)


@pytest.mark.skipif(
    not Path("/proc/self/status").exists() or not shutil.which("unshare"), reason="only Linux has these"
)
def test_a_container_s_first_process_can_be_asked_to_stop_from_its_beginning_on():
    own = ["unshare", "--map-root-user", "--pid", "--fork", "--mount-proc"]
    if subprocess.run([*own, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no process may have a namespace of its own here")
    with subprocess.Popen([*own, *COMMAND, "run", "synthetic:", "--quiet"], stderr=subprocess.PIPE) as outer:
        children, inner = Path(f"/proc/{outer.pid}/task/{outer.pid}/children"), None
        try:
            while not (inner := children.read_text().strip()):
                time.sleep(0.005)
            wait_for_signals(int(inner), "SigCgt", signal.SIGTERM)
            os.kill(int(inner), signal.SIGTERM)
            assert outer.wait(10) == 143
            assert outer.stderr is not None
            assert outer.stderr.read() == b""
        finally:
            if outer.poll() is None and inner:
                os.kill(int(inner), signal.SIGKILL)


@pytest.mark.parametrize("before", [None, signal.SIGHUP, signal.SIGINT])
def test_a_closed_terminal_ends_a_run_as_sigterm_does(tmp_path: Path, before: signal.Signals | None):
    video, lines = tmp_path / "out.mp4", tmp_path / "out.jsonl"
    source = "synthetic:?size=160x120&fps=30"
    # Not --live: there an output that is slow for a moment, as an encoder is at first, drops what it has no time for.
    command = [*COMMAND, "run", source, "--offline", "--out", video, "--json", lines, "--sessions", "1"]
    process, terminal = pty.fork()
    if process == 0:
        os.execv(sys.executable, list(map(str, command)))
    until = time.monotonic() + 30
    while not (lines.exists() and lines.stat().st_size):
        assert time.monotonic() < until
        if select.select([terminal], [], [], 0.05)[0]:
            os.read(terminal, 65536)
    if before is not None:  # by a shell; or by somebody who does not wait for the end
        os.kill(process, before)
        if before is signal.SIGINT:
            read_until(terminal, lambda seen: b"stopping" in seen)
        else:
            time.sleep(0.001)
    os.close(terminal)
    try:
        while (ended := os.waitpid(process, os.WNOHANG))[0] == 0 and time.monotonic() < until:
            os.kill(process, signal.SIGHUP)  # as its shell does
            time.sleep(0.02)
    finally:
        if ended[0] == 0:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(ended[1]) == 0
    assert decoded(video) == len([json.loads(line) for line in lines.read_text().splitlines()]) > 0


def test_a_stop_needs_neither_a_terminal_nor_a_file():
    program = """
import asyncio, os, pty, resource, signal
from streampose.cli.session import interrupts

async def main():
    mine, theirs = pty.openpty()
    os.dup2(theirs, 2)
    calls = []
    with interrupts(lambda: calls.append("stop"), lambda: calls.append("cancel")):
        os.close(mine)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), number)
            await asyncio.sleep(0.01)
    print(*calls)

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, b"stop cancel\n")


async def test_who_asks_again_and_again_is_heard(monkeypatch: pytest.MonkeyPatch):
    """However fast: each SIGTERM was taken for the one before."""
    monkeypatch.setattr("streampose.cli.session._SAME_WISH_S", 0.1)
    with interrupts(lambda: None, (cut := asyncio.Event()).set):
        for _ in range(4):
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(0.04)
    assert cut.is_set()


async def test_a_sigterm_to_the_process_and_to_its_group_is_one(monkeypatch: pytest.MonkeyPatch):
    calls: list[str] = []
    with interrupts(lambda: calls.append("stop"), lambda: calls.append("cancel")):
        for _ in range(2):  # as `timeout` does
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(0.01)
        assert calls == ["stop"]
        monkeypatch.setattr("streampose.cli.session._SAME_WISH_S", 0)
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0.01)
    assert calls == ["stop", "cancel"]


async def test_with_windows_it_is_one_too():
    calls: list[str] = []
    screen = Screen()
    with interrupts(lambda: calls.append("stop"), lambda: calls.append("cancel"), screen):
        for number in (signal.SIGTERM, signal.SIGTERM):
            screen._interrupt(number, None)
            await asyncio.sleep(0.01)
        assert calls == ["stop"]
        screen._interrupt(signal.SIGINT, None)
        await asyncio.sleep(0.01)
    assert calls == ["stop", "cancel"]


def test_a_second_ctrl_c_does_not_turn_into_the_end_that_the_first_avoids():
    program = """
import atexit, os, signal
from streampose.cli import session
atexit.register(print, "the interpreter's own end")
def say(text):
    os.kill(os.getpid(), signal.SIGINT)
    print(text, flush=True)
session.say = say
with session.before_anything():
    raise KeyboardInterrupt
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "cut off\n", "")


def test_what_is_cut_off_before_anything_ends_so_without_a_terminal_too():
    mine, theirs = pty.openpty()
    os.close(mine)
    program = "from streampose.cli.session import before_anything\nwith before_anything():\n    raise KeyboardInterrupt"
    assert subprocess.run([sys.executable, "-c", program], stderr=theirs, timeout=60, check=False).returncode == 130
    os.close(theirs)


def test_top_is_live_in_a_terminal_waits_for_the_next_start_and_ends_by_ctrl_c():
    port = free_port()
    source = ["run", "yard=synthetic:?size=160x120&fps=10", "--live", "--quiet", "--metrics", str(port)]
    mine, theirs = pty.openpty()
    env = os.environ | {"COLUMNS": "140", "LINES": "30", "TERM": "xterm"}
    command = [*COMMAND, "top", f"http://127.0.0.1:{port}", "--interval", "200ms"]
    with subprocess.Popen([*COMMAND, *source], stderr=subprocess.DEVNULL) as running:
        try:
            wait_for(f"http://127.0.0.1:{port}/readyz", running)
            with subprocess.Popen(
                command, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, env=env, start_new_session=True
            ) as top:
                os.close(theirs)
                seen = read_until(mine, lambda seen: seen.count(b"yard") >= 5)
                running.send_signal(signal.SIGTERM)
                assert running.wait(10) == 0
                seen += read_until(mine, lambda seen: b"nothing answers" in seen)
                top.send_signal(signal.SIGINT)
                seen += read_until(mine, lambda _: top.poll() is not None)
                assert top.stderr is not None
                assert (top.wait(5), top.stderr.read()) == (0, b"")
        finally:
            running.kill()
            os.close(mine)
    assert "█".encode() in seen
    assert seen.endswith(b"\x1b[?25h\x1b[?1049l"), "the cursor is back, and the screen as it was"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_whatever_ends_top_the_terminal_is_as_it_was(number: signal.Signals, tmp_path: Path):
    (tmp_path / "metrics").write_text('streampose_build_info{version="1"} 1\n')
    mine, theirs = pty.openpty()
    with (
        served(tmp_path) as url,
        subprocess.Popen(
            [*COMMAND, "top", url], stdin=theirs, stdout=theirs, env=os.environ | {"TERM": "xterm"}
        ) as top,
    ):
        os.close(theirs)
        try:
            seen = read_until(mine, lambda seen: b"stream" in seen)
            top.send_signal(number)
            seen += read_until(mine, lambda _: top.poll() is not None)
        finally:
            top.kill()
            os.close(mine)
    assert top.returncode == 0
    assert seen.endswith(b"\x1b[?25h\x1b[?1049l")


def test_what_top_says_where_nothing_is(command):
    port = free_port()
    code, _, err = command("top", f"http://u:geheim@127.0.0.1:{port}")
    assert (code, err.count("\n")) == (1, 1)
    assert f"nothing answers at http://***@127.0.0.1:{port}" in err
    assert "a `run` or `serve` with --metrics" in err


def test_what_a_server_says_moves_no_cursor_in_top(command, tmp_path: Path):
    (tmp_path / "metrics").write_text(
        'streampose_build_info{version="1\x1b[31m"} 1\n'
        'streampose_frames_captured_total{stream="ev\x1b[2J\\nil"} 5\n'
        'streampose_stream_state{stream="ev\x1b[2J\\nil",state="running\x1b[2J"} 1\n'
        'streampose_stream_fault{stream="ev\x1b[2J\\nil",cause="\x9b2Jlost"} 1\n'
    )
    with served(tmp_path) as url:
        code, out, _ = command("top", url, "--once")
    assert (code, "\x1b" in out, "\x9b" in out, len(out.splitlines())) == (0, False, False, 5)
    assert re.search(r"ev\\x1b\[2J\\nil +running\\x1b\[2J: \\x9b2Jlost", out), out


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    """Run the command in this process: exit code, standard output, standard error."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["streampose", *arguments])
        monkeypatch.setenv("COLUMNS", "300")
        with pytest.raises(SystemExit) as caught:
            main()
        output = capfd.readouterr()
        return int(caught.value.code or 0), output.out, output.err

    return run


@pytest.mark.parametrize(
    "written", [b"geheim", b" geheim\r\n", b"\xef\xbb\xbfgeheim\n"], ids=["plain", "blanks", "BOM"]
)
def test_what_editors_and_shells_add_is_no_part_of_a_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: bytes
):
    """Clients could not send it."""
    (tmp_path / "token").write_bytes(written)
    monkeypatch.setenv("STREAMPOSE_TEST_TOKEN", written.decode("utf-8-sig"))
    for where in (f"file:{tmp_path / 'token'}", "env:STREAMPOSE_TEST_TOKEN"):
        assert parse_secret(where) == "geheim"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--metrics", "0.0.0.0:9"], "give a token"),
        (["--metrics", "nine"], "write PORT or HOST:PORT"),
        (["--metrics", "9", "--metrics-token", "geheim"], "env:NAME or file:PATH"),
        (["--metrics", "9", "--metrics-token", ""], "env:NAME or file:PATH"),
        (["--metrics", "9", "--metrics-token", "file:"], "env:NAME or file:PATH"),  # a shell's variable is not set
        (["--metrics", "9", "--metrics-token", "env:NO_SUCH_VARIABLE"], "variable NO_SUCH_VARIABLE is not set"),
        (["--metrics", "9", "--metrics-token", "file:/no/such"], "No such file"),
        (["--metrics-token", "env:NO_SUCH_VARIABLE"], "--metrics-token is for --metrics"),
        (["--ready", "none"], "a number of streams, or all"),
        (["--ready", "2"], "--ready is for --metrics"),
    ],
)
def test_options_that_make_no_sense(options: list[str], words: str, command):
    code, _, err = command("run", "synthetic:?seconds=0.1", "--quiet", *options)
    assert (code, err.count("\n")) == (1, 1)
    assert words in err
    assert "geheim" not in err


def test_a_token_that_is_no_text_is_told_in_a_line(tmp_path: Path, command):
    (tmp_path / "token").write_bytes(b"geheim\xff\xfe")
    for words in (["run", "synthetic:", "--metrics", "9", "--metrics-token"], ["serve", "--token"]):
        code, _, err = command(*words, f"file:{tmp_path}/token")
        assert (code, err) == (1, f"error: the file {tmp_path}/token is no text (UTF-8)\n")


def unit() -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str
    parser.read(EXAMPLES / "streampose.service")
    return parser


def test_the_unit_needs_no_root_and_is_what_the_docs_say(tmp_path: Path):
    service = unit()["Service"]
    assert service["DynamicUser"] == service["NoNewPrivileges"] == "yes"
    assert service["CapabilityBoundingSet"] == ""
    assert (service["Type"], service["Restart"]) == ("notify", "on-failure")
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"
    program, *arguments = service["ExecStart"].split()
    assert program.endswith("/bin/streampose")
    assert arguments[-2:] == ["--metrics", "9464"]
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is absent: the unit was only parsed")
    here = tmp_path / "streampose.service"
    here.write_text((EXAMPLES / "streampose.service").read_text().replace(program, "/bin/true"))
    checked = subprocess.run(["systemd-analyze", "verify", here], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", here]
    rated = subprocess.run(command, capture_output=True, text=True, check=False)
    assert rated.returncode == 0, rated.stdout[-200:]  # 2.0 of 10 at most, where 10 is exposed


def test_the_container_is_not_root_and_its_options_are_there(command):
    lines = [line for line in (EXAMPLES / "Containerfile").read_text().splitlines() if not line.startswith("#")]
    by_word = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines if line}
    assert by_word["USER"].isdecimal()
    assert by_word["USER"] != "0"
    _, probe = by_word["HEALTHCHECK"].split("CMD ")
    assert "/healthz" in json.loads(probe)[-1]
    entry = json.loads(by_word["ENTRYPOINT"])
    assert "--json-rotate" in entry, "a restart would overwrite what is there"
    _, listed, _ = command("run", "--help")
    for option in (argument for argument in entry[entry.index("run") :] if argument.startswith("--")):
        assert option in listed
    copied = [
        Path(word) for line in lines if line.startswith("COPY") and "--from" not in line for word in line.split()[1:-1]
    ]
    assert all((EXAMPLES.parent / path).exists() for path in copied)


def test_every_metric_of_the_dashboard_and_the_alerts_is_there():
    board = json.loads((EXAMPLES / "grafana-dashboard.json").read_text())
    expressions = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    expressions += [v["query"]["query"] for v in board["templating"]["list"] if isinstance(v["query"], dict)]
    expressions += re.findall(r"expr:(.*?)\n +(?:for|annotations):", (EXAMPLES / "alerts.yml").read_text(), re.DOTALL)
    assert "streampose_engine_held_up_seconds" in expressions[-1]
    wanted = {name for text in expressions for name in re.findall(r"\b(?:streampose|process)_[a-z_]+", text)}
    port = free_port()
    source = ["run", "http://127.0.0.1:9/away", "--quiet", "--metrics", str(port)]
    with subprocess.Popen([*COMMAND, *source], stderr=subprocess.DEVNULL) as running:
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for(f"{url}/healthz", running)
            until = time.monotonic() + 60
            while "connection_attempts" not in (text := httpx.get(f"{url}/metrics").text) and time.monotonic() < until:
                time.sleep(0.1)
        finally:
            running.kill()
    names = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    names |= {f"{name}{suffix}" for name in names for suffix in ("_bucket", "_count", "_sum")}
    assert len(wanted) > 15
    assert wanted <= names, wanted - names
    assert {panel["type"] for panel in board["panels"]} <= {"stat", "timeseries", "heatmap"}
    if shutil.which("promtool"):  # Prometheus' own judgement, where it is installed
        linted = subprocess.run(
            ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
        )
        assert (linted.returncode, linted.stdout + linted.stderr) == (0, "")


def test_prometheus_scrapes_where_top_looks():
    text = (EXAMPLES / "prometheus.yml").read_text()
    assert '- targets: ["127.0.0.1:9464"]' in text
    assert "job_name: streampose" in text
    assert (EXAMPLES / re.findall(r"rule_files:\n  - (\S+)", text)[0]).exists()
    if shutil.which("promtool"):
        subprocess.run(["promtool", "check", "config", EXAMPLES / "prometheus.yml"], check=True)


async def test_a_service_manager_that_does_not_listen_holds_nobody_up(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).ready("x")
    assert "does not listen at NOTIFY_SOCKET" in caplog.text
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as full:
        full.bind(str(tmp_path / "full"))
        service = ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "full"), "WATCHDOG_USEC": "1000000"})
        async with asyncio.timeout(2):  # a kernel holds ten datagrams or so
            for _ in range(1000):
                service.ready("x")
        elsewhere = ServiceManager({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"})
        assert (service.watchdog_s, elsewhere.watchdog_s) == (1.0, 0.0)
