"""The loop that rtmlib's users write, timed. Runs in a virtual environment of its own; see offline.py."""

from __future__ import annotations

import sys
import time

import cv2
from rtmlib import draw_skeleton
from rtmlib.tools.object_detection import RTMDet
from rtmlib.tools.pose_estimation import ViTPose


def main() -> None:
    video, detector, pose, frames, out = sys.argv[1:6]
    detect = RTMDet(detector, model_input_size=(320, 320), score_thr=0.4, backend="onnxruntime", device="cpu")
    # PP-TinyPose gives heatmaps, and ViTPose is rtmlib's one class for them; the work is the same, picture by picture.
    estimate = ViTPose(pose, model_input_size=(192, 256), backend="onnxruntime", device="cpu")
    capture = cv2.VideoCapture(video)
    ok, image = capture.read()
    estimate(image, detect(image))  # warm-up
    capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
    writer = None
    done = people = 0
    start, cpu = time.perf_counter(), time.process_time()
    while done < int(frames):
        ok, image = capture.read()
        if not ok:
            break
        # As rtmlib's own `Body` does it: without a box the whole picture is taken for a person.
        boxes = detect(image)
        points, scores = estimate(image, boxes)
        people += len(boxes)
        if out != "-":
            image = draw_skeleton(image, points, scores, kpt_thr=0.3)
        if out != "-":
            if writer is None:
                size = (image.shape[1], image.shape[0])
                writer = cv2.VideoWriter(out, cv2.VideoWriter_fourcc(*"mp4v"), 10, size)
            writer.write(image)
        done += 1
    if writer is not None:
        writer.release()
    print(done, people, time.perf_counter() - start, time.process_time() - cpu)


if __name__ == "__main__":
    main()
