"""How old pictures of RTSP cameras are when a program has them: our own client beside FFmpeg's, on the same cameras.

    python benchmarks/rtsp.py [--cameras N] [--seconds S] [--rounds R] [--json FILE]

Needs GStreamer's RTSP server (gir1.2-gst-rtsp-server-1.0). Each picture of the server's carries its number, which says
when it was sent by the machine's monotonic clock, so the age is that of the picture, not what a source claims. Both
clients run in turns, in processes of their own; processor time is that of the process that reads and decodes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame
from command import parser_of, write_to

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from servers.clip import write_clip
from servers.rtsp import RtspServer
from watcher import FRAMES, GOP, RATE, number_of, stamp

from streampose.gauges import machine
from streampose.sources import NetworkSource

SIZE = (640, 360)
CLIENTS = {"ours": "auto", "FFmpeg's": "tcp"}


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--cameras", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--read", nargs="+", help=argparse.SUPPRESS)  # this script, as one of the clients
    arguments = parser.parse_args()
    if arguments.read:
        transport, *urls = arguments.read
        print(json.dumps(read(transport, urls, arguments.seconds)))
        return
    found: dict[str, list[dict[str, float]]] = {client: [] for client in CLIENTS}
    with tempfile.TemporaryDirectory() as folder:
        write_clip(Path(folder) / "clip", pictures(), rate=RATE, gop=GOP, size=SIZE)
        server = RtspServer("--clip", str(Path(folder) / "clip"), "--streams", str(arguments.cameras))
        try:
            urls = [server.url(f"live{i}") for i in range(arguments.cameras)]
            for _ in range(arguments.rounds):
                for client, transport in CLIENTS.items():
                    words = ["--seconds", str(arguments.seconds), "--read", transport, *urls]
                    command = [sys.executable, __file__, *words]
                    done = subprocess.run(command, capture_output=True, text=True, check=True)
                    found[client].append(json.loads(done.stdout))
        finally:
            server.kill()
    table = {
        client: {name: round(statistics.median(r[name] for r in rounds), 2) for name in rounds[0]}
        for client, rounds in found.items()
    }
    print(f"{arguments.cameras} cameras, H.264 {SIZE[0]}x{SIZE[1]} at {RATE} fps, medians of {arguments.rounds} rounds")
    for client, row in table.items():
        print(f"{client:>9}: " + ", ".join(f"{name} {value:g}" for name, value in row.items()))
    write_to(arguments.json, {"machine": machine(), "cameras": arguments.cameras, **table})


def pictures() -> Iterable[VideoFrame]:
    """Noise that moves, so that a picture takes several packets; each carries its number."""
    noise = np.random.default_rng(0).integers(0, 255, (SIZE[1] // 8, SIZE[0] // 8 + FRAMES, 3), np.uint8)
    for i in range(FRAMES):
        image = noise[:, i : i + SIZE[0] // 8].repeat(8, axis=0).repeat(8, axis=1)
        stamp(image, i)
        yield VideoFrame.from_ndarray(image, format="bgr24")


def read(transport: str, urls: list[str], seconds: float) -> dict[str, float]:
    """Ages and processor time of one client; a second of warm-up is not counted."""
    ages_s: list[float] = []
    threads = [
        threading.Thread(target=watch, args=(NetworkSource(url, transport=transport), i / len(urls), seconds, ages_s))
        for i, url in enumerate(urls)
    ]
    for thread in threads:
        thread.start()
    time.sleep(2.0)
    began = time.process_time()
    time.sleep(seconds)
    cpu_s = time.process_time() - began
    for thread in threads:
        thread.join()
    p50, p99 = np.percentile(ages_s, [50, 99]) * 1000
    return {
        "p50 ms": float(p50),
        "p99 ms": float(p99),
        "fps": len(ages_s) / seconds / len(urls),
        "cpu ms a picture": 1000 * cpu_s / (len(urls) * RATE * seconds),
    }


def watch(camera: NetworkSource, phase: float, seconds: float, ages_s: list[float]) -> None:
    began = time.monotonic() + 2.0
    camera.open("camera")
    while (now := time.monotonic()) < began + seconds:
        frame = camera.read()
        assert frame is not None
        if now >= began:
            age = (time.monotonic() - (number_of(frame.image) + phase) / RATE) % (FRAMES / RATE)
            ages_s.append(age)
    camera.close()


if __name__ == "__main__":
    main()
