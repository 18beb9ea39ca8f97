"""Cameras through Roboflow's `InferencePipeline`, with Ultralytics as the model in it; see peers.py."""

from __future__ import annotations

import os
import sys
from typing import Any

os.environ.update(
    TELEMETRY_OPT_OUT="True", DISABLE_VERSION_CHECK="True", ENABLE_FRAME_DROP_ON_VIDEO_FILE_RATE_LIMITING="False"
)

from inference import InferencePipeline
from inference.core.interfaces.camera.entities import VideoFrame
from ultralytics import YOLO
from watcher import Watcher


def main() -> None:
    path, seconds, *urls = sys.argv[1:]
    watcher, model = Watcher(len(urls), float(seconds)), YOLO(path, task="pose")

    def infer(frames: list[VideoFrame]) -> list[Any]:
        pictures = [frame.image for frame in frames]
        return list(model.predict(pictures, imgsz=640, rect=False, conf=0.4, device="cpu", verbose=False))

    def seen(results: list[Any], frames: list[VideoFrame | None]) -> None:
        for result, frame in zip(results, frames, strict=True):
            if frame is not None and not watcher.saw(frame.source_id, frame.image, len(result)):
                print(watcher.report(), flush=True)
                os._exit(0)  # its threads go on

    pipeline = InferencePipeline.init_with_custom_logic(video_reference=urls, on_video_frame=infer, on_prediction=seen)
    pipeline.start(use_main_thread=False)
    pipeline.join()


if __name__ == "__main__":
    main()
