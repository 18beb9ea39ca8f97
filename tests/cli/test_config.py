"""A file of options and streams: what it may say, what it says when it is wrong, and that it is read again."""

from __future__ import annotations

import contextlib
import importlib
import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import pytest
from test_run import clip, command, models  # noqa: F401

from streampose.backoff import Backoff
from streampose.cli.config import StreamEntry, load_config, tell_twins
from streampose.cli.outputs import Outputs
from streampose.cli.session import Session
from streampose.errors import ConfigError, HostNotFound, SourceTimeout
from streampose.frame import StreamInfo
from streampose.interrupt import keep_hang_ups, let_hang_ups_come
from streampose.sources import network, open_source

EXAMPLE = Path(__file__).parents[2] / "examples" / "cameras.toml"


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def written(text: str) -> Path:
        file = tmp_path / "cameras.toml"
        file.write_text(text)
        return file

    return written


def test_streams_and_options(write: Callable[[str], Path]):
    config = load_config(
        write(
            "budget = '80ms'\nstreams.yard.source = '0'\n[streams.door]\nsource='rtsp://{env:X}@h/a'\nweight=2\nbudget='1s'"
        )
    )
    assert config.options == {"budget": "80ms"}
    door = StreamEntry(source="rtsp://{env:X}@h/a", budget_s=1.0, weight=2.0)
    assert config.streams == {"yard": StreamEntry(source="0"), "door": door}


def test_a_file_of_a_windows_editor_is_read_and_its_lines_are_counted_as_ever(write: Callable[[str], Path]):
    text = "\N{ZERO WIDTH NO-BREAK SPACE}budget = '80ms'\r\n[streams.door]\r\nsource = '0'\r\n"
    assert load_config(write(text)) == load_config(write(text[1:]))
    with pytest.raises(ConfigError, match=r"cameras\.toml:4: .*'weigth'"):
        load_config(write(f"{text}weigth = 2\r\n"))


@pytest.fixture
def hang_ups_as_they_were() -> Iterator[None]:
    """A run with a file leaves them ignored, since its process ends."""
    before = signal.getsignal(signal.SIGHUP) if hasattr(signal, "SIGHUP") else None
    yield
    if before is not None:
        signal.signal(signal.SIGHUP, before)


def test_one_of_what_may_be_several_needs_no_list(command, write: Callable[[str], Path]):  # noqa: F811
    said = []
    for value in ("'gopher://h/x'", "['gopher://h/x']"):
        said.append(command("run", "--config", write(f"send = {value}\n[streams.a]\nsource = 'synthetic:'")))
    assert said[0] == said[1]
    assert (said[0][0], "gopher" in said[0][2]) == (1, True)


def test_a_camera_of_a_file_that_is_unknown_is_waited_for_and_one_of_the_command_line_is_a_slip(
    command,  # noqa: F811
    write: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    sessions: list[Session] = []
    module = importlib.import_module("streampose.cli.run")
    monkeypatch.setattr(module, "start_session", lambda it: sessions.append(it) or 0)
    monkeypatch.setattr(Backoff, "wait_s", lambda *_: 0.0)
    unknown = "rtsp://nowhere.invalid/a"
    twins = "\n".join(f"[streams.{name}]\nsource = '{unknown}'" for name in "ab")
    assert command("run", "--config", write(twins))[0] == 0
    assert "b has the same source as a" in caplog.text
    assert command("run", unknown)[0] == 0
    (kept, _), (typed,) = (session.streams for session in sessions)
    monkeypatch.setattr(kept.source.source, "open", HostNotFoundOnce())
    assert kept.source.open("a").width_px == 64
    monkeypatch.setattr(typed.source.source, "open", HostNotFoundOnce())
    with pytest.raises(HostNotFound):
        typed.source.open("a")


def test_one_camera_under_two_names_is_told_and_clips_and_figures_are_not(caplog: pytest.LogCaptureFixture):
    sources = {"door": "rtsp://u:pw@h/a", "yard": "rtsp://h/b", "gate": "rtsp://u:pw@h/a", "a": "x.mp4", "b": "x.mp4"}
    sources |= dict.fromkeys("cd", "file:///x.mp4")
    tell_twins({name: StreamEntry(source=source) for name, source in sources.items()})
    (record,) = caplog.records
    assert (record.stream, record.event) == ("gate", "twin")
    assert record.getMessage().startswith("gate has the same source as door: ")


@pytest.mark.parametrize("silent", ["from the start", "after the first picture"])
def test_a_camera_has_the_patience_that_its_file_gives_it(
    silent: str, write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
):
    (entry,) = load_config(write("[streams.a]\nsource = 'rtsp://h/a'\ntimeout = '40s'")).streams.values()
    source = open_source(entry.source, timeout_s=entry.timeout_s).source
    told: list[float] = []
    if silent == "from the start":
        monkeypatch.setattr(network, "look_up", lambda *_, within_s: told.append(within_s))
        monkeypatch.setattr(network.RtspContainer, "open", opening_fails)
        with pytest.raises(SourceTimeout, match="gave no picture within 40 s"):
            source.open("a")
        assert told == [40]
        monkeypatch.setattr(network.socket, "create_connection", opening_fails)
        with pytest.raises(SourceTimeout, match="did not answer within 16 s"):
            source.open("a")
    else:
        assert str(source._reading_error(TimeoutError())) == "rtsp://h/a went silent for 40 s"


def opening_fails(url: str, **_: object) -> None:
    raise TimeoutError(url)


def test_there_is_no_timeout_for_what_comes_over_no_network():
    with pytest.raises(ConfigError, match="0 comes over no network: there is no timeout for it"):
        open_source("0", timeout_s=9)
    for timeout_s in (0, 1e300):
        with pytest.raises(ConfigError, match="a timeout is positive, and a day at most, not "):
            open_source("rtsp://h/a", timeout_s=timeout_s)


class HostNotFoundOnce:
    """The `open` of a source whose host is known from its second try on."""

    def __init__(self) -> None:
        self._tries = 0

    def __call__(self, stream: str) -> StreamInfo:
        self._tries += 1
        if self._tries == 1:
            raise HostNotFound(stream)
        return StreamInfo(width_px=64, height_px=48, time_base=Fraction(1, 1000))


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("# a\n\nbudgte = '1s'", 3, "budgte"),
        ("batch = 4\nbatch-size = 4", 2, "batch-size"),
        ("next-model = [\n  'a',\n  'b',\n]\nseconds = 'long'", 5, "seconds"),
        ("out = '''\na\nseconds = 1\n'''\ntrack = 'perhaps'", 5, "track"),
        ("batch = 0", 1, "batch"),
        ("quiet = true\nbatch = true", 2, "batch takes a value, and true is none"),
        ("json = false", 1, "json takes a value, and false is none"),
        ("batch = 4.5", 1, "batch: "),
        ("quiet = true\nmodel = ['a', 'b']", 2, "model takes one value, not a list"),
        ("track = []", 1, "track takes one value, not a list"),
        ("model = 2026-01-01", 1, "model takes a text in quotes, or a number"),
        ("next-model = [['a']]", 1, "next-model takes one value"),
        ("next-model = [true]", 1, "next-model takes a value, and true is none"),
        ("[[model]]\nname = 'a'", 1, "model takes one value, not a list"),
        ("offline = true", 1, "write live = false"),
        ("no_track = true", 1, "write track = false"),
        ("no_track = 'false'", 1, "write track = true or false"),
        ("config = 'other.toml'", 1, "config"),
        ("sources = ['0']", 1, "sources"),
        ("[streams.a]\nsource = '0'\n\n[streams.b]\nsource = '1'\nweigth = 1", 6, "weigth"),
        ("[streams.a]\nsource = '0'\n[streams.b]\nweight = 1", 3, "source"),
        ("[streams]\na = {source = '0'}\nb = {source = '1', weight = -1}", 3, "weight"),
        ("[streams.a]\nsource = '0'\nweight = true", 3, "weight"),
        ("[streams.a]\nsource = 'rtsp://h/a'\ntimeout = '0s'", 3, "'0s' is not a time"),
        ("[streams.a]\nsource = '0'\nbudget = 'soon'", 3, "soon"),
        ("[streams.a]\nsource = '0'\nbudget = 100", 3, "100ms or 100s"),
        ("[streams.'a/b']\nsource = '0'", 1, "a/b"),
        ("json = '-'\nstreams = ['0']", 2, "streams are tables"),
        ("[streams.a]\nsource = '0'\n[model]\nname = 'x'", 3, "model"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(
    command,  # noqa: F811
    write: Callable[[str], Path],
    text: str,
    line: int,
    words: str,
):
    file = write(text)
    code, _, err = command("run", "--config", file)
    assert code == 1
    (said,) = err.splitlines()
    assert said.startswith(f"error: {file}:{line}: ")
    assert words in said


@pytest.mark.parametrize(
    ("text", "words"),
    [("a =\nb = 1", "line 1"), ("a = 1\na = 2\nb = 1", "line 2"), ("json = '-'", "SOURCE"), (None, "No such file")],
)
def test_what_cannot_be_read_is_told(
    command,  # noqa: F811
    write: Callable[[str], Path],
    tmp_path: Path,
    text: str | None,
    words: str,
):
    file = tmp_path / "none.toml" if text is None else write(text)
    code, _, err = command("run", "--config", file)
    assert code in {1, 2}
    assert words in err
    assert "Traceback" not in err


@pytest.mark.usefixtures("hang_ups_as_they_were")
def test_the_command_line_goes_before_the_file(
    command,  # noqa: F811
    write: Callable[[str], Path],
    models: list[object],  # noqa: F811
    tmp_path: Path,
):
    figures = "[streams.a]\nsource = 'synthetic:?size=160x120'"
    file = write(f"seconds = 600\nfp16 = false\nquiet = true\njson = '{tmp_path}/'\n{figures}")
    for seconds in (0.5, 5):  # where the machine is busy, nothing may come of half a second
        code, _, err = command("run", "--config", file, "--seconds", seconds, *models)
        assert (code, err) == (0, "")
        if frames(tmp_path / "a.jsonl"):
            break
    assert frames(tmp_path / "a.jsonl")
    code, _, err = command("run", "--config", file, "0")
    assert code == 1
    assert "one place" in err


def test_the_example_makes_sense(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config = load_config(EXAMPLE)
    assert len(config.streams) >= 2
    monkeypatch.chdir(tmp_path)  # empty, as a service finds its folder at first
    Outputs(json=config.options["json"]).check({name: entry.source for name, entry in config.streams.items()})
    unit = EXAMPLE.with_name("streampose.service").read_text()
    variables = re.findall(r"{env:(\w+)}", "".join(entry.source for entry in config.streams.values()))
    assert variables, "the test would show nothing"
    assert "EnvironmentFile=" in unit
    assert all(f"{name}=" in unit for name in variables), "whoever starts it is told where they are set"
    assert "json-rotate" in config.options, "as a service it is started again, and shall overwrite nothing"
    with pytest.raises(ConfigError, match="No such file"):
        load_config(EXAMPLE.with_name("none.toml"))


def frames(file: Path) -> list[int]:
    return [json.loads(line)["frame"] for line in file.read_text().splitlines()] if file.exists() else []


def until(what: Callable[[], bool], within_s: float = 30.0) -> None:
    end = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)


hang_up = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no SIGHUP")


@contextlib.contextmanager
def running(
    file: Path, *arguments: str, program: Sequence[str] = ("-m", "streampose")
) -> Iterator[subprocess.Popen[str]]:
    words = [sys.executable, *program, "run", "--config", str(file), *arguments]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as running:
        try:
            yield running
        finally:
            running.kill()


@hang_up
def test_a_hang_up_changes_what_changed_and_nothing_else(write: Callable[[str], Path], tmp_path: Path):
    start = f"json = '{tmp_path}/'\n[streams.stays]\nsource = 'synthetic:?size=64x64'\n"
    file = write(
        start
        + "[streams.changes]\nsource = 'synthetic:?size=64x64'\n[streams.goes]\nsource = 'synthetic:?size=64x64'\n"
    )
    words = [sys.executable, "-m", "streampose", "run", "--config", str(file), "--hwaccel", "none"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as program:
        try:
            until(lambda: all(len(frames(tmp_path / f"{name}.jsonl")) > 5 for name in ("stays", "changes", "goes")))
            changed = "[streams.changes]\nsource = 'synthetic:?size=64x64&people=2'\n"
            write(start + changed + "[streams.comes]\nsource = 'synthetic:?size=64x64'\n")
            program.send_signal(signal.SIGHUP)
            until(lambda: all(len(frames(tmp_path / name)) > 5 for name in ("changes.2.jsonl", "comes.jsonl")))
            before = len(frames(tmp_path / "goes.jsonl"))
            write(start + "[streams.comes]\nsource = 'synthetic:?size=64x64'\nbudget = 'never'\n")
            program.send_signal(signal.SIGHUP)
            seen = len(frames(tmp_path / "changes.2.jsonl"))
            until(lambda: len(frames(tmp_path / "changes.2.jsonl")) > seen + 10)
            assert len(frames(tmp_path / "goes.jsonl")) == before
            program.send_signal(signal.SIGTERM)
            _, said = program.communicate(timeout=30)
        finally:
            program.kill()
    assert program.returncode == 0
    assert "1 added, 1 changed, 1 removed" in said
    assert f"nothing was changed: {file}:6: " in said
    # Who stayed was not touched: one opening, so its frames' numbers never begin again.
    stayed = frames(tmp_path / "stays.jsonl")
    assert stayed == sorted(set(stayed))
    assert not (tmp_path / "stays.2.jsonl").exists()
    assert len(frames(tmp_path / "changes.jsonl")) > 5


@hang_up
def test_a_hang_up_overwrites_no_file_of_another_stream_and_a_refused_one_takes_no_name(
    write: Callable[[str], Path], tmp_path: Path
):
    door, other = (tmp_path / f"{name}.jsonl" for name in ("door", "door.2"))
    start = f"json = '{tmp_path}/'\nlive = true\n[streams.'door.2']\n"
    start += "source = 'synthetic:?size=64x64&fps=20'\n[streams.door]\n"
    file = write(start + "source = 'synthetic:?size=64x64&fps=20'\n")
    with running(file) as program:
        until(lambda: min(len(frames(door)), len(frames(other))) > 5)
        write(start + "source = 'synthetic:?size=64x64&fps=10'\n")
        program.send_signal(signal.SIGHUP)
        until(lambda: len(frames(tmp_path / "door.3.jsonl")) > 5)
        write(start + "source = 'synthetic:?size=64x64&fps=5'\n[streams.third]\nsource = '{env:NO_SUCH_VARIABLE}'\n")
        program.send_signal(signal.SIGHUP)
        seen = len(frames(other))
        until(lambda: len(frames(other)) > seen + 10)
        write(start + "source = 'synthetic:?size=64x64&fps=15'\n")
        program.send_signal(signal.SIGHUP)
        until(lambda: len(frames(tmp_path / "door.4.jsonl")) > 5)
        program.send_signal(signal.SIGTERM)
        _, said = program.communicate(timeout=30)
    assert program.returncode == 0
    assert "NO_SUCH_VARIABLE is not set" in said
    written = [json.loads(line) for line in other.read_text().splitlines()]
    assert {line["stream"] for line in written} == {"door.2"}
    assert [line["frame"] for line in written] == sorted({line["frame"] for line in written})
    assert sorted(file.name for file in tmp_path.glob("*.jsonl")) == [f"door{n}.jsonl" for n in (".2", ".3", ".4", "")]


@hang_up
def test_a_hang_up_brings_back_a_stream_that_failed_and_an_empty_file_takes_none_away(
    write: Callable[[str], Path],
    clip: Path,  # noqa: F811
    tmp_path: Path,
):
    source, bad, stays = (tmp_path / name for name in ("bad.mp4", "bad.jsonl", "stays.jsonl"))
    source.write_bytes(b"no video")
    text = f"json = '{tmp_path}/'\n[streams.bad]\nsource = '{source}'\n"
    file = write(text + "[streams.stays]\nsource = 'synthetic:?size=64x64&fps=20'\n")
    with running(file, "--live") as program:
        until(lambda: len(frames(stays)) > 5)
        source.write_bytes(clip.read_bytes())
        program.send_signal(signal.SIGHUP)
        until(lambda: len(frames(tmp_path / "bad.2.jsonl")) > 5)
        write("")
        program.send_signal(signal.SIGHUP)
        seen = len(frames(stays))
        until(lambda: len(frames(stays)) > seen + 10)
        program.send_signal(signal.SIGTERM)
        _, said = program.communicate(timeout=30)
    assert program.returncode == 0
    assert "0 added, 1 changed, 0 removed" in said
    assert f"nothing was changed: {file} names no stream" in said
    assert not bad.exists()


@hang_up
def test_a_hang_up_before_there_is_anything_to_change_is_remembered_and_one_at_the_end_is_harmless(
    write: Callable[[str], Path], tmp_path: Path
):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    text = f"metrics = '{port}'\nlive = true\njson = '{tmp_path}/'\n[streams.a]\nsource = 'synthetic:?size=64x64'\n"
    file = write(text)

    def listens() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return True
        return False

    changed = tmp_path / "changed"
    waits = f"""
import pathlib, time
from streampose.cli import main, session
load = session.load_estimators
def once_changed(*given, **how):
    while not pathlib.Path({str(changed)!r}).exists():
        time.sleep(0.01)
    return load(*given, **how)
session.load_estimators = once_changed
main()
"""
    with running(file, program=["-c", waits]) as program:
        until(listens)
        write(text + "[streams.b]\nsource = 'synthetic:?size=64x64'\n")
        program.send_signal(signal.SIGHUP)
        changed.touch()
        until(lambda: min(len(frames(tmp_path / f"{name}.jsonl")) for name in "ab") > 5)
        program.send_signal(signal.SIGTERM)
        while program.poll() is None:
            program.send_signal(signal.SIGHUP)
            time.sleep(0.001)
        _, said = program.communicate(timeout=30)
    assert (program.returncode, "Traceback" in said) == (0, False), said
    assert "1 added, 0 changed, 0 removed" in said


@hang_up
def test_a_hang_up_while_its_modules_are_loaded_is_remembered(write: Callable[[str], Path], tmp_path: Path):
    file = write(f"json = '{tmp_path}/'\nlive = true\n[streams.a]\nsource = 'synthetic:?size=64x64'\n")
    hung_up = """
import os, signal, sys
from streampose.__main__ import main
class HangUp:
    def find_spec(self, name, *_):
        if name == "streampose.cli.run":
            os.kill(os.getpid(), signal.SIGHUP)
sys.meta_path.insert(0, HangUp())
main()
"""
    with running(file, "--quiet", program=["-c", hung_up]) as program:
        until(lambda: program.poll() is not None or len(frames(tmp_path / "a.jsonl")) > 0)
        program.send_signal(signal.SIGTERM)
        _, said = program.communicate(timeout=30)
    assert program.returncode == 0
    assert said.startswith(f"{file} is read again: 0 added, 0 changed, 0 removed\n")


@hang_up
@pytest.mark.parametrize(
    ("words", "waits"),
    [
        ("run --config x.toml", True),
        ("--log-format json --debug run --quiet --config=x.toml", True),
        ("run door=rtsp://h/a", False),
        ("process --config x.toml run", False),
    ],
)
def test_a_hang_up_waits_only_where_a_file_may_be_read_again(words: str, waits: bool):
    before = signal.getsignal(signal.SIGHUP)
    keep_hang_ups(words.split())
    kept = signal.getsignal(signal.SIGHUP)
    let_hang_ups_come()
    assert before == signal.SIG_DFL == signal.getsignal(signal.SIGHUP)
    assert (kept != before) == waits
