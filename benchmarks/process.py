"""`streampose process` beside the bounds and loops that people know, on all six clips of the shared footage.

    python benchmarks/process.py [--assets DIR] [--rounds 3] [--skip-memory] [--json FILE]

Four tables: all six clips at once, JSON Lines only, against ONNX Runtime alone on ready tensors; the same with drawing
and encoding against rtmlib's loop; 30, 60, 100 and 240 frames, one by one against `process`; peak memory of 200 and of
20 000 frames. Rounds are interleaved, medians compared; models are loaded and warm before the clocks start, on every
side.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import av
from bound import Work, bound
from command import parser_of, write_to
from machine import machine
from offline import cut, pictures, rtmlib_python

HERE = Path(__file__).parent
# Frames a second, and milliseconds of CPU time a frame.
Way = Callable[[], tuple[float, float]]
CLIPS = ("intel_one_by_one_person", *(f"pose2sim_multi_cam0{i}" for i in range(1, 5)), "pose2sim_single_cam03")

# Sessions, threads and batch of ONNX Runtime alone; the best one is what we are compared with.
BOUNDS = ((1, 2, 4), (2, 1, 2), (2, 1, 4))


def figure(command: list[object]) -> list[str]:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout.splitlines()[-1].split()


def ours(videos: list[Path], arguments: argparse.Namespace, *options: str) -> Way:
    """Frames a second of a process of its own, in a new folder each time, without start-up and loading."""

    def measure() -> tuple[float, float]:
        with tempfile.TemporaryDirectory() as out:
            script = HERE / "process_streampose.py"
            frames, seconds, _, cpu = figure([sys.executable, script, out, *arguments.pair, *options, "--", *videos])
        return int(frames) / float(seconds), 1000 * float(cpu) / int(frames)

    return measure


def rtmlib(python: Path, videos: list[Path], arguments: argparse.Namespace, out: str) -> Way:
    def measure() -> tuple[float, float]:
        frames = seconds = cpu = 0.0
        for video in videos:
            loop = [python, HERE / "rtmlib_loop.py", video, *arguments.pair, 10**9, out]
            done, _, took, worked = figure(loop)
            frames, seconds, cpu = frames + int(done), seconds + float(took), cpu + float(worked)
        return frames / seconds, 1000 * cpu / frames

    return measure


def one_by_one(video: Path, arguments: argparse.Namespace, *options: str) -> Way:
    """The loop that the seed had: a frame is decoded, looked at, and written, then the next."""

    def measure() -> tuple[float, float]:
        command = [sys.executable, HERE / "process_streampose.py", "-", *arguments.pair, *options, "--", video]
        frames, seconds, _, cpu = figure(command)
        return int(frames) / float(seconds), 1000 * float(cpu) / int(frames)

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


def alone(measure: Callable[[], float], frames: int) -> Way:
    def measured() -> tuple[float, float]:
        cpu = time.process_time()
        return measure(), 1000 * (time.process_time() - cpu) / frames

    return measured


def rounds(ways: dict[str, Way], count: int) -> dict[str, list[tuple[float, float]]]:
    fps: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for i in range(count):
        for name, measure in ways.items():
            fps[name].append(measure())
        print(f"  round {i + 1} of {count} done", file=sys.stderr, flush=True)
    return fps


def median(figures: list[tuple[float, float]], which: int = 0) -> float:
    return statistics.median(figure[which] for figure in figures)


def tell(measured: dict[str, list[tuple[float, float]]]) -> None:
    for name, values in measured.items():
        fps = [value[0] for value in values]
        spread = f"({min(fps):.1f} to {max(fps):.1f})"
        print(f"  {name:<54} {median(values):6.1f} fps {spread:<16} {median(values, 1):6.1f} ms of CPU", flush=True)


def seeds_table(video: Path, folder: Path, arguments: argparse.Namespace, device: list[str]) -> dict[int, list[float]]:
    print("the seed's table: frame by frame against `process`, seconds")
    table = {}
    for frames in (30, 60, 100, 240):
        clip = cut(video, frames, folder)
        fps = rounds(
            {"one": one_by_one(clip, arguments, *device), "all": ours([clip], arguments, *device)}, arguments.rounds
        )
        one_s, all_s = (frames / median(fps[way]) for way in ("one", "all"))
        print(f"  {frames:4} frames   {one_s:6.2f} s   {all_s:6.2f} s   {one_s / all_s:5.2f} ×", flush=True)
        table[frames] = [one_s, all_s]
    return table


def memory(video: Path, folder: Path, device: list[str]) -> dict[int, list[float]]:
    """Peaks of each run, MiB: those of 200 frames, over in a second, differ by a tenth from one to the next."""
    peaks: dict[int, list[float]] = {}
    for frames, count in ((200, 7), (20_000, 3)):
        clip, peaks[frames] = repeated(video, frames, folder / f"{frames}.mp4"), []
        for i in range(count):
            script, out = HERE / "process_streampose.py", folder / f"out{frames}-{i}"
            done, _, peak, _ = figure([sys.executable, script, out, "-", "-", *device, "--clean", "--", clip])
            peaks[frames].append(float(peak))
        spread = f"({min(peaks[frames]):.0f} to {max(peaks[frames]):.0f})"
        print(f"  {int(done):6} frames: peak memory {statistics.median(peaks[frames]):.0f} MiB {spread}", flush=True)
    ratio = statistics.median(peaks[20_000]) / statistics.median(peaks[200])
    print(f"  {'20 000 frames / 200 frames (asked: at most 1.10)':<54} {ratio:6.2f}")
    return peaks


def rates(videos: list[Path], arguments: argparse.Namespace, device: list[str]) -> dict[str, object]:
    work = Work(chain.from_iterable(map(pictures, videos)), *arguments.pair)
    print(f"all six clips, {work.frames} frames, {sum(work.people)} people")
    ways: dict[str, Way] = {
        f"ONNX Runtime alone, batch {batch}, {sessions} × {threads} threads": alone(
            bound(work, sessions=sessions, threads=threads, batch=batch), work.frames
        )
        for sessions, threads, batch in BOUNDS
    }
    ways |= {
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
    tell(fps)
    alone_, (plain, _, drawn, *loop) = list(ways)[: len(BOUNDS)], list(ways)[len(BOUNDS) :]
    best = max(alone_, key=lambda name: median(fps[name]))

    def compared(a: str, b: str) -> tuple[float, float]:
        """Rate, and CPU time the other way round: with others on the machine, the second is the one to look at."""
        return median(fps[a]) / median(fps[b]), median(fps[b], 1) / median(fps[a], 1)

    ratios = {"process / best bound (asked: 0.85)": compared(plain, best)}
    if not arguments.skip_rtmlib:
        ratios["drawn: process / rtmlib (asked: 2.0)"] = compared(drawn, *loop)
    for name, (rate, cpu) in ratios.items():
        print(f"  {name:<54} {rate:6.2f}, by CPU time {cpu:.2f}")
    return {"fps": fps, "ratios": ratios}


def main() -> int:
    parser = parser_of(__doc__, assets="models/ and videos/")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rtmlib-venv", type=Path, default=Path(tempfile.gettempdir()) / "streampose-rtmlib-venv")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--skip-rates", action="store_true", help="neither of the first two tables")
    parser.add_argument("--skip-rtmlib", action="store_true")
    parser.add_argument("--skip-memory", action="store_true")
    arguments = parser.parse_args()
    models = arguments.assets / "models"
    arguments.pair = [models / "rtmdet_nano_person.onnx", models / "pp_tinypose_256x192.onnx"]
    videos = [arguments.assets / "videos" / f"{name}.mp4" for name in CLIPS]
    report = machine()
    result: dict[str, object] = {"machine": report}
    device = ["--device", arguments.device]
    print(f"{report['cpu']}, {report['cores']} cores")
    if not arguments.skip_rates:
        result |= rates(videos, arguments, device)
    with tempfile.TemporaryDirectory() as name:
        result["table"] = seeds_table(videos[0], Path(name), arguments, device)
        if not arguments.skip_memory:
            result["peak_mib"] = memory(videos[0], Path(name), device)
    write_to(arguments.json, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
