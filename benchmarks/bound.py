"""ONNX Runtime alone: the models of a top-down pair on ready tensors, in the ways that a machine offers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path

import numpy as np
import onnxruntime as ort

from streampose.frame import Image


def session(model: Path | bytes, threads: int) -> ort.InferenceSession:
    """On a CPU, as ours are: threads that wait leave the core to others."""
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    source = model if isinstance(model, bytes) else str(model)
    return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])


class Work:
    """What pictures ask of the models: ready tensors, and how many people each picture has."""

    def __init__(self, pictures: Iterable[Image], detector: Path, pose: Path, *, min_score: float = 0.4) -> None:
        from streampose.inference.boxes import Limits
        from streampose.inference.loading import ModelChoice, load_estimator
        from streampose.inference.preprocess import crop_batch, crop_frames, frame_batch, to_blob

        self.detector, self.pose = detector, pose
        estimator = load_estimator(ModelChoice(detector=detector, pose=pose, limits=Limits(min_score=min_score)))
        detect, kpt_card = estimator._detector, estimator._keypoints.card
        self.people, blobs, crops = [], [], []
        for image in pictures:
            (poses,) = estimator([image])
            self.people.append(len(poses))
            if len(blobs) < 64:  # 64 different pictures are enough to be real, and fit into memory
                batch = frame_batch([image], [detect.place(image)], detect.card.fill)
                blobs.append(to_blob(batch, detect.card, np.dtype(np.float32))[0])
            if len(poses) and len(crops) < 64:
                boxes = crop_frames(poses.boxes, kpt_card)
                batch = crop_batch([image] * len(boxes), list(boxes), kpt_card)
                crops.extend(to_blob(batch, kpt_card, np.dtype(np.float32)))
        self.frames = len(self.people)
        estimator.close()
        if not crops:
            raise ValueError("nobody is in these pictures: the key-point model would have nothing to do")
        self._blobs, self._crops = np.stack(blobs), np.stack(crops)

    def sessions(self, threads: int) -> tuple[ort.InferenceSession, ort.InferenceSession]:
        return session(self.detector, threads), session(self.pose, threads)

    def run(self, sessions: tuple[ort.InferenceSession, ort.InferenceSession], batch: int, part: range) -> None:
        detect, estimate = sessions
        names = detect.get_inputs()[0].name, estimate.get_inputs()[0].name
        for first in range(part.start, part.stop, batch):
            rows = [i % self.frames for i in range(first, min(first + batch, part.stop))]
            detect.run(None, {names[0]: self._blobs[[i % len(self._blobs) for i in rows]]})
            if people := sum(self.people[i] for i in rows):
                estimate.run(None, {names[1]: self._crops[[i % len(self._crops) for i in range(people)]]})


def bound(work: Work, *, sessions: int, threads: int, batch: int, frames: int | None = None) -> Callable[[], float]:
    """Something to call for a rate in frames a second.

    Args:
        work: what is run.
        sessions: so many at a time, each on a thread of its own.
        threads: of each session.
        batch: frames in one run.
        frames: in one call; `None` = those of the work, once.
    """
    made = [work.sessions(threads) for _ in range(sessions)]
    for pair in made:
        work.run(pair, batch, range(min(8, work.frames)))
    frames = frames or work.frames

    def measure() -> float:
        share = -(-frames // sessions)
        parts = [range(i * share, min((i + 1) * share, frames)) for i in range(sessions)]
        # Interleaved frames would balance better than halves; people are spread evenly enough.
        start = time.perf_counter()
        with ThreadPoolExecutor(sessions) as pool:
            list(pool.map(work.run, made, repeat(batch), parts))
        return frames / (time.perf_counter() - start)

    return measure
