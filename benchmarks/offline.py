"""Offline speed on one clip: streampose beside ONNX Runtime alone and beside rtmlib's loop, in one run.

    python benchmarks/offline.py [--assets DIR] [--frames 400] [--rounds 3]

Every frame is detected. The bounds run the same two models on ready tensors, as often as the clip asks for (one
detection a frame, one pose a person), in the three ways that a CPU offers. Rounds are interleaved, and medians of the
rounds are compared, since shared machines drift. rtmlib is installed into a virtual environment of its own, because it
brings other OpenCV and ONNX Runtime wheels.
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
import venv
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import av
import numpy as np
import onnxruntime as ort
from machine import machine

HERE = Path(__file__).parent


class Work:
    """What the clip asks of the models: ready tensors, and how many people each frame has."""

    def __init__(self, video: Path, detector: Path, pose: Path, frames: int) -> None:
        from streampose.inference.boxes import Limits
        from streampose.inference.loading import ModelChoice, load_estimator
        from streampose.inference.preprocess import crop_batch, crop_frames, frame_batch, to_blob

        self.detector, self.pose, self.frames = detector, pose, frames
        estimator = load_estimator(ModelChoice(detector=detector, pose=pose, limits=Limits(min_score=0.4)))
        det_card, kpt_card = estimator._detector.card, estimator._keypoints.card
        self.people, blobs, crops = [], [], []
        with av.open(str(video)) as container:
            for frame in islice(container.decode(video=0), frames):
                image = frame.to_ndarray(format="bgr24")
                (poses,) = estimator([image])
                self.people.append(len(poses))
                if len(blobs) < 64:  # 64 different pictures are enough to be real, and fit into memory
                    blobs.append(to_blob(frame_batch([image], det_card)[0], det_card, np.dtype(np.float32))[0])
                if len(poses) and len(crops) < 64:
                    boxes = crop_frames(poses.boxes, kpt_card)
                    batch = crop_batch([image] * len(boxes), list(boxes), kpt_card)
                    crops.extend(to_blob(batch, kpt_card, np.dtype(np.float32)))
        self.frames = len(self.people)
        estimator.close()
        self._blobs, self._crops = np.stack(blobs), np.stack(crops)

    def sessions(self, threads: int) -> tuple[ort.InferenceSession, ort.InferenceSession]:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return tuple(
            ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            for path in (self.detector, self.pose)
        )

    def run(self, sessions: tuple[ort.InferenceSession, ort.InferenceSession], batch: int, part: range) -> None:
        detect, estimate = sessions
        names = detect.get_inputs()[0].name, estimate.get_inputs()[0].name
        for first in range(part.start, part.stop, batch):
            rows = range(first, min(first + batch, part.stop))
            detect.run(None, {names[0]: self._blobs[[i % len(self._blobs) for i in rows]]})
            if people := sum(self.people[i] for i in rows):
                estimate.run(None, {names[1]: self._crops[[i % len(self._crops) for i in range(people)]]})


def bound(work: Work, *, sessions: int, threads: int, batch: int) -> Callable[[], float]:
    made = [work.sessions(threads) for _ in range(sessions)]
    for pair in made:
        work.run(pair, batch, range(min(8, work.frames)))

    def measure() -> float:
        share = -(-work.frames // sessions)
        parts = [range(i * share, min((i + 1) * share, work.frames)) for i in range(sessions)]
        # Interleaved frames would balance better than halves; people are spread evenly enough in this clip.
        threads_ = [threading.Thread(target=work.run, args=(p, batch, r)) for p, r in zip(made, parts, strict=True)]
        start = time.perf_counter()
        for thread in threads_:
            thread.start()
        for thread in threads_:
            thread.join()
        return work.frames / (time.perf_counter() - start)

    return measure


def ours(clip: Path, arguments: argparse.Namespace, *outputs: str) -> Callable[[], float]:
    """The command itself, in a process of its own; its own figure (without start-up) is taken."""
    command = [
        sys.executable,
        str(HERE / "offline_streampose.py"),
        str(clip),
        str(arguments.detector),
        str(arguments.pose),
    ]
    return lambda: _figure([*command, *outputs])


def rtmlib(python: Path, clip: Path, arguments: argparse.Namespace, out: str) -> Callable[[], float]:
    script = str(HERE / "rtmlib_loop.py")
    command = [str(python), script, str(clip), str(arguments.detector), str(arguments.pose), str(arguments.frames), out]
    return lambda: _figure(command)


def _figure(command: list[str]) -> float:
    last = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1].split()
    return int(last[0]) / float(last[2])


def cut(video: Path, frames: int, folder: Path) -> Path:
    """The first frames of the clip, without re-encoding, so that everybody reads the same file."""
    out = folder / "clip.mp4"
    with av.open(str(video)) as source, av.open(str(out), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in islice(source.demux(video=0), frames):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    return out


def rtmlib_python(folder: Path) -> Path:
    python = folder / "bin" / "python"
    if not python.exists():
        print(f"installing rtmlib into {folder} …", flush=True)
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "rtmlib", "onnxruntime", "opencv-python"], check=True)
    return python


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    assets = HERE.parents[1] / "shared" / "assets"
    parser.add_argument("--assets", type=Path, default=assets)
    parser.add_argument("--frames", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rtmlib-venv", type=Path, default=Path(tempfile.gettempdir()) / "streampose-rtmlib-venv")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    video = arguments.assets / "videos" / "intel_one_by_one_person.mp4"
    arguments.detector = arguments.assets / "models" / "rtmdet_nano_person.onnx"
    arguments.pose = arguments.assets / "models" / "pp_tinypose_256x192.onnx"
    python = rtmlib_python(arguments.rtmlib_venv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = cut(video, arguments.frames, folder)
        work = Work(clip, arguments.detector, arguments.pose, arguments.frames)
        arguments.frames = work.frames
        ways: dict[str, Callable[[], float]] = {
            "ONNX Runtime alone, batch 1, 1 session × 2 threads": bound(work, sessions=1, threads=2, batch=1),
            "ONNX Runtime alone, batch 4, 1 session × 2 threads": bound(work, sessions=1, threads=2, batch=4),
            "ONNX Runtime alone, batch 4, 2 sessions × 1 thread": bound(work, sessions=2, threads=1, batch=4),
            "streampose → JSON Lines": ours(clip, arguments, "--json", str(folder / "a.jsonl")),
            "rtmlib loop": rtmlib(python, clip, arguments, "-"),
            "streampose → JSON Lines + drawn H.264": ours(
                clip, arguments, "--json", str(folder / "b.jsonl"), "--out", str(folder / "b.mp4")
            ),
            "rtmlib loop that draws and writes (MPEG-4)": rtmlib(python, clip, arguments, str(folder / "r.mp4")),
        }
        fps: dict[str, list[float]] = {name: [] for name in ways}
        for i in range(arguments.rounds):
            for way, measure in ways.items():
                fps[way].append(measure())
            print(f"round {i + 1} of {arguments.rounds} done", file=sys.stderr, flush=True)
    median = {name: statistics.median(values) for name, values in fps.items()}
    names = list(ways)
    best = max(median[name] for name in names[:3])
    report = machine()
    print(f"{report['cpu']}, {report['cores']} cores; {work.frames} frames, {sum(work.people)} people, 768×432")
    for name in names:
        low, high = min(fps[name]), max(fps[name])
        print(f"  {name:<52} {median[name]:6.1f} fps  ({low:.1f} to {high:.1f})")
    ratios = {
        "streampose / best bound (asked: 0.85)": median[names[3]] / best,
        "streampose / rtmlib (asked: 2.5)": median[names[3]] / median[names[4]],
        "drawn: streampose / rtmlib (asked: 2.0)": median[names[5]] / median[names[6]],
    }
    for name, ratio in ratios.items():
        print(f"  {name:<52} {ratio:6.2f}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": report, "fps": fps, "ratios": ratios}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
