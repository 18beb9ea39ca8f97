"""The pipeline in front of a stand-in for a GPU: what this side of the bus costs, on a machine without one.

    python benchmarks/standin.py [--batch-ms 18] [--upload-ms 1.6] [--seconds 3]

Pictures of 1280×720 are put together as for a GPU; sending and computing are sleeps, computing one batch at a time,
whoever asks. The defaults are YOLOv8n-pose's on an H100 (`gpu.py`). Ids are given as in `streampose run`.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from streampose.batching import FixedBatch
from streampose.cores import share_cores
from streampose.frame import Image
from streampose.inference.pixels import Pixels, Staging
from streampose.loop import run_async
from streampose.measure import Measurement
from streampose.pose import Poses
from streampose.skeletons import COCO_17
from streampose.sources import Looped, SyntheticSource

BATCH = 32
STREAMS = 8


class StandIn:
    """An estimator whose device sleeps."""

    skeleton = COCO_17

    def __init__(self, device: threading.Lock, batch_s: float, upload_s: float) -> None:
        self._device, self._batch_s, self._upload_s = device, batch_s, upload_s
        self._staging = Staging()
        corners = np.array([[100, 100, 300, 700], [700, 100, 900, 700]], np.float32)
        points = corners[:, None, :2] + np.linspace(0, 200, 17, dtype=np.float32)[None, :, None]
        scores = np.full((2, 17), 0.9, np.float32)
        self._two = Poses(skeleton=COCO_17, points=points, scores=scores, boxes=corners, box_scores=scores[:, 0])

    def ahead(self, images: Sequence[Image]) -> Pixels:
        pixels = Pixels(images, self._staging)
        pixels.on("stand-in", 0, self._upload)
        return pixels

    def __call__(self, images: Sequence[Image], pixels: Pixels | None = None) -> list[Poses]:
        if pixels is None:
            self.ahead(images)
        self.compute()
        return [self._two] * len(images)

    def _upload(self, _: NDArray[np.uint8]) -> None:
        time.sleep(self._upload_s)

    def compute(self) -> None:
        """A batch, on the device alone."""
        with self._device:
            time.sleep(self._batch_s)

    def close(self) -> None:
        """Nothing to let go of."""


def alone(estimators: list[StandIn], seconds: float) -> float:
    begin = time.perf_counter()

    def work(estimator: StandIn) -> int:
        done = 0
        while time.perf_counter() < begin + seconds:
            estimator.compute()
            done += BATCH
        return done

    with ThreadPoolExecutor(len(estimators)) as pool:
        return sum(pool.map(work, estimators)) / (time.perf_counter() - begin)


def pipeline(estimators: list[StandIn], loop: Looped, seconds: float) -> float:
    sources = {f"s{i}": loop.again(i * 7) for i in range(STREAMS)}
    measurement = Measurement(sources, estimators, FixedBatch(BATCH), warm_up_s=seconds / 3)
    run_async(measurement.run(seconds=seconds))
    return measurement.figures().fps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-ms", type=float, default=18.0, help="what a batch of 32 takes")
    parser.add_argument("--upload-ms", type=float, default=1.6)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each figure")
    options = parser.parse_args()
    share_cores()
    loop = Looped.drawn(SyntheticSource(people=2, live=False), 64)
    for sessions in (1, 2):
        device = threading.Lock()
        estimators = [StandIn(device, options.batch_ms / 1e3, options.upload_ms / 1e3) for _ in range(sessions)]
        bound = alone(estimators, options.seconds)
        fps = pipeline(estimators, loop, options.seconds)
        print(f"{sessions} session(s): {bound:.0f} fps alone, {fps:.0f} in the pipeline: {fps / bound:.2f}")


if __name__ == "__main__":
    main()
