"""Cameras the way rtmlib's users have them: a thread each that keeps the newest picture, and a loop; see peers.py."""

from __future__ import annotations

import os
import sys
import threading
import time

import cv2
from rtmlib.tools.object_detection import RTMDet
from rtmlib.tools.pose_estimation import ViTPose
from watcher import Watcher


class Camera(threading.Thread):
    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url, self.newest = url, None
        self.start()

    def run(self) -> None:
        capture = cv2.VideoCapture(self.url)
        while capture.isOpened():
            ok, picture = capture.read()
            if ok:
                self.newest = picture


def main() -> None:
    detector, pose, seconds, *urls = sys.argv[1:]
    watcher = Watcher(len(urls), float(seconds))
    detect = RTMDet(detector, model_input_size=(320, 320), score_thr=0.4, backend="onnxruntime", device="cpu")
    # PP-TinyPose gives heatmaps, and ViTPose is rtmlib's one class for them.
    estimate = ViTPose(pose, model_input_size=(192, 256), backend="onnxruntime", device="cpu")
    cameras = [Camera(url) for url in urls]
    while True:
        if all(camera.newest is None for camera in cameras):
            time.sleep(0.001)
        for i, camera in enumerate(cameras):
            picture, camera.newest = camera.newest, None
            if picture is None:
                continue
            boxes = detect(picture)
            if len(boxes):  # else it takes the whole picture for a person
                estimate(picture, boxes)
            if not watcher.saw(i, picture, len(boxes)):
                print(watcher.report(), flush=True)
                os._exit(0)  # the cameras' threads read on


if __name__ == "__main__":
    main()
