"""Starting, pausing and killing `rtsp_server.py`, and `media_server.py`, to which one pushes."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import av

SYSTEM_PYTHON = "/usr/bin/python3"


def has_gstreamer() -> bool:
    if not shutil.which(SYSTEM_PYTHON):
        return False
    check = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
    return subprocess.run([SYSTEM_PYTHON, "-c", check], capture_output=True, check=False).returncode == 0


def recorded(file: Path) -> Iterator[av.VideoFrame]:
    """The pictures that a server has written, which may have been killed in the middle of one."""
    with contextlib.suppress(av.error.FFmpegError), av.open(str(file)) as container:
        yield from container.decode(video=0)


class RtspServer:
    """One process; started again it listens at the same port, perhaps with another stream."""

    script = Path(__file__).with_name("rtsp_server.py")

    def __init__(self, *arguments: str, prefix: Sequence[str] = (), host: str = "127.0.0.1") -> None:
        self._prefix, self._host, self.arguments = list(prefix), host, arguments
        self.port = 0
        self.start(*arguments)

    def start(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [*self._prefix, SYSTEM_PYTHON, self.script, "--address", self._host, "--port", str(self.port), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def url(self, path: str = "live", userinfo: str = "") -> str:
        return f"rtsp://{userinfo}{self._host}:{self.port}/{path}"

    def pause(self) -> None:
        """It is silent, but its connections stay open."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def switch(self) -> None:
        """Every session's pictures get another size, in the middle of the stream."""
        self.process.send_signal(signal.SIGUSR1)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


class MediaServer(RtspServer):
    """Takes what is pushed to it: each session is a file in the folder, NAME.0.ts, NAME.1.ts, …"""

    script = Path(__file__).with_name("media_server.py")
