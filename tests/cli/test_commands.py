"""demo, doctor and models, as a newcomer calls them."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from inspect import signature
from pathlib import Path

import av
import pytest
import typer
from test_download import BODY, Server, server  # noqa: F401 - the fixture

import streampose
from streampose.cli import say
from streampose.cli.command import flat
from streampose.cli.main import main
from streampose.cli.standard import standard_error, standard_output
from streampose.cli.values import at_least, check_path, named_sources
from streampose.errors import ConfigError
from streampose.inference import zoo
from streampose.observe.logs import LogFormat


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["streampose", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        output = capfd.readouterr()
        return int(caught.value.code or 0), output.out, output.err

    return run


@pytest.mark.parametrize(
    "words",
    [
        ("bench", "rtsp://me:sec ret@"),
        ("bench", "front door=rtsp://me:sec ret@127.0.0.1:1/x"),
        ("run", "cam=rtsp://me:sec ret@h/x", "--offline"),
        ("run", "a/b=rtsp://me:sec ret@h/x"),
        ("run", "rtsp//me:sec ret@h/x"),
        ("run", "http://h/x?user=***&password=sec ret", "--offline"),
        ("run", "srt://h:9?passphrase=sec ret", "--offline"),
        ("run", "synthetic:", "--json", "redis://me:sec ret@h/x"),
        ("process", "rtsp://me:sec ret@h/x", "-o", "out.jsonl"),
        ("process", "me:sec ret@127.0.0.1:1/x", "-o", "out.jsonl"),
        ("process", "rtsp:me:sec ret@h/x", "-o", "out.jsonl"),
        ("process", "synthetic:?seconds=0.1", "-o", "rtsp://me:sec-ret@h/x"),
        ("process", "synthetic:?seconds=0.1", "-o", "me:sec-ret@host/x"),
        ("run", "synthetic:", "--json", "me:sec-ret@host/x.jsonl"),
        ("run", "http://127.0.0.1:1/x#token=sec&ret", "--offline"),
        ("render", "turn:me:sec-ret@host", "-o", "out.mp4"),
        ("render", "rtsp://me:sec ret@h/x", "-o", "out.mp4"),
        ("render", "me:sec ret@127.0.0.1:1/x", "-o", "out.mp4"),
        ("convert", "p.jsonl", "mqtt://me:sec ret@h/x"),
        ("top", "http://me:sec ret@127.0.0.1:1"),
        ("top", "me:sec ret@127.0.0.1:1"),
        ("top", "http://me:ret/sec@127.0.0.1:1"),
        ("rtsp://me:sec ret@h/x",),
        ("demo", "rtsp://me:sec ret@h/x"),
        ("run", "synthetic:", "--seconds", "rtsp://me:sec ret@h/x"),
        ("--log-level", "rtsp://me:sec ret@h/x", "run", "synthetic:"),
        ("run", "synthetic:", "--json", "s3://me:sec ret@bucket/x"),
        ("run", "synthetic:", "--config", "s3://me:sec ret@bucket/x"),
        ("convert", "p.jsonl", "s3://me:sec ret@bucket/x"),
    ],
    ids=" ".join,
)
def test_no_command_shows_a_password(command, words: tuple[str, ...], tmp_path: Path):
    code, out, err = command(*words)
    assert code
    assert "***" in err or "a stream's name" in err
    assert "ret" not in out + err
    assert not [*tmp_path.iterdir()]


def test_a_name_that_no_stream_may_have_is_told(command, tmp_path: Path):
    """It was taken for a file's, and the message was of a glob."""
    code, _, err = command("run", "Küche 1=synthetic:?seed=3", "--quiet")
    assert (code, err) == (
        1, "error: a stream's name has letters, digits, . _ and - only: 'Küche 1' has others\n",
    )  # fmt: skip
    (tmp_path / "c.mp4").touch()
    for source in ("0", "/dev/video0", "c.mp4"):
        assert "'my cam' has others" in command("run", f"my cam={source}", "--quiet")[2]
    assert "no file at my cam=d.mp4" in command("run", "my cam=d.mp4", "--quiet")[2]
    (there := tmp_path / "a b=c.mp4").touch()
    glob, query = str(tmp_path / "a ?=*.mp4"), "rtsp://h/a?b=http://c"
    assert list(named_sources([str(there), glob, query, "Küche-1=0"]).values()) == [str(there), glob, query, "0"]


def test_a_name_without_a_source_is_told(command):
    """As of a shell's variable that is not set; a file of the name was looked for."""
    code, _, err = command("run", "door=", "--quiet")
    assert (code, err.startswith("error: the source is empty: ")) == (1, True), err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run", "--nope"), "No such option: --nope"),
        (("run", "synthetic:", "--seconds", "rtsp://me:sec-ret@h/x"), "Invalid value for '--seconds'"),
        (("models", "show"), "Missing argument 'name'"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, tuple) else "",
)
def test_what_is_not_understood_is_a_record_where_a_machine_reads(
    command, words: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(say, "_form", LogFormat.TEXT)  # restored at the end
    code, out, err = command("--log-format", "json", *words)
    (record,) = caplog.records
    assert (code, out, err, record.levelname) == (2, "", "", "ERROR")
    assert message.lower() in record.message.lower()  # typer writes arguments as it likes
    assert record.message.endswith(" --help)")
    assert "ret" not in record.message


@pytest.mark.parametrize(
    "words",
    [
        ("convert", "", "o.csv"),
        ("render", "p.jsonl", "-o", ""),
        ("run", "--config="),
        ("models", "pull", "rtmo-s", "--cache-dir", ""),
    ],
    ids=" ".join,
)
def test_an_empty_path_is_told_and_is_not_the_current_folder(command, words: tuple[str, ...], tmp_path: Path):
    assert "the file's name is empty" in command("config", "")[2]
    code, _, err = command(*words)
    assert (code, "is empty: name a file or a folder" in err) == (2, True), err
    shown = {"convert": "'poses'", "render": "'--out'", "run": "'--config'", "models": "'--cache-dir'"}[words[0]]
    assert shown in err.lower()
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(("typed", "shown"), [("1", "http://127.0.0.1:1 "), (" ", "the address is empty")])
def test_top_takes_a_port_alone(command, typed: str, shown: str):
    code, _, err = command("top", "--once", typed)
    assert (code, shown in err) == (1, True), err


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is always a screen")
def test_the_demo_without_a_screen_writes_a_video_and_its_score(command, tmp_path: Path):
    code, _, err = command("demo", "--seconds", 4)
    assert code == 0
    share = float(err.split("% of")[0].split()[-1])
    assert share > 95
    assert "120 people found of 120" in err
    with av.open(str(tmp_path / "streampose-demo.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 120


def test_a_demo_that_cannot_be_written_says_nothing_else(command, tmp_path: Path):
    (tmp_path / "out" / "demo.mp4").mkdir(parents=True)
    code, _, err = command("demo", "--seconds", 0.1, "--out", tmp_path / "out")
    assert (code, "cannot be written: " in err, "\nwritten: " in err) == (1, True, False), err


@pytest.mark.skipif(sys.platform == "win32", reason="keeps the folder that one is in")
def test_a_current_folder_that_is_gone_is_told_in_a_line(command, tmp_path: Path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert command("demo", "--out", "o.mp4") == (1, "", "error: the current folder is gone: change into another one\n")


@pytest.mark.skipif(sys.platform == "win32", reason="has no such error")
@pytest.mark.parametrize(
    "arguments",
    [
        ("render", "LONG", "-o", "o.mp4"),
        ("convert", "p.jsonl", "LONG/o.csv"),
        ("process", "LONG", "-o", "out"),
        ("run", "LONG"),
        ("bench", "LONG"),
        ("config", "LONG"),
    ],
    ids=str,
)
def test_a_name_that_is_too_long_is_told_in_a_line(command, arguments: tuple[str, ...], tmp_path: Path):
    (tmp_path / "p.jsonl").touch()
    code, out, err = command(*(word.replace("LONG", "n" * 300) for word in arguments))
    assert (code, out, err) == (1, "", f"error: {'n' * 300} cannot be looked at: File name too long\n")


def test_the_demo_shows_several_people(command, tmp_path: Path):
    code, _, err = command("demo", "--people", 3, "--seconds", 1, "--json", tmp_path / "poses.jsonl")
    assert code == 0
    assert float(err.split("% of")[0].split()[-1]) > 85
    assert len((tmp_path / "poses.jsonl").read_text().splitlines()) == 30


def test_the_doctor_reports_and_tests(command):
    code, _, err = command("doctor", "--seconds", 1)
    assert code == 0
    for word in ("python", "cuda", "cpu  works", "encoders", "libx264", "self-test", "of key points right"):
        assert word in err


def test_the_doctor_tells_why_there_are_no_windows(command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "opencv_python_headless-4.12.0.88.dist-info").mkdir()
    about = "Metadata-Version: 2.1\nName: opencv-python-headless\nVersion: 4.12.0.88\n"
    (tmp_path / "opencv_python_headless-4.12.0.88.dist-info" / "METADATA").write_text(about)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("DISPLAY", ":64999")
    if sys.platform == "linux":
        words = " ".join(command("doctor", "--seconds", 0)[2].split())
        assert "screen no: no screen here (DISPLAY=:64999 cannot be reached)" in words
    monkeypatch.setattr("streampose.preview.display.reaches_server", lambda: True)
    monkeypatch.setattr("cv2.currentUIFramework", lambda: "")
    code, _, err = command("doctor", "--seconds", 0)
    words = " ".join(err.split())
    assert code == 0
    assert "opencv-python-headless 4.12.0.88" in words
    assert "screen no: this OpenCV has no windows: pip uninstall" in words


@pytest.mark.parametrize("words", [["run", "synthetic:"], ["bench"], ["demo"], ["doctor"]], ids=lambda words: words[0])
def test_how_long_is_a_time_as_others_are(command, words: list[str]):
    code, _, err = command(*words, "--seconds", "long")
    assert (code, "'long' is not a time: write" in " ".join(err.replace("│", "").split())) == (2, True)


def test_how_long_may_be_in_minutes():
    assert [at_least(0)(text) for text in ("90", "1s", "5m", 0.5, "0")] == [90, 1, 300, 0.5, 0]
    for text, words in (("0.05", "less than 0.1 s"), ("0", "not a time")):
        with pytest.raises(typer.BadParameter, match=words):
            at_least(0.1)(text)


COMMANDS = [
    "run",
    "serve",
    "process",
    "render",
    "retarget",
    "convert",
    "demo",
    "config",
    "doctor",
    "bench",
    "top",
    "cameras",
    "models",
]


def test_help_names_every_command(command):
    code, out, _ = command("--help")
    assert code == 0
    named = [line.split()[1] for line in out.splitlines() if line.startswith("│") and line.split()[1] in COMMANDS]
    assert sorted(named) == sorted(COMMANDS)


@pytest.mark.parametrize("words", [("run",), ("top",), ("models", "list"), ()], ids=" ".join)
def test_help_has_nothing_beside_a_flag_and_no_line_ends_but_its_own(
    command, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "400")
    code, out, _ = command(*words, "--help")
    assert code == 0
    assert "--help" in out
    assert "<bool>" not in out
    assert "<list" not in "".join(line for line in out.splitlines() if "--" in line)
    if words == ("top",):  # where the source ends its line
        assert "frames dropped (+ results" in out


def test_a_misspelt_command_is_told_with_the_nearest(command):
    code, _, err = command("--log-level", "info", "serv", "demo")
    assert code == 2
    assert "serve" in err.replace("'serv'", "")
    assert "render" in command("--help", "run")[1]


@pytest.mark.parametrize("option", ["--log-format=json", "--debug"])
def test_an_option_of_all_commands_behind_one_is_told_its_place(command, option: str):
    code, _, err = command("cameras", option)
    assert code == 2
    name = option.partition("=")[0]
    assert f"{name} stands before the command: streampose {name} …" in err
    assert "Possible" not in err


def test_an_option_before_a_command_that_lacks_a_value_is_told(command):
    assert "'--log-format' requires an argument" in command("--log-format")[2]
    assert "'--debug' does not take a value" in command("--debug=1", "cameras")[2]


def test_what_a_message_says_to_write_is_no_secret(command):
    assert "with USER:SECRET@ before HOST;" in command("serve", "--ice-server", "nowhere")[2]
    assert "write synthetic:?NAME=VALUE, with" in command("run", "synthetic:2", "--offline")[2]
    box = command("retarget", "p.jsonl", "r.jsonl", "-o", "o.jsonl", "--person", "box:1,2,3,4@x")[2]
    assert "'box:1,2,3,4@x' names no person" in box


def test_what_begins_as_a_path_may_have_any_name():
    for text in ("./a;p=1.jsonl", "/data/user=1_password=2/", "..\\me:x@host", "D:/a?key=1"):
        check_path("--json", text)
    with pytest.raises(ConfigError, match=r"^--json \*\*\*@hall/ is an address, .*begin with \./$"):
        check_path("--json", "10:30@hall/")


@pytest.mark.parametrize(
    ("words", "found"), [("streampose re", {"render", "retarget"}), ("streampose run --bud", {"--budget"})]
)
def test_a_shell_completes(words: str, found: set[str]):
    typed = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1), "_STREAMPOSE_COMPLETE": "complete_bash"}
    shell = [Path(sys.executable).with_name("streampose")]
    done = subprocess.run(shell, env={**os.environ, **typed}, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == found


def test_a_command_waits_for_nothing_that_it_does_not_use(tmp_path: Path):
    code = (
        "import sys\nfrom streampose.cli.main import main\nsys.argv[1:] = ['run', 'no.mp4']\n"
        "try: main()\nexcept SystemExit: print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "error: no file at no.mp4" in done.stderr
    slow = {"aiohttp", "aiortc", "httpx", "scipy", "streampose.cli.serve", "streampose.cli.process"}
    assert not slow & set(done.stdout.split())


def test_the_version_needs_nothing_loaded():
    code = "import sys, streampose\nfrom streampose.cli.main import main\ntry: main()\nfinally: print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, "--version"], capture_output=True, text=True, check=True)
    version, loaded = done.stdout.splitlines()
    assert version == streampose.__version__
    assert not {"av", "onnxruntime", "streampose.pipeline"} & set(loaded.split())


def interrupted(entry: str, loading: str, before: str = "") -> tuple[int, str]:
    """A command that gets a Ctrl-C while it loads a module: its exit code and standard error."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, function = project["scripts"]["streampose"].split(":")
    starts = {
        "module": "import runpy\nrunpy.run_module('streampose', run_name='__main__')",
        "script": f"from {module} import {function}\n{function}()",
    }
    code = f"""
import os, signal, sys
{before}
class CtrlC:
    def find_spec(self, name, *_):
        if name == {loading!r}:
            try:
                os.kill(os.getpid(), signal.SIGINT)
            except KeyboardInterrupt as error:  # as pybind11's modules do: SciPy's, ONNX Runtime's
                raise ImportError("initialization failed") from error
sys.meta_path.insert(0, CtrlC())
sys.argv[1:] = ["process", "no.mp4", "-o", "no"]
{starts[entry]}
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill ends the process there")
@pytest.mark.parametrize(
    ("entry", "loading"),
    [("script", "typer"), ("module", "av"), ("script", "onnxruntime"), ("module", "scipy.optimize")],
)
def test_cut_off_while_it_loads_it_says_nothing(entry: str, loading: str):
    assert interrupted(entry, loading) == (130, "")


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill ends the process there")
def test_where_ctrl_c_is_ignored_it_is_also_while_it_loads():
    code, err = interrupted("module", "av", "signal.signal(signal.SIGINT, signal.SIG_IGN)")
    assert (code, "no.mp4" in err) == (1, True)


def test_models_list_and_show(command, tmp_path: Path):
    code, out, _ = command("models", "list", "--json", "--cache-dir", tmp_path)
    assert code == 0
    assert {m["name"] for m in json.loads(out)} == set(zoo.entries())
    code, out, _ = command("models", "show", "rtmo-s", "--cache-dir", tmp_path)
    assert code == 0
    assert "https://download.openmmlab.com" in out
    code, _, err = command("models", "show", "rtmo")
    assert code == 1
    assert err.startswith("error: no model file and no model is called 'rtmo'; did you mean")


def test_a_record_that_cannot_be_read_hides_no_other_model(command, monkeypatch, tmp_path: Path):
    monkeypatch.setattr(zoo, "default_folder", lambda: tmp_path)
    (tmp_path / "yolox-m.json").mkdir()
    code, out, _ = command("models", "list", "--json")
    assert (code, {m["name"]: m["here"] for m in json.loads(out)}) == (
        0, dict.fromkeys(zoo.entries(), "") | {"yolox-m": "unreadable", zoo.NANO: "yes"},
    )  # fmt: skip
    code, _, err = command("doctor", "--seconds", 0)
    assert (code, err.count("yolox-m.json cannot be read: Is a directory")) == (0, 1)


def test_models_pull_and_remove(command, server: Server, tmp_path: Path):  # noqa: F811
    code, out, err = command("models", "pull", "yolox-m", "--url", server.url, "--cache-dir", tmp_path)
    assert code == 0
    assert "not verified by us" in err
    assert Path(out.strip()).read_bytes() == BODY
    again, path, err = command("models", "pull", "yolox-m", "--url", server.url, "--cache-dir", tmp_path)
    assert (again, path, len(server.requests)) == (0, out, 1)
    assert f"here already: nothing to fetch; to fetch it from {server.url}: streampose models remove yolox-m" in err
    assert command("models", "remove", "yolox-m", "--cache-dir", tmp_path)[0] == 0
    assert zoo.cached("yolox-m", tmp_path) is None
    server.status = [404]
    code, _, err = command("models", "pull", "yolox-l-dwpose", "--url", server.url, "--cache-dir", tmp_path)
    assert code == 1
    assert "404" in err
    assert err.count("error:") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="has no /dev/full")
@pytest.mark.parametrize("arguments", [["models", "list"], ["run", "--help"], ["config", "-"]], ids=str)
def test_a_full_standard_output_is_told_in_a_line(command, arguments: list[str], monkeypatch):
    with Path("/dev/full").open("w", encoding="utf-8") as full:  # whose end fails once more where something is left
        monkeypatch.setattr(sys, "stdout", full)
        code, _, err = command(*arguments)
    assert code == 1
    assert err.splitlines()[-1] == "error: standard output cannot be written: No space left on device"
    assert "Traceback" not in err


def test_signs_that_standard_output_cannot_show_are_replaced(command, monkeypatch):
    shown = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", shown)
    assert command("run", "--help")[0] == 0
    shown.seek(0)
    assert "Find the people" in shown.read()


def test_what_python_u_prints_is_there_at_once(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown := io.BytesIO(), "utf-8", write_through=True))
    with standard_output():
        print("half a line", end="")
        assert shown.getvalue() == b"half a line"


@pytest.mark.skipif(sys.platform == "win32", reason="has no such terminals")
@pytest.mark.parametrize("kind", ["pipe", "openpty"])
def test_a_standard_error_that_is_gone_ends_nothing(command, kind: str, tmp_path: Path, monkeypatch):
    for code in (0, 1):  # the second time it is there
        reader, writer = getattr(os, kind)()
        os.close(reader)
        with os.fdopen(writer, "w", encoding="utf-8") as gone:
            monkeypatch.setattr(sys, "stderr", gone)
            assert command("config", "template.toml")[0] == code
        assert (tmp_path / "template.toml").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="its pipes always block")
def test_words_that_there_is_no_room_for_end_nothing_and_later_ones_are_said(command, monkeypatch):
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with os.fdopen(reader, "rb", buffering=0) as read, os.fdopen(writer, "w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stderr", full)
        with standard_error():
            os.write(writer, bytes(1 << 20))  # as much as there is room for
            print("no room", file=sys.stderr, flush=True)
            read.read(1 << 20)
            print("room", file=sys.stderr, flush=True)
            assert read.read(1 << 20).endswith(b"\nroom\n")
        os.write(writer, bytes(1 << 20))
        assert command("config", "template.toml")[0] == 0


@pytest.mark.skipif(sys.platform == "win32", reason="its shell closes nothing")
def test_closed_standard_streams_are_no_matter(tmp_path: Path):
    out = tmp_path / "poses.jsonl"
    words = [sys.executable, "-m", "streampose", "run", "synthetic:?seconds=0.2", "--offline", "--json", str(out)]
    done = subprocess.run(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *words], timeout=60, check=False)
    assert done.returncode == 0
    assert [json.loads(line)["frame"] for line in out.read_text().splitlines()] == list(range(6))


@dataclass(frozen=True, kw_only=True)
class Pair:
    one: int = 1
    two: str = "2"


def test_a_group_of_options_is_its_fields_at_its_place():
    given: list[object] = []

    @flat
    def command(*, first: int, pair: Pair, last: int = 3) -> None:
        given.extend((first, pair, last))

    parameters = signature(command).parameters.values()
    assert [(p.name, p.annotation) for p in parameters] == [("first", int), ("one", int), ("two", str), ("last", int)]
    command(first=0, two="5", one=4, last=6)
    assert given == [0, Pair(one=4, two="5"), 6]
