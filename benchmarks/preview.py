"""What a window adds: from capture to the pixel on the screen, from a key to what it changes, and what streams pay.

    python benchmarks/preview.py [--seconds 20] [--json FILE]

The source, model and clock are those of `benchmarks/live.py` with figures drawn beforehand. Each frame carries its
number as a colour, and another process looks at that pixel on a screen of its own (Xvfb) every half millisecond: the
picture is shown when the X server has it, whatever the window believes. There is no monitor behind it, which would add
its own refresh. Runs with and without the window alternate. Needs Xvfb, openbox and
libXtst (which xdotool brings along).
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from command import parser_of, write_to
from live import Beforehand, Nothing
from machine import machine

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from servers.screen import XServer

from streampose import CallSink, LatencyBatch, OneEuro, Pipeline, Stream, Tracker, WindowSink, run_with_windows
from streampose.sources import Paced

_CODES = 60
# In a window of 1209 × 680, which is what one of 720p is: a pixel of the number, and one of the figures' panel.
_STAMP = (604, 20)
_FIGURES = (60, 632)


class Numbered(Beforehand):
    """Frames with their number, modulo 60, as a colour."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        for code, picture in enumerate(self.pictures):
            picture.setflags(write=True)
            picture[:40, 600:680] = (4 * code, 255, 128)


async def run(seconds: float, window: WindowSink | None) -> list[tuple[int, float, float]]:
    frames: list[tuple[int, float, float]] = []
    sink = CallSink(lambda r: frames.append((r.frame.index, r.frame.captured_at, time.monotonic())))
    stream = Stream(
        name="live",
        source=Paced(Numbered(seconds)),
        sinks=[sink] if window is None else [window, sink],
        tracker=Tracker(),
        smoother=OneEuro(),
    )
    async with Pipeline([stream], Nothing(), policy=LatencyBatch(0.1)) as pipeline:
        await pipeline.run()
    return frames[15:]


class Screen:
    """One pixel of an X server, and its keys."""

    def __init__(self) -> None:
        self._x, self._test = ctypes.CDLL("libX11.so.6"), ctypes.CDLL("libXtst.so.6")
        self._x.XOpenDisplay.restype = self._x.XGetImage.restype = ctypes.c_void_p
        self._x.XDefaultRootWindow.restype = self._x.XStringToKeysym.restype = ctypes.c_ulong
        self._display = ctypes.c_void_p(self._x.XOpenDisplay(None))
        self._root = ctypes.c_ulong(self._x.XDefaultRootWindow(self._display))

    def pixel(self, x: int, y: int) -> tuple[int, int, int]:
        image = self._x.XGetImage(self._display, self._root, x, y, 1, 1, ctypes.c_ulong(0xFFFFFF), 2)
        data = ctypes.c_void_p.from_address(image + 16).value  # XImage.data
        blue, green, red = (ctypes.c_ubyte * 3).from_address(data or 0)
        self._x.XDestroyImage(ctypes.c_void_p(image))
        return blue, green, red

    def press(self, key: bytes) -> None:
        code = self._x.XKeysymToKeycode(self._display, ctypes.c_ulong(self._x.XStringToKeysym(key)))
        for down in (1, 0):
            self._test.XTestFakeKeyEvent(self._display, code, down, ctypes.c_ulong(0))
        self._x.XFlush(self._display)


def watch(seconds: float) -> None:
    """In a process of its own: print when which number was to be seen first, then how long a key took."""
    screen = Screen()
    end, last = time.monotonic() + seconds - 3, None
    while (now := time.monotonic()) < end:
        blue, green, red = screen.pixel(*_STAMP)
        if (green, red) == (255, 128) and blue != last:
            print("shown", blue // 4, now)
            last = blue
        time.sleep(0.0005)
    for _ in range(20):
        before, at = screen.pixel(*_FIGURES), time.monotonic()
        screen.press(b"d")
        while np.abs(np.subtract(screen.pixel(*_FIGURES), before)).max() < 40 and time.monotonic() < at + 1:
            time.sleep(0.0005)
        print("key", 0, time.monotonic() - at)
        time.sleep(0.07)


def measure(seconds: float) -> dict[str, list[float]]:
    """Milliseconds: capture to another sink without and with a window, capture to the screen, key to the screen."""
    without = asyncio.run(run(seconds, None))
    watcher = subprocess.Popen(
        [sys.executable, __file__, "--watch", "--seconds", str(seconds)], stdout=subprocess.PIPE, text=True
    )
    with_window = run_with_windows(run(seconds, WindowSink()))
    lines = [line.split() for line in watcher.communicate()[0].splitlines()]
    shown = [(int(code), float(at)) for what, code, at in lines if what == "shown"]
    seen = []
    for index, captured_at, _ in with_window:
        times = [at - captured_at for code, at in shown if code == index % _CODES and 0 <= at - captured_at < 1]
        seen += times[:1]
    keys = [float(took_s) for what, _, took_s in lines if what == "key"]
    if min(keys, default=1.0) >= 1.0:
        raise SystemExit("no key did anything: are the figures where they are looked for?")
    return {
        "capture to another sink, without a window": [1e3 * (at - captured) for _, captured, at in without],
        "capture to another sink, beside a window": [1e3 * (at - captured) for _, captured, at in with_window],
        "capture to the screen": [1e3 * s for s in seen],
        "key to the screen": [1e3 * took_s for took_s in keys],
        "_frames": [float(len(with_window))],
    }


def main() -> int:
    parser = parser_of(__doc__)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--watch", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.watch:
        watch(arguments.seconds)
        return 0
    server = XServer(1280, 720)
    os.environ["DISPLAY"] = server.display
    try:
        rounds = [measure(arguments.seconds) for _ in range(arguments.rounds)]
    finally:
        server.close()
    report: dict[str, dict] = {"machine": machine()}
    for name in rounds[0]:
        values = np.concatenate([r[name] for r in rounds])
        if name == "_frames":
            share = len(np.concatenate([r["capture to the screen"] for r in rounds])) / values.sum()
            print(f"{share:.1%} of all frames were seen (the rest while keys were tried, or passed over)")
            continue
        p50, p99 = np.percentile(values, [50, 99])
        print(f"{name:<45} p50 {p50:5.2f} ms, p99 {p99:5.2f} ms ({len(values)})")
        report[name] = {"p50_ms": round(float(p50), 3), "p99_ms": round(float(p99), 3), "count": len(values)}
    write_to(arguments.json, report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
