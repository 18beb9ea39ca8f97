"""Offline speed on one clip: streampose beside ONNX Runtime alone and beside rtmlib's loop, in one run.

    python benchmarks/offline.py [--assets DIR] [--frames 400] [--rounds 3]

Every frame is detected. The bounds run the same two models on ready tensors, as often as the clip asks for (one
detection a frame, one pose a person), in the three ways that a CPU offers. Rounds are interleaved, and medians of the
rounds are compared, since shared machines drift. rtmlib is installed into a virtual environment of its own, because it
brings other OpenCV and ONNX Runtime wheels.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import av
import numpy as np
from bound import Work, bound
from command import parser_of, python_with, write_to
from machine import machine

HERE = Path(__file__).parent


def pictures(video: Path, frames: int | None = None) -> Iterator[np.ndarray]:
    with av.open(str(video)) as container:
        for frame in islice(container.decode(video=0), frames):
            yield frame.to_ndarray(format="bgr24")


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
    return python_with(["rtmlib", "onnxruntime", "opencv-python"], folder)


def main() -> int:
    parser = parser_of(__doc__, assets="models/ and videos/")
    parser.add_argument("--frames", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rtmlib-venv", type=Path, default=Path(tempfile.gettempdir()) / "streampose-rtmlib-venv")
    arguments = parser.parse_args()
    video = arguments.assets / "videos" / "intel_one_by_one_person.mp4"
    arguments.detector = arguments.assets / "models" / "rtmdet_nano_person.onnx"
    arguments.pose = arguments.assets / "models" / "pp_tinypose_256x192.onnx"
    python = rtmlib_python(arguments.rtmlib_venv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = cut(video, arguments.frames, folder)
        work = Work(pictures(clip, arguments.frames), arguments.detector, arguments.pose)
        arguments.frames = work.frames
        ways: dict[str, Callable[[], float]] = {
            "ONNX Runtime alone, batch 1, 1 session × 2 threads": bound(work, sessions=1, threads=2, batch=1),
            "ONNX Runtime alone, batch 4, 1 session × 2 threads": bound(work, sessions=1, threads=2, batch=4),
            "ONNX Runtime alone, batch 2, 2 sessions × 1 thread": bound(work, sessions=2, threads=1, batch=2),
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
    best = max(median[name] for name in names[:4])
    report = machine()
    print(f"{report['cpu']}, {report['cores']} cores; {work.frames} frames, {sum(work.people)} people, 768×432")
    for name in names:
        low, high = min(fps[name]), max(fps[name])
        print(f"  {name:<52} {median[name]:6.1f} fps  ({low:.1f} to {high:.1f})")
    ratios = {
        "streampose / best bound (asked: 0.85)": median[names[4]] / best,
        "streampose / rtmlib (asked: 2.5)": median[names[4]] / median[names[5]],
        "drawn: streampose / rtmlib (asked: 2.0)": median[names[6]] / median[names[7]],
    }
    for name, ratio in ratios.items():
        print(f"  {name:<52} {ratio:6.2f}")
    write_to(arguments.json, {"machine": report, "fps": fps, "ratios": ratios})
    return 0


if __name__ == "__main__":
    sys.exit(main())
