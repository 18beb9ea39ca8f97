"""FFmpeg makes HLS in a folder, and a web server serves it."""

from __future__ import annotations

import functools
import http.server
import threading
import time
from pathlib import Path

import av
import numpy as np

RATE = 30


class _Encoder(threading.Thread):
    """Encodes a moving grey at its own speed until it is stopped."""

    def __init__(self, url: str, container_format: str, options: dict[str, str]) -> None:
        super().__init__(name="encoder", daemon=True)
        self._arguments = (url, container_format, options)
        self.stopping = threading.Event()
        self.start()

    def run(self) -> None:
        url, container_format, options = self._arguments
        with av.open(url, "w", format=container_format, container_options=options) as container:
            stream = container.add_stream("libx264", rate=RATE, options={"preset": "ultrafast", "tune": "zerolatency"})
            stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
            stream.codec_context.gop_size = RATE // 2
            began, i = time.monotonic(), 0
            while not self.stopping.wait(max(0.0, began + i / RATE - time.monotonic())):
                picture = np.full((120, 160, 3), i % 256, np.uint8)
                for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")):
                    container.mux(packet)
                i += 1


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


class HlsServer:
    """Segments of one second, four in the list."""

    def __init__(self, folder: Path) -> None:
        options = {"hls_time": "1", "hls_list_size": "4", "hls_flags": "delete_segments"}
        self._encoder = _Encoder(str(folder / "live.m3u8"), "hls", options)
        handler = functools.partial(_Quiet, directory=str(folder))
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/live.m3u8"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        while not (folder / "live.m3u8").exists():
            time.sleep(0.05)

    def close(self) -> None:
        self._encoder.stopping.set()
        self._encoder.join()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
