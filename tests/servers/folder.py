"""A web server of a folder, and HLS in it that a test writes."""

from __future__ import annotations

import contextlib
import functools
import http.server
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import IO

import av
import numpy as np

RATE = 40
SEGMENT = 10
"""Pictures."""


class _Quiet(http.server.SimpleHTTPRequestHandler):
    """Of what is asked for with ``?live`` it does not say how long it is; ``?cut`` breaks off half way;
    ``?endless`` says a size that cannot be."""

    def copyfile(self, source: IO[bytes], outputfile: IO[bytes]) -> None:
        data = source.read()
        outputfile.write(data[: len(data) // 2] if self.path.endswith("?cut") else data)

    def send_header(self, keyword: str, value: str) -> None:
        if keyword == "Content-Length" and self.path.endswith("?endless"):
            value = str(2**63 - 1)
        if keyword != "Content-Length" or not self.path.endswith("?live"):
            super().send_header(keyword, value)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """Its address."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def segment(file: Path, number: int, size: tuple[int, int] = (160, 120), *, container_format: str = "mpegts") -> None:
    """A quarter of a second of grey, each picture another, from 10 s + as much for each segment before."""
    with av.open(str(file), "w", format=container_format, container_options={"mpegts_copyts": "1"}) as container:
        stream = container.add_stream("libx264", rate=RATE, options={"preset": "ultrafast", "tune": "zerolatency"})
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        for i in range(number * SEGMENT, (number + 1) * SEGMENT):
            picture = av.VideoFrame.from_ndarray(np.full((*size[::-1], 3), i * 5 % 256, np.uint8), format="bgr24")
            picture.pts, picture.time_base = 10 * RATE + i, Fraction(1, RATE)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


def playlist(file: Path, segments: list[str], *, ends: bool) -> None:
    """Replaced in one go, so that nobody reads a half of it."""
    lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:1", "#EXT-X-MEDIA-SEQUENCE:0"]
    for name in segments:
        lines += [f"#EXTINF:{SEGMENT / RATE:.3f},", name]
    lines += ["#EXT-X-ENDLIST"] * ends
    new = file.with_suffix(".new")
    new.write_text("\n".join(lines) + "\n")
    new.replace(file)
