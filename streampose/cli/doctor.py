"""`streampose doctor`: what this machine has, what works, and what to do about the rest."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import av
import typer
from rich.text import Text

from streampose.batching import FixedBatch
from streampose.cli.demo import Judge
from streampose.cli.say import console
from streampose.cli.values import at_least
from streampose.cores import available_cores, cpu_quota
from streampose.errors import DownloadError
from streampose.inference import zoo
from streampose.inference.engine import EngineOptions, provider_report
from streampose.inference.loading import ModelChoice, default_cache, describe_all, load_estimators
from streampose.inference.providers import no_gpu_here
from streampose.pipeline import Pipeline
from streampose.preview import why_no_screen
from streampose.sinks import CallSink
from streampose.sources import SyntheticSource, camera_names
from streampose.streams import Stream

__all__ = ["doctor"]

_OPENCV = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")
_PACKAGES = ("streampose", "onnxruntime-gpu", "onnxruntime", "numpy", *_OPENCV, "av", "aiortc", "scipy")
_ENCODERS = ("libx264", "h264_nvenc", "h264_vaapi", "h264_qsv", "h264_videotoolbox")


def doctor(
    seconds: Annotated[
        float,
        typer.Option(parser=at_least(0), metavar="TIME", help="Length of the self-test: 10, 1m; 0 leaves it out."),
    ] = 10.0,
) -> None:
    """Look at Python, GPU, cameras and codecs, run a self-test, and give advice."""
    advice: list[str] = []
    _line("python", f"{platform.python_version()} on {platform.platform(terse=True)}")
    _line("packages", _versions())
    quota = cpu_quota()
    why = "" if quota is None else f" (a quota of {quota:g} CPUs)"
    _line("cpu", f"{available_cores()} of {os.cpu_count()} cores may be used{why}")
    for device, why_not in provider_report().items():
        _line(device, "works" if why_not is None else f"no: {why_not}", good=why_not is None)
    if (why_not := provider_report()["cuda"]) is not None and not no_gpu_here(why_not):
        advice.append(f"the GPU is not used: {why_not}")
    cameras = camera_names()
    _line("cameras", ", ".join(cameras) or "none found", good=bool(cameras))
    if not cameras:
        advice.append("no camera: `streampose demo` and synthetic: work without one")
    encoders = [name for name in _ENCODERS if name in av.codecs_available and _encodes(name)]
    _line(
        "encoders",
        f"{', '.join(encoders) or 'none'} (compiled into PyAV, FFmpeg {av.ffmpeg_version_info})",
        good=bool(encoders),
    )
    no_screen = why_no_screen()
    _line("screen", "there" if no_screen is None else f"no: {no_screen}", good=no_screen is None)
    _line("models", ", ".join(_models(advice)) + f"; pulled ones in {zoo.default_folder()}")
    failed = bool(seconds) and not asyncio.run(_self_test(seconds, advice))
    for line in advice:
        console.print(Text.assemble(("advice", "yellow"), f"  {line}"))
    raise typer.Exit(1 if failed else 0)


def _versions() -> str:
    found = []
    for name in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):  # of the runtimes, and of OpenCV's builds, there is one
            found.append(f"{name} {version(name)}")
    return ", ".join(found)


def _line(what: str, value: str, *, good: bool = True) -> None:
    console.print(Text.assemble((f"{what:>9}", "green" if good else "yellow"), f"  {value}"))


def _models(advice: list[str]) -> Iterator[str]:
    for name in zoo.entries():
        try:
            if zoo.cached(name) is not None:
                yield name
        except DownloadError as error:
            advice.append(str(error))


def _encodes(name: str) -> bool:
    try:
        av.Codec(name, "w")
    except (av.error.FFmpegError, ValueError):
        return False
    return True


async def _self_test(seconds: float, advice: list[str]) -> bool:
    """Drawn 720p frames through the real pipeline and streampose-nano; whether the poses are right."""
    source = SyntheticSource(live=False)
    draw_s = _time_of_drawing(source)
    judge = Judge(source)
    estimators = load_estimators(ModelChoice(), EngineOptions(cache_dir=default_cache()), throughput=True)
    async with Pipeline(
        [Stream(name="self-test", source=source, sinks=[CallSink(judge)])], estimators, policy=FixedBatch(4)
    ) as run:
        asyncio.get_running_loop().call_later(seconds, run.stop)
        await run.run()
        figures = run.snapshot()
    share, frames = judge.score.share or 0.0, figures.engine.frames
    right = share >= 0.9
    busy = figures.engine.busy_s / figures.elapsed_s / len(estimators)
    _line(
        "self-test",
        f"{frames / figures.elapsed_s:.0f} fps at 1280×720 on {describe_all(estimators)}, engines {busy:.0%} busy, "
        f"{share:.1%} of key points right",
        good=right,
    )
    if not right:
        advice.append(
            "the poses of the self-test are wrong: the ONNX Runtime here does not compute what it should; report it"
        )
    if busy < 0.5:
        advice.append(
            f"the engines of the self-test waited for frames ({draw_s * 1000:.0f} ms to draw one): its fps is no limit"
        )
    return right


def _time_of_drawing(source: SyntheticSource) -> float:
    start = time.perf_counter()
    for index in range(5):
        source.render(index)
    return (time.perf_counter() - start) / 5
