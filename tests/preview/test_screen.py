"""Windows on a real screen (Xvfb): what is to be seen on it, and what keys do."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from dots import build
from servers.screen import PROGRAMS, XServer

from streampose.errors import SinkUnavailable, StreamposeError
from streampose.frame import Image
from streampose.preview import Screen, WindowSink, run_with_windows, why_no_screen
from streampose.preview.background import Background
from streampose.preview.x11 import reaches_server
from streampose.render import Style

LEFT = Style().left
HERE = Path(__file__).parent


async def _nothing() -> int:
    return 7


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch):
    """One that is there, and nothing is opened on it."""
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr("streampose.preview.display.reaches_server", lambda: True)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says beforehand that there is no screen")
@pytest.mark.parametrize(
    ("display", "wayland", "words"),
    [
        (None, None, "DISPLAY is not set"),
        (":64999", None, "DISPLAY=:64999 cannot be reached"),
        (":64999", "wayland-0", "DISPLAY=:64999 cannot be reached"),
        (None, "wayland-0", "no windows on Wayland"),
    ],
)
def test_no_screen_is_said(monkeypatch: pytest.MonkeyPatch, display: str | None, wayland: str | None, words: str):
    """Qt would end the process, by SIGABRT."""
    if wayland and not (Path(cv2.__file__).parent / "qt" / "plugins" / "platforms").is_dir():
        pytest.skip("this OpenCV may have windows on Wayland")
    monkeypatch.delenv("QT_QPA_PLATFORM", raising=False)
    for name, value in (("DISPLAY", display), ("WAYLAND_DISPLAY", wayland)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    for show in (lambda: run_with_windows(_nothing()), lambda: WindowSink().open("s", None)):  # type: ignore[arg-type]
        with pytest.raises(SinkUnavailable, match=f"no screen here .*{words}.*--out"):
            show()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says beforehand that there is no screen")
@pytest.mark.parametrize(
    ("platform", "plugins", "words"),
    [
        ("wayland", "xcb", "QT_QPA_PLATFORM=wayland, and this OpenCV has only xcb"),
        ("wayland-egl;offscreen:size=1x1", "xcb", "has only xcb"),
        ("wayland;xcb:nativepainting", "xcb", "DISPLAY=:7 cannot be reached"),
        ("", "xcb", "DISPLAY=:7 cannot be reached"),
        ("XCB", "xcb", "DISPLAY=:7 cannot be reached"),  # Qt takes it
        ("xc", "xcb", "QT_QPA_PLATFORM=xc, and this OpenCV has only xcb"),
        ("wayland", "wayland-egl", None),
        ("offscreen", "offscreen", None),
        ("offscreen", None, None),  # of a distribution, which has its plugins elsewhere
    ],
)
def test_a_platform_of_qt_that_is_not_there_is_said(
    platform: str,
    plugins: str | None,
    words: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    """Qt would end the process, by SIGABRT."""
    folder = tmp_path / "qt" / "plugins" / "platforms"
    folder.mkdir(parents=True)
    if plugins is not None:
        (folder / f"libq{plugins}.so").touch()
    monkeypatch.setattr(cv2, "__file__", str(tmp_path / "__init__.py"))
    monkeypatch.setattr("streampose.preview.display.reaches_server", lambda: False)
    monkeypatch.setattr("cv2.currentUIFramework", lambda: "QT5")
    monkeypatch.setenv("DISPLAY", ":7")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("QT_QPA_PLATFORM", platform)
    why = why_no_screen()
    assert why is None if words is None else why is not None and words in why


def test_a_process_without_room_for_threads_says_what_to_do(monkeypatch: pytest.MonkeyPatch):
    def full(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", full)
    with pytest.raises(StreamposeError, match=r"streampose-x11 got no thread .* run fewer streams"):
        reaches_server()
    with pytest.raises(StreamposeError, match=r"streampose-loop got no thread .* run fewer streams"):
        Background(_nothing(), lambda: None)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says beforehand that there is no screen")
def test_a_server_that_does_not_answer_is_no_screen(monkeypatch: pytest.MonkeyPatch):
    """As of a forwarded connection that is half dead; Xlib would wait for ever."""
    try:
        ctypes.CDLL("libX11.so.6")
    except OSError:
        pytest.skip("Xlib is absent")
    monkeypatch.setattr("streampose.preview.x11._ANSWERS_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("DISPLAY", f"127.0.0.1:{silent.getsockname()[1] - 6000}")
        assert not reaches_server()


@pytest.mark.skipif(not shutil.which("Xvfb"), reason="Xvfb is absent")
def test_a_screen_that_is_there_is_found(monkeypatch: pytest.MonkeyPatch):
    with contextlib.closing(XServer(64, 64, managed=False)) as server:
        monkeypatch.setenv("DISPLAY", server.display)
        monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
        assert why_no_screen() is None


def test_an_opencv_without_windows_is_said(screen: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("cv2.currentUIFramework", lambda: "")  # so says opencv-python-headless
    for show in (lambda: run_with_windows(_nothing()), lambda: WindowSink().open("s", None)):  # type: ignore[arg-type]
        with pytest.raises(SinkUnavailable, match=r"no windows: pip uninstall .*-headless, .* --show \(WindowSink\)"):
            show()
    assert Screen.current is None


def test_a_window_that_nothing_drives_is_said(screen: None):
    with pytest.raises(SinkUnavailable, match="run_with_windows"):
        WindowSink().open("s", None)  # type: ignore[arg-type]


def test_without_windows_it_is_asyncio_run(screen: None):
    assert run_with_windows(_nothing()) == 7

    async def fails() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_with_windows(fails())
    assert Screen.current is None


_DELETE = """
import ctypes, sys
class Message(ctypes.Structure):
    _fields_ = [("type", ctypes.c_int), ("serial", ctypes.c_ulong), ("send", ctypes.c_int),
                ("display", ctypes.c_void_p), ("window", ctypes.c_ulong), ("message", ctypes.c_ulong),
                ("format", ctypes.c_int), ("data", ctypes.c_long * 5), ("room", ctypes.c_char * 192)]
x = ctypes.CDLL("libX11.so.6")
x.XOpenDisplay.restype, x.XInternAtom.restype = ctypes.c_void_p, ctypes.c_ulong
display, window = ctypes.c_void_p(x.XOpenDisplay(None)), int(sys.argv[1])
protocols, delete = (x.XInternAtom(display, name, False) for name in (b"WM_PROTOCOLS", b"WM_DELETE_WINDOW"))
message = Message(type=33, window=window, message=protocols, format=32)
message.data[0] = delete
x.XSendEvent(display, ctypes.c_ulong(window), False, ctypes.c_long(0), ctypes.byref(message))
x.XCloseDisplay(display)
"""


class Desk:
    """A screen, and a program on it."""

    def __init__(self, folder: Path, *, managed: bool = True) -> None:
        self._folder = folder
        self._screen = XServer(1000, 600, managed=managed)
        self._environment = os.environ | {
            "DISPLAY": self._screen.display,
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        self._program: subprocess.Popen[str] | None = None

    def start(self, code: str, *arguments: object) -> None:
        command = [sys.executable, "-X", "faulthandler", "-c", textwrap.dedent(code), *map(str, arguments)]
        self._program = subprocess.Popen(
            command, env=self._environment, cwd=self._folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def let(self, *marks: str) -> None:
        for mark in marks:
            (self._folder / mark).touch()

    def shot(self) -> Image:
        path = self._folder / "shot.bmp"
        subprocess.run(["import", "-window", "root", path], env=self._environment, check=True)
        return np.asarray(cv2.imread(str(path)), np.uint8)

    def see(self, what: Callable[[Image], bool], within_s: float = 60.0) -> Image:
        """Wait until the screen shows it."""
        until = time.monotonic() + within_s
        while True:
            shot = self.shot()
            if what(shot):
                return shot
            assert self._program is None or self._program.poll() is None, self._program.communicate()
            if time.monotonic() > until:
                pytest.fail(f"it did not come on the screen; {self._told()}")
            time.sleep(0.05)

    def _told(self) -> str:
        assert self._program is not None
        self._program.send_signal(signal.SIGABRT)  # where it is, by faulthandler
        return self._program.communicate(timeout=5)[1]

    def do(self, *arguments: object, must: bool = True) -> str:
        """What xdotool does, and says."""
        command = ["xdotool", *map(str, arguments)]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False)
        # A window may close between the press and the release of the key that closes it.
        assert not (must and done.returncode) or "BadWindow" in done.stderr, done.stderr
        return done.stdout

    def key(self, key: str) -> None:
        self.do("search", "--name", "^streampose: ", "windowfocus", "key", key)

    def close_window(self, name: str = "") -> None:
        """What a window manager does when its cross is clicked: xdotool cannot."""
        window = int(self.do("search", "--name", f"^streampose: {name}").split()[0])
        subprocess.run([sys.executable, "-c", _DELETE, str(window)], env=self._environment, check=True)

    def lose_screen(self) -> None:
        self._screen.die()

    def kill(self, number: signal.Signals) -> None:
        assert self._program is not None
        self._program.send_signal(number)

    def end(self) -> tuple[int, str, str]:
        assert self._program is not None
        out, err = self._program.communicate(timeout=30)
        return self._program.returncode, out, err

    def close(self) -> None:
        if self._program is not None:
            self._program.kill()
            self._program.wait()
            for pipe in (self._program.stdout, self._program.stderr):
                if pipe is not None:
                    pipe.close()
        self._screen.close()


@pytest.fixture(params=[True])
def desk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Desk]:
    if not all(map(shutil.which, (*PROGRAMS, "xdotool", "import"))):
        pytest.skip("Xvfb, openbox, xdotool or imagemagick is absent")
    desk = Desk(tmp_path, managed=request.param)
    yield desk
    desk.close()


def has(colour: tuple[int, int, int], pixels: int, within: int = 12) -> Callable[[Image], bool]:
    return lambda shot: int((np.abs(shot.astype(int) - colour).max(axis=2) < within).sum()) >= pixels


_TWO = """
    import asyncio
    from fractions import Fraction
    import numpy as np
    import streampose as sp
    from fakes import frame, poses_of
    from dataclasses import replace

    async def main():
        info = sp.StreamInfo(width_px=320, height_px=240, time_base=Fraction(1, 1000))
        timing = sp.Timing(captured_at=0, taken_at=0, inferred_at=0, delivered_at=0, batch_size=1)
        sinks = [sp.WindowSink(hud=False), sp.WindowSink(hud=False)]
        for name, sink in zip(("one", "two"), sinks):
            sink.open(name, info)
        try:
            for i in range(1000):
                for sink, colour in zip(sinks, ((40, 200, 40), (200, 40, 40))):
                    one = replace(frame(i), image=np.full((240, 320, 3), colour, np.uint8))
                    sink.write(sp.Result(frame=one, poses=sp.Poses.empty(sp.COCO_17), timing=timing))
                await asyncio.sleep(0.02)
        except sp.StopRequested:
            print("quit")
        for sink in sinks:
            sink.close()
        return "closed"

    print(sp.run_with_windows(main()))
"""


def test_two_windows_and_a_key(desk: Desk):
    desk.start(_TWO)
    # Both are in the same corner: the one above is seen.
    desk.see(lambda shot: has((40, 200, 40), 50_000)(shot) or has((200, 40, 40), 50_000)(shot))
    windows = desk.do("search", "--name", "^streampose: ").split()
    titles = {desk.do("getwindowname", window).strip() for window in windows}
    assert titles == {"streampose: one", "streampose: two"}
    assert "Width: 320" not in desk.do("getwindowgeometry", windows[0])
    desk.do("windowfocus", windows[0], "key", "q")
    assert desk.end() == (0, "quit\nclosed\n", "")


_FAILED = _TWO.replace("        try:", "        sinks[1].view.failed = True\n        try:", 1)


def test_closing_the_window_of_a_stream_that_failed_leaves_the_others(desk: Desk):
    desk.start(_FAILED)
    desk.see(lambda shot: len(desk.do("search", "--name", "^streampose: ", must=False).split()) == 2)
    desk.close_window("two")
    desk.see(lambda shot: not desk.do("search", "--name", "^streampose: two", must=False))
    desk.see(has((40, 200, 40), 50_000))
    desk.close_window("one")
    assert desk.end() == (0, "quit\nclosed\n", "")


_GONE = """
    import cv2

    def show(title, picture, shown=cv2.imshow):
        shown(title, picture)
        cv2.destroyWindow(title)

    cv2.imshow = show
"""


def test_a_window_that_is_closed_before_its_first_picture_was_closed(desk: Desk):
    desk.start(_GONE + _TWO)
    assert desk.end() == (0, "quit\nclosed\n", "")


_MANY = """
    import asyncio
    from fractions import Fraction
    from dataclasses import replace
    import numpy as np
    import streampose as sp
    from fakes import frame

    async def main():
        info = sp.StreamInfo(width_px=180, height_px=100, time_base=Fraction(1, 1000))
        timing = sp.Timing(captured_at=0, taken_at=0, inferred_at=0, delivered_at=0, batch_size=1)
        one = replace(frame(0), image=np.full((100, 180, 3), (40, 200, 40), np.uint8))
        for i in range(12):
            sink = sp.WindowSink(hud=False)
            sink.open(f"w{i}", info)
            sink.write(sp.Result(frame=one, poses=sp.Poses.empty(sp.COCO_17), timing=timing))
        await asyncio.sleep(60)

    sp.run_with_windows(main())
"""


@pytest.mark.parametrize("desk", [False], indirect=True)
def test_no_window_stays_black(desk: Desk):
    """Without a window manager it was one in four: Xlib had taken the event that says that a window is there."""
    desk.start(_MANY)
    until = time.monotonic() + 20
    while len(windows := desk.do("search", "--name", "^streampose: ", must=False).split()) < 12:
        assert time.monotonic() < until
        time.sleep(0.1)
    for i, window in enumerate(windows):
        desk.do("windowmove", window, 200 * (i % 4), 120 * (i // 4))
    desk.see(has((40, 200, 40), 12 * 17_000))


# The camera opens and the model loads when a test says so: what is shown meanwhile is seen however slow the machine is.
_HELD = """
    import sys, time
    from pathlib import Path
    import streampose
    from streampose.preview import models
    from streampose.sources import SyntheticSource

    def after(mark, function):
        def held(*args, **kwargs):
            while not Path(mark).exists():
                time.sleep(0.02)
            return function(*args, **kwargs)
        return held

    models.load_estimators = after("model", models.load_estimators)
    SyntheticSource.open = after("camera", SyntheticSource.open)
    sys.argv[0] = "streampose"
    from streampose.cli import main
    main()
"""
_RUN = ("run", "cam=synthetic:?people=2&size=640x360", "--show")


def is_card(shot: Image) -> bool:
    return has((38, 31, 27), 100_000, within=3)(shot)


def is_room(shot: Image) -> bool:
    """The drawn room is mostly bright; the card, and the empty screen, are dark."""
    return float(shot[50:200, 100:500].mean()) > 100


def test_a_preview_from_the_first_moment_to_the_last_key(desk: Desk, tmp_path: Path):
    other = build(tmp_path / "other.onnx", "rtmo", k=17, size=(64, 64))
    desk.start(_HELD, *_RUN, "--mirror", "--next-model", other)
    skeleton = has(LEFT, 300)
    card = desk.see(is_card)
    assert not is_room(card)
    desk.let("camera")
    raw = desk.see(is_room)
    assert not skeleton(raw), "there is a skeleton before there is a model"
    desk.let("model")
    desk.see(skeleton)

    def changes(key: str, there: Callable[[Image], bool]) -> None:
        desk.key(key)
        desk.see(there, within_s=5)

    hud = np.s_[325:350, 10:300]  # the figures: a dark panel on a bright floor
    dark = has((30, 24, 20), 1500, within=40)
    desk.see(lambda shot: dark(shot[hud]))
    changes("d", lambda shot: not dark(shot[hud]))
    help_ = np.s_[100:260, 250:390]
    changes("h", lambda shot: float(shot[help_].mean()) < 110)
    changes("h", is_room)
    desk.key("space")
    until, shots = time.monotonic() + 15, [desk.shot()]
    while len(shots) < 3:  # three alike
        assert time.monotonic() < until, "it moves"
        time.sleep(0.3)
        shot = desk.shot()
        shots = [*shots, shot] if (shot == shots[0]).all() else [shot]
    held = shots[0]
    desk.key("space")
    desk.see(lambda shot: bool((shot != held).any()), within_s=5)
    desk.key("s")
    until = time.monotonic() + 5
    while not (snapshots := list(tmp_path.glob("cam-*.png"))):
        assert time.monotonic() < until
        time.sleep(0.05)
    desk.key("m")
    desk.see(lambda shot: not has(LEFT, 50)(shot))  # a model that sees nobody
    desk.key("Left")  # whose lower byte is Q
    time.sleep(0.3)
    desk.key("Escape")
    code, out, err = desk.end()
    assert (code, out) == (0, ""), err
    assert "cam: stopped after" in err
    assert ", 0 dropped" not in err
    assert cv2.imread(str(snapshots[0])).shape == (360, 640, 3)


def test_files_are_whole_when_the_screen_goes_away(desk: Desk, tmp_path: Path):
    """Qt ends the process then, by exit()."""
    desk.let("camera", "model")
    desk.start(_HELD, *_RUN, "--coco", "poses.json")
    desk.see(has(LEFT, 300))
    desk.lose_screen()
    code, _, err = desk.end()
    assert code == 1
    assert "stopping: delivering what is on its way" in err
    assert "cam: stopped after" in err
    assert json.loads((tmp_path / "poses.json").read_text()), "nobody is in it"


def test_a_window_keeps_the_shape_of_the_picture(desk: Desk):
    desk.start(_TWO)
    desk.see(lambda shot: has((40, 200, 40), 50_000)(shot) or has((200, 40, 40), 50_000)(shot))
    for window in desk.do("search", "--name", "^streampose: ").split():
        desk.do("windowsize", window, 900, 300)

    def fits(width: int, height: int, left: int) -> Callable[[Image], bool]:
        def there(shot: Image) -> bool:
            for colour in ((40, 200, 40), (200, 40, 40)):
                rows, columns = np.nonzero(np.abs(shot.astype(int) - colour).max(axis=2) < 12)
                place = (np.ptp(columns) + 1, np.ptp(rows) + 1, columns.min(), rows.min()) if len(rows) else None
                if place == (width, height, left, 0):
                    return True
            return False

        return there

    desk.see(fits(400, 300, left=250), within_s=10)
    desk.key("f")
    desk.see(fits(800, 600, left=100), within_s=10)
    desk.key("Escape")
    desk.see(fits(400, 300, left=250), within_s=10)
    desk.key("q")
    assert desk.end()[0] == 0


@pytest.mark.parametrize("how", ["key", "signal", "closed"])
def test_it_ends_at_once_while_nothing_is_there_yet(desk: Desk, how: str):
    desk.start(_HELD, *_RUN)
    desk.see(is_card)
    began = time.monotonic()
    if how == "key":
        desk.key("q")
    elif how == "closed":
        desk.close_window()
    else:
        desk.kill(signal.SIGTERM)
        time.sleep(1.5)
        desk.kill(signal.SIGTERM)
    if how != "signal":
        desk.see(lambda shot: not shot.any(), within_s=5)
    desk.let("model")  # what is being loaded cannot be interrupted
    code, _, err = desk.end()
    assert time.monotonic() - began < 15
    assert (code, "Traceback" in err) == (130 if how == "signal" else 0, False), err


@pytest.mark.parametrize("signals", [[signal.SIGINT], [signal.SIGHUP] * 3])
def test_the_first_interrupt_delivers_what_is_on_its_way(desk: Desk, signals: list[signal.Signals]):
    desk.let("camera", "model")
    desk.start(_HELD, *_RUN, "--json", "out.jsonl")
    desk.see(has(LEFT, 300))
    for number in signals:
        desk.kill(number)
    code, _, err = desk.end()
    assert code == 0, err
    assert "stopping: delivering what is on its way" in err
    assert "cam: stopped after" in err


def test_a_model_that_is_not_there_is_one_line(desk: Desk):
    desk.let("camera", "model")
    desk.start(_HELD, *_RUN, "--model", "no-such.onnx", "--quiet")
    code, _, err = desk.end()
    assert (code, err) == (1, "error: no model file at no-such.onnx\n")


def test_what_is_saved_is_not_mirrored(desk: Desk, tmp_path: Path):
    people = []
    for way in ("--mirror", "--no-mirror"):
        source = "cam=synthetic:?people=1&size=320x180&seconds=0.2"
        desk.let("camera", "model")
        desk.start(_HELD, "run", source, "--offline", "--show", way, "--json", "o.jsonl")
        code, _, err = desk.end()
        assert code == 0, err
        lines = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
        people.append([line["people"] for line in lines])
    assert people[0] == people[1]
    assert len(people[0]) == 6
