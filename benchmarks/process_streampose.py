"""`process` through the library, timed without start-up; or, with OUT "-", the frame-by-frame loop. See process.py.

    python process_streampose.py OUT DETECTOR POSE [--device D] [--clean] [--draw] -- VIDEO…

It prints frames, seconds, peak memory in MiB, and CPU seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import tempfile
import time
from pathlib import Path

from streampose.cores import share_cores
from streampose.formats.jsonl import dump, record_of
from streampose.frame import Frame
from streampose.inference.boxes import Limits
from streampose.inference.engine import EngineOptions
from streampose.inference.loading import ModelChoice, PoseEstimator, default_cache, load_estimator, load_estimators
from streampose.offline.inputs import find_inputs
from streampose.offline.plan import Plan
from streampose.offline.process import process
from streampose.offline.refinement import Refinement
from streampose.offline.videos import figure_video
from streampose.render import Parts
from streampose.result import Result, Timing
from streampose.sources import FileSource

NO_TIME = Timing(captured_at=0, taken_at=0, inferred_at=0, delivered_at=0, batch_size=1)


def one_by_one(videos: list[str], choice: ModelChoice, device: str) -> tuple[int, float, float]:
    estimator = load_estimator(choice, EngineOptions(device=device, threads=os.cpu_count() or 1))
    estimator.warm_up([1])
    frames, began, cpu = 0, time.perf_counter(), time.process_time()
    with tempfile.TemporaryFile() as out:
        for video in videos:
            source = FileSource(video)
            source.open("clip")
            frame: Frame | None
            while (frame := source.read()) is not None:
                (poses,) = estimator([frame.image])
                out.write(dump(record_of(Result(frame=frame, poses=poses, timing=NO_TIME).moment)))
                frames += 1
            source.close()
    return frames, time.perf_counter() - began, time.process_time() - cpu


async def at_once(arguments: argparse.Namespace, choice: ModelChoice) -> tuple[int, float, float]:
    options = EngineOptions(device=arguments.device, cache_dir=default_cache())
    estimators: list[PoseEstimator] = load_estimators(choice, options, throughput=True)
    clean = Refinement(link_s=2, fill_s=0.5, sigma_s=0.04)
    drawn = figure_video("streampose", background="video", images=False, size_px=None, parts=Parts())
    plan = Plan(
        choice=choice,
        engine=options,
        refinement=clean if arguments.clean else Refinement(track=False),
        drawings=[drawn] if arguments.draw else [],
    )
    began, cpu = time.perf_counter(), time.process_time()
    inputs = find_inputs(arguments.videos)
    done = await process(inputs, Path(arguments.out), plan, lambda: estimators, stop=asyncio.Event())
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    for one in done:
        if one.error is not None:
            raise one.error
    return sum(one.frames for one in done), seconds, cpu


def peak_mib() -> float:
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would also count what the parent had when this process was forked off it
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("detector")
    parser.add_argument("pose")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--clean", action="store_true")
    parser.add_argument("--draw", action="store_true")
    parser.add_argument("videos", nargs="+")
    arguments = parser.parse_args()
    share_cores()
    choice = ModelChoice()
    if arguments.detector != "-":
        choice = ModelChoice(detector=arguments.detector, pose=arguments.pose, limits=Limits(min_score=0.4))
    if arguments.out == "-":
        frames, seconds, cpu = one_by_one(arguments.videos, choice, arguments.device)
    else:
        frames, seconds, cpu = asyncio.run(at_once(arguments, choice))
    print(frames, seconds, peak_mib(), cpu)


if __name__ == "__main__":
    main()
