"""A real RTMP server on loopback: nginx with its RTMP module, and somebody who publishes to it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

import av
import numpy as np

_MODULE = Path("/usr/lib/nginx/modules/ngx_rtmp_module.so")
_CONFIG = """
load_module {module};
daemon off;
master_process off;
error_log stderr error;
pid {folder}/pid;
events {{ worker_connections 64; }}
rtmp {{ server {{ listen 127.0.0.1:{port}; application live {{ live on; wait_video on; wait_key on; }} }} }}
"""


def has_rtmp_server() -> bool:
    return shutil.which("nginx") is not None and _MODULE.is_file()


class RtmpServer:
    """One process; started again it listens at the same port."""

    def __init__(self, folder: Path) -> None:
        self._config = folder / "nginx.conf"
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]
        self._config.write_text(_CONFIG.format(module=_MODULE, folder=folder, port=self.port))
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(["nginx", "-c", str(self._config), "-e", "stderr"], stderr=subprocess.DEVNULL)
        until = time.monotonic() + 10
        while time.monotonic() < until:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        raise RuntimeError("nginx does not answer")

    def url(self, key: str = "door") -> str:
        return f"rtmp://127.0.0.1:{self.port}/live/{key}"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class Publisher:
    """A camera that pushes: a moving grey, 160×120 at 30 fps, until it is stopped or the server goes away."""

    def __init__(self, url: str) -> None:
        self._url, self._stopped = url, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            with av.open(self._url, "w", format="flv") as out:
                options = {"tune": "zerolatency", "preset": "ultrafast", "g": "15"}
                stream = out.add_stream("libx264", rate=30, options=options)
                stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
                begin = time.monotonic()
                for i in range(10**6):
                    if self._stopped.wait(max(0.0, begin + i / 30 - time.monotonic())):
                        return
                    picture = np.full((120, 160, 3), i % 200 + 20, np.uint8)
                    out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        except av.error.FFmpegError:
            pass  # the server was killed
