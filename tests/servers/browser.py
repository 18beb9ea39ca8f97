"""A real Chromium, with a clip in the place of a camera."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
import cv2
import numpy as np

from streampose.frame import Image

CHROMIUM = next((path for name in ("chromium", "chromium-browser") if (path := shutil.which(name))), None)

_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--allow-loopback-in-peer-connection",
    "--disable-features=WebRtcHideLocalIpsWithMdns",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]


def clip_pictures(assets: Path) -> list[Image]:
    """One moving person, 640×480, forwards and backwards."""
    with av.open(str(assets / "videos" / "pose2sim_single_cam03.mp4")) as video:
        frames = [f.to_ndarray(format="bgr24")[330:1146] for i, f in enumerate(video.decode(video=0)) if i % 2 == 0]
    pictures = [np.asarray(cv2.resize(f, (640, 480), interpolation=cv2.INTER_AREA), np.uint8) for f in frames]
    return pictures + pictures[-2:0:-1]


def make_clip(assets: Path, path: Path, seconds: float = 6.0) -> Path:
    """These pictures, 30 fps, as Motion JPEG."""
    pictures = clip_pictures(assets)
    with av.open(str(path), "w", format="mjpeg") as output:
        stream = output.add_stream("mjpeg", rate=Fraction(30), options={"q": "2"})
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuvj420p"
        for i in range(round(seconds * 30)):
            frame = av.VideoFrame.from_ndarray(pictures[i % len(pictures)], format="bgr24")
            output.mux(stream.encode(frame.reformat(format="yuvj420p")))
        output.mux(stream.encode())
    return path


@contextlib.asynccontextmanager
async def chromium(clip: Path | None = None) -> AsyncIterator[Any]:
    """The browser; pages of it have a camera that plays the clip."""
    from playwright.async_api import async_playwright

    flags = _FLAGS if clip is None else [*_FLAGS, f"--use-file-for-fake-video-capture={clip}"]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        try:
            yield browser
        finally:
            await browser.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Serve:
    """`streampose serve` in a process of its own, that can be killed and started again at the same port."""

    def __init__(self, *args: str, port: int) -> None:
        self._args, self.port = args, port
        self.url = f"http://127.0.0.1:{port}/"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "streampose", "serve", "--port", str(self.port), *self._args]
        self._process = subprocess.Popen(command)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert self._process.poll() is None, "streampose serve ended"
            with contextlib.suppress(OSError), urllib.request.urlopen(self.url, timeout=5):
                return
            time.sleep(0.05)
        raise TimeoutError("streampose serve does not answer")

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(timeout=20)
