"""`streampose bench`: how fast is it here, where does the time go, and what would help."""

from __future__ import annotations

import asyncio
import json as json_module
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.text import Text

from streampose.batching import FixedBatch, LatencyBatch
from streampose.cli import engine
from streampose.cli.bench_report import as_json, draw
from streampose.cli.command import flat
from streampose.cli.say import console, dim, fail, say
from streampose.cli.session import interrupts
from streampose.cli.values import at_least, named_sources, parse_budget
from streampose.cores import share_cores
from streampose.errors import ConfigError
from streampose.figures import Figures
from streampose.inference.bound import EngineRate, engine_rate
from streampose.inference.engine import EngineOptions, provider_report
from streampose.inference.loading import ModelChoice, PoseEstimator, describe_all, load_estimators, usual_batch
from streampose.loop import run_async
from streampose.measure import Measurement
from streampose.redaction import redact
from streampose.sources import Looped, Source, SyntheticSource, open_source
from streampose.whole import check_folder, writing

__all__ = ["bench"]

_INPUT, _FLOW = "Input", "Flow"
_DEFAULT_S = 10.0


@flat
def bench(
    *,
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="As for run. Drawn figures (the default) are drawn beforehand, so that drawing is not measured.",
        ),
    ] = "synthetic:",
    frames: Annotated[
        int | None, typer.Option(min=1, help="Stop after so many of each stream.", rich_help_panel=_INPUT)
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(
            parser=at_least(0.1),
            metavar="TIME",
            help="Stop after so long: 30, 1m; 10 s when nothing is said.",
            rich_help_panel=_INPUT,
        ),
    ] = None,
    streams: Annotated[int, typer.Option(min=1, max=256, help="The source so many times.", rich_help_panel=_INPUT)] = 1,
    hwaccel: Annotated[
        str, typer.Option(help="What decodes: none (software), auto, or a device (cuda, …).", rich_help_panel=_INPUT)
    ] = "none",
    chosen: engine.Models,
    engines: engine.Engines,
    live: Annotated[
        bool,
        typer.Option("--live", help="At the source's own speed, dropping what is late.", rich_help_panel=_FLOW),
    ] = False,
    budget: engine.Budget = "100ms",
    batch: engine.Batch = None,
    track: engine.Track = True,
    bound: Annotated[
        bool, typer.Option(help="Also measure the engines alone, on ready tensors (a few seconds).")
    ] = True,
    json: Annotated[str | None, typer.Option(help="Also as JSON: a file, or - for standard output.")] = None,
) -> None:
    """Measure the pipeline on this machine: rates, latencies, where the time goes, and advice.

    Ctrl-C ends it early, with the figures so far.

    Examples:

      streampose bench

      streampose bench clip.mp4 --hwaccel auto --json bench.json

      streampose bench --live --streams 8 --budget 200ms --model rtmo-s
    """
    if frames is not None and seconds is not None:
        raise ConfigError("give --frames or --seconds, not both")
    if json is not None and json != "-":
        check_folder(Path(json))
    share_cores()
    sources = _sources(source, streams, live=live, hwaccel=hwaccel)
    live = live or any(s.live for s in sources.values())
    choice = chosen.choice()
    options = engines.options(batch)
    estimators = load_estimators(choice, options, throughput=not live, streams=streams)
    say(dim(describe_all(estimators)))
    gpu_unused = estimators[0].describe().partition("the GPU is not used: ")[2]
    on_gpu, most = estimators[0].on_gpu, batch or usual_batch(estimators, live=live)
    # The first second (queues fill, the cost is learned) does not count, but of a file it may be all there is.
    endless = live or all(isinstance(s, Looped) for s in sources.values())
    warm_up = endless and frames is None and (seconds or _DEFAULT_S) >= 5
    measurement = Measurement(
        sources,
        estimators,
        LatencyBatch(parse_budget(budget), max_frames=most) if live else FixedBatch(most),
        live=live,
        frames=frames,
        warm_up_s=1.0 if warm_up else 0.0,
        track=track,
    )
    code = run_async(_run(measurement, None if frames else seconds or _DEFAULT_S))
    rate = _alone(choice, options, measurement) if bound and code != 130 and measurement.pictures else None
    figures = measurement.figures(bound_fps=None if rate is None else rate.fps, on_gpu=on_gpu, gpu_unused=gpu_unused)
    gpu_unknown = measurement.gauges.gpu_unknown if on_gpu else gpu_unused or provider_report()["cuda"] or "not used"
    console.print(draw(figures, rate, gpu_unknown, title=_title(source, measurement, figures)))
    if json is not None:
        _write(json, as_json(figures, rate, gpu_unknown))
    failed = [(name, report.error) for name, report in measurement.reports.items() if report.error is not None]
    for name, error in failed:
        fail(redact(f"{name}: {error}"))
    raise typer.Exit(code or (1 if failed or not figures.frames else 0))


def _sources(text: str, streams: int, *, live: bool, hwaccel: str) -> dict[str, Source]:
    """The source so many times, by stream name."""
    ((name, text),) = named_sources([text]).items()
    names = [name if streams == 1 else f"{name}-{i + 1}" for i in range(streams)]
    first = open_source(text, live=False if text.startswith("synthetic:") else None, hwaccel=hwaccel)
    if not isinstance(first, SyntheticSource):
        return {name: open_source(text, hwaccel=hwaccel) if i else first for i, name in enumerate(names)}
    loop = Looped.drawn(first)
    return {name: loop.again(i * 7) for i, name in enumerate(names)}


async def _run(measurement: Measurement, seconds: float | None) -> int:
    shown = Live(console=console, refresh_per_second=8, transient=True) if console.is_terminal else None

    def tick() -> None:
        if shown is not None:
            shown.update(_line(measurement))

    with shown or nullcontext(), interrupts(measurement.stop, measurement.cancel):
        try:
            await measurement.run(seconds=seconds, tick=tick)
        except asyncio.CancelledError:
            return 130
    return 0


def _line(measurement: Measurement) -> Text:
    """How it goes."""
    now = measurement.snapshot()
    frames = sum(stream.delivered for stream in now.streams.values())
    recent = [stream.recent_p50_s for stream in now.streams.values() if stream.recent_p50_s is not None]
    fps = sum(stream.fps or 0.0 for stream in now.streams.values())
    latency = f"   latency {sorted(recent)[len(recent) // 2] * 1000:.0f} ms" if recent else ""
    return Text(f"{now.elapsed_s:5.1f} s   {frames} frames   {fps:.0f} fps{latency}", style="dim")


def _alone(choice: ModelChoice, options: EngineOptions, measurement: Measurement) -> EngineRate:
    """The engines alone, with the pictures that came by. Sessions of their own: the pipeline closed its."""
    estimators: Sequence[PoseEstimator] = load_estimators(choice, replace(options, recalibrate=False), throughput=True)
    try:
        with console.status("the engines alone …"):
            return engine_rate(estimators, measurement.pictures)
    finally:
        for estimator in estimators:
            estimator.close()


def _title(source: str, measurement: Measurement, figures: Figures) -> str:
    infos = [report.info for report in measurement.reports.values() if report.info is not None]
    size = f", {infos[0].width_px}×{infos[0].height_px}" if infos else ""
    times = f" × {len(figures.delivered)}" if len(figures.delivered) > 1 else ""
    return f"{redact(source)}{times}{size}, {'live' if figures.live else 'as fast as it goes'}"


def _write(target: str, value: Mapping[str, Any]) -> None:
    text = json_module.dumps(value, indent=2, ensure_ascii=False) + "\n"
    if target == "-":
        typer.echo(text, nl=False)
    else:
        with writing(Path(target)):
            Path(target).write_text(text, encoding="utf-8")
