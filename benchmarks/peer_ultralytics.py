"""Cameras the way Ultralytics' documentation has it: a `.streams` file, and `predict(…, stream=True)`; see peers.py."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from ultralytics import YOLO
from watcher import Watcher


def main() -> None:
    model, seconds, *urls = sys.argv[1:]
    watcher = Watcher(len(urls), float(seconds))
    with tempfile.TemporaryDirectory() as folder:
        streams = Path(folder) / "cameras.streams"
        streams.write_text("\n".join(urls))
        results = YOLO(model, task="pose").predict(
            str(streams), stream=True, stream_buffer=False, imgsz=640, rect=False, conf=0.4, device="cpu", verbose=False
        )
        # A batch has a frame of each camera, in their order.
        for i, result in enumerate(results):
            if not watcher.saw(i % len(urls), result.orig_img, len(result)):
                break
    print(watcher.report(), flush=True)
    os._exit(0)  # its threads read on


if __name__ == "__main__":
    main()
