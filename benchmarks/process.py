"""`streampose process` beside the bounds and loops that people know, on all six clips of the shared footage.

    python benchmarks/process.py [--assets DIR] [--rounds 3] [--skip-memory] [--json FILE]

Four tables: all six clips at once, JSON Lines only, against ONNX Runtime alone on ready tensors; the same with drawing
and encoding against rtmlib's loop; 30, 60, 100 and 240 frames, one by one against `process`; peak memory of 200 and of
20 000 frames. Rounds are interleaved, medians compared; models are loaded and warm before the clocks start, on every
side.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
from bound import Work, bound
from machine import machine
from offline import cut, rtmlib_python

HERE = Path(__file__).parent
CLIPS = ("intel_one_by_one_person", *(f"pose2sim_multi_cam0{i}" for i in range(1, 5)), "pose2sim_single_cam03")


def pictures(videos: list[Path]) -> Iterator[np.ndarray]:
    for video in videos:
        with av.open(str(video)) as container:
            for frame in container.decode(video=0):
                yield frame.to_ndarray(format="bgr24")


def figure(command: list[object]) -> list[str]:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout.splitlines()[-1].split()


def ours(videos: list[Path], arguments: argparse.Namespace, *options: str) -> Callable[[], float]:
    """Frames a second of a process of its own, in a new folder each time, without start-up and loading."""

    def measure() -> float:
        with tempfile.TemporaryDirectory() as out:
            script = HERE / "process_streampose.py"
            frames, seconds, _ = figure([sys.executable, script, out, *arguments.pair, *options, "--", *videos])
        return int(frames) / float(seconds)

    return measure


def rtmlib(python: Path, videos: list[Path], arguments: argparse.Namespace, out: str) -> Callable[[], float]:
    def measure() -> float:
        frames = seconds = 0.0
        for video in videos:
            loop = [python, HERE / "rtmlib_loop.py", video, *arguments.pair, 10**9, out]
            done, _, took = figure(loop)
            frames, seconds = frames + int(done), seconds + float(took)
        return frames / seconds

    return measure


def one_by_one(video: Path, arguments: argparse.Namespace) -> Callable[[], float]:
    """The loop that the seed had: a frame is decoded, looked at, and written, then the next."""

    def measure() -> float:
        frames, seconds, _ = figure([sys.executable, HERE / "process_streampose.py", "-", *arguments.pair, "--", video])
        return int(frames) / float(seconds)

    return measure


def repeated(video: Path, frames: int, out: Path) -> Path:
    """The clip again and again, without encoding, until it has so many frames."""
    with av.open(str(out), "w") as target:
        stream, done, shift = None, 0, 0
        while done < frames:
            with av.open(str(video)) as source:
                template = source.streams.video[0]
                if stream is None:
                    stream = target.add_stream_from_template(template)
                step = round(1 / template.average_rate / template.time_base)
                for packet in source.demux(video=0):
                    if packet.dts is None or done >= frames:
                        continue
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    packet.stream = stream
                    target.mux(packet)
                    done += 1
                shift += template.frames * step
    return out


def rounds(ways: dict[str, Callable[[], float]], count: int) -> dict[str, list[float]]:
    fps: dict[str, list[float]] = {name: [] for name in ways}
    for i in range(count):
        for name, measure in ways.items():
            fps[name].append(measure())
        print(f"  round {i + 1} of {count} done", file=sys.stderr, flush=True)
    return fps


def tell(fps: dict[str, list[float]]) -> dict[str, float]:
    for name, values in fps.items():
        print(
            f"  {name:<58} {statistics.median(values):6.1f} fps  ({min(values):.1f} to {max(values):.1f})", flush=True
        )
    return {name: statistics.median(values) for name, values in fps.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assets", type=Path, default=HERE.parents[1] / "shared" / "assets")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rtmlib-venv", type=Path, default=Path(tempfile.gettempdir()) / "streampose-rtmlib-venv")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--skip-rtmlib", action="store_true")
    parser.add_argument("--skip-memory", action="store_true")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    models = arguments.assets / "models"
    arguments.pair = [models / "rtmdet_nano_person.onnx", models / "pp_tinypose_256x192.onnx"]
    videos = [arguments.assets / "videos" / f"{name}.mp4" for name in CLIPS]
    report = machine()
    result: dict[str, object] = {"machine": report}
    device = ["--device", arguments.device]

    work = Work(pictures(videos), *arguments.pair)
    print(f"{report['cpu']}, {report['cores']} cores; all six clips, {work.frames} frames, {sum(work.people)} people")
    ways: dict[str, Callable[[], float]] = {
        "ONNX Runtime alone, batch 4, 1 session × 2 threads": bound(work, sessions=1, threads=2, batch=4),
        "ONNX Runtime alone, batch 4, 2 sessions × 1 thread": bound(work, sessions=2, threads=1, batch=4),
        "streampose process → JSON Lines": ours(videos, arguments, *device),
        "streampose process --clean → JSON Lines": ours(videos, arguments, *device, "--clean"),
        "streampose process → JSON Lines, drawn H.264": ours(videos, arguments, *device, "--draw"),
    }
    if not arguments.skip_rtmlib:
        python = rtmlib_python(arguments.rtmlib_venv)
        with tempfile.TemporaryDirectory() as folder:
            ways["rtmlib's loop that draws and writes MPEG-4"] = rtmlib(python, videos, arguments, f"{folder}/r.mp4")
            fps = rounds(ways, arguments.rounds)
    else:
        fps = rounds(ways, arguments.rounds)
    median = tell(fps)
    names = list(ways)
    ratios = {"process / best bound (asked: 0.85)": median[names[2]] / max(median[names[0]], median[names[1]])}
    if not arguments.skip_rtmlib:
        ratios["drawn: process / rtmlib (asked: 2.0)"] = median[names[4]] / median[names[5]]
    for name, ratio in ratios.items():
        print(f"  {name:<58} {ratio:6.2f}")
    result |= {"fps": fps, "ratios": ratios, "table": {}}

    print("the seed's table: frame by frame against `process`, seconds")
    with tempfile.TemporaryDirectory() as name:
        for frames in (30, 60, 100, 240):
            clip = cut(videos[0], frames, Path(name))
            pair = {"one": one_by_one(clip, arguments), "all": ours([clip], arguments, *device)}
            fps = rounds(pair, arguments.rounds)
            one_s, all_s = (frames / statistics.median(fps[way]) for way in ("one", "all"))
            print(f"  {frames:4} frames   {one_s:6.2f} s   {all_s:6.2f} s   {one_s / all_s:5.2f} ×", flush=True)
            result["table"][frames] = [one_s, all_s]  # type: ignore[index]

        if not arguments.skip_memory:
            peaks = {}
            for frames in (200, 20_000):
                clip = repeated(videos[0], frames, Path(name) / f"{frames}.mp4")
                done, _, peak = figure(
                    [
                        sys.executable,
                        HERE / "process_streampose.py",
                        Path(name) / f"out{frames}",
                        "-",
                        "-",
                        *device,
                        "--clean",
                        "--",
                        clip,
                    ]
                )
                peaks[frames] = float(peak)
                print(f"  {int(done):6} frames: peak memory {peaks[frames]:.0f} MiB", flush=True)
            print(f"  {'20 000 frames / 200 frames (asked: at most 1.10)':<58} {peaks[20_000] / peaks[200]:6.2f}")
            result["peak_mib"] = peaks
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
