"""`streampose run`: streams in, poses out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from streampose.arenas import few_arenas
from streampose.cli import engine, output
from streampose.cli.command import flat
from streampose.cli.config import Config, StreamEntry, load_config, tell_twins, use_config
from streampose.cli.presets import Preset
from streampose.cli.references import resolve
from streampose.cli.roster import Roster
from streampose.cli.service import Metrics, MetricsToken, parse_metrics, parse_need
from streampose.cli.session import Session, start_session
from streampose.cli.values import at_least, named_sources, parse_budget, parse_size
from streampose.errors import ConfigError
from streampose.observe.watch import WatchOptions
from streampose.preview import Preview
from streampose.render import Renderer, Style
from streampose.sources import CameraWish, format_name, is_camera, open_source
from streampose.streams import Stream
from streampose.tracking import OneEuro, Tracker

__all__ = ["run"]

_INPUT, _MODEL, _FLOW, _SERVICE = "Input", "Model", "Flow", "Service"


@flat
def run(
    *,
    context: typer.Context,
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME=]SOURCE...",
            help="A video file, a folder or glob of images, a camera (0, /dev/video0), a URL (rtsp://, http://, …), or "
            "synthetic: for drawn figures. Several run at once through one engine.",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="A TOML file of options and streams; SIGHUP reads its streams again (docs/configuration.md).",
            callback=use_config,
            is_eager=True,
            rich_help_panel=_INPUT,
        ),
    ] = None,
    preset: Preset = None,
    chosen: engine.Models,
    engines: engine.Engines,
    places: output.Places,
    next_model: Annotated[
        list[str] | None,
        typer.Option(
            help="What a window's key m goes on to, in turn: a model that does all, or DETECTOR+POSE; by default all "
            "that were pulled.",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    hud: output.Hud = True,
    boxes: output.Boxes = True,
    track: engine.Track = True,
    smooth: Annotated[bool, typer.Option(help="Calm the key points (One-Euro filter).", rich_help_panel=_FLOW)] = False,
    live: Annotated[
        bool | None,
        typer.Option(
            "--live/--offline",
            help="Play recordings at their own speed and drop what is late, or process every frame. "
            "By default cameras are live and files are not.",
            show_default=False,
            rich_help_panel=_FLOW,
        ),
    ] = None,
    reconnect: Annotated[
        bool, typer.Option(help="Wait for cameras that are away, and open them again.", rich_help_panel=_FLOW)
    ] = True,
    budget: engine.Budget = "100ms",
    batch: engine.Batch = None,
    seconds: Annotated[
        float | None,
        typer.Option(parser=at_least(0), metavar="TIME", help="Stop after so long: 90, 5m.", rich_help_panel=_FLOW),
    ] = None,
    hwaccel: Annotated[
        str,
        typer.Option(
            help="What decodes: none (software), auto, or a device (cuda, videotoolbox, d3d11va, …); software takes "
            "over what it cannot.",
            rich_help_panel=_FLOW,
        ),
    ] = "none",
    rtsp: Annotated[
        str,
        typer.Option(
            help="How RTSP cameras are asked: auto, or by FFmpeg's client over tcp or udp.", rich_help_panel=_FLOW
        ),
    ] = "auto",
    metrics: Metrics = None,
    metrics_token: MetricsToken = None,
    ready: Annotated[
        str, typer.Option(help="How many streams must deliver for /readyz: a number, or all.", rich_help_panel=_SERVICE)
    ] = "1",
    trace: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Share of frames whose way is sent as OpenTelemetry spans (OTEL_EXPORTER_OTLP_ENDPOINT says where).",
            rich_help_panel=_SERVICE,
        ),
    ] = 0.0,
    camera_size: Annotated[
        str | None, typer.Option(help="Of cameras: 1280x720. `streampose cameras` lists all.", rich_help_panel=_FLOW)
    ] = None,
    camera_fps: Annotated[int | None, typer.Option(min=1, help="Of cameras.", rich_help_panel=_FLOW)] = None,
    camera_format: Annotated[
        str | None,
        typer.Option(help="Of cameras: mjpeg, yuyv422, …; by default the fastest of that size.", rich_help_panel=_FLOW),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress and no summary.")] = False,
) -> None:
    """Find the people and their key points in every stream.

    Ctrl-C stops reading, delivers what is on its way and finishes the files; a second one cuts it off.

    Examples:

      streampose run 0 --show

      streampose run clip.mp4 --detector rtmdet.onnx --pose rtmpose.onnx --out poses.mp4 --json poses.jsonl

      streampose run door=rtsp://10.0.0.5/a yard=rtsp://10.0.0.6/a --model rtmo-s --json out/
    """
    choice = chosen.choice()
    watch = WatchOptions(need=parse_need(ready), metrics=parse_metrics(metrics, metrics_token, ready), trace=trace)
    outputs = places.outputs()
    wanted = None if config is None else load_config(config)
    entries = _entries(context, sources or [], wanted)
    wish = CameraWish(
        size_px=None if camera_size is None else parse_size(camera_size),
        rate=camera_fps,
        pixel_format=None if camera_format is None else format_name(camera_format),
    )
    style = Style(boxes=boxes)

    def build(name: str, entry: StreamEntry) -> Stream:
        text = resolve(entry.source)
        # What stands in a file was right once: a camera that boots, or whose name is gone with it, will be there again.
        patient = wanted is not None and bool(wanted.streams)
        source = open_source(
            text,
            live=live,
            reconnect=reconnect,
            hwaccel=hwaccel,
            camera=wish,
            transport=rtsp,
            patient=patient,
            timeout_s=entry.timeout_s,
        )
        return Stream(
            name=name,
            source=source,
            budget_s=entry.budget_s,
            weight=entry.weight,
            sinks=outputs.sinks(name, live=source.live),
            tracker=Tracker() if track or smooth else None,
            smoother=OneEuro() if smooth else None,
            renderer=Renderer(style, hud=hud),
        )

    def make(entries: Mapping[str, StreamEntry], names: Sequence[str]) -> list[Stream]:
        outputs.check({name: entry.source for name, entry in entries.items()})
        tell_twins(entries)
        with outputs.all_or_none():
            return [build(name, entries[name]) for name in names]

    streams = make(entries, list(entries))
    if any(stream.source.live for stream in streams):  # each connection has threads of its own
        few_arenas()
    if wish != CameraWish() and not any(is_camera(stream.source) for stream in streams):
        raise ConfigError(
            "--camera-size, --camera-fps and --camera-format are for cameras of this machine (0, /dev/video0)"
        )
    preview = Preview(mirror=places.mirror, style=style, hud=hud, snapshots=places.snapshots) if places.show else None
    session = Session(
        streams=streams if preview is None else [preview.watch(stream) for stream in streams],
        choice=choice,
        options=engines.options(batch),
        budget_s=parse_budget(budget),
        batch=batch,
        stop_after_s=seconds,
        quiet=quiet,
        watch=watch,
        preview=preview,
        roster=Roster(config, wanted, make) if config and wanted and wanted.streams and not places.show else None,
        other_models=next_model or (),
    )
    raise typer.Exit(start_session(session))


def _entries(context: typer.Context, sources: list[str], config: Config | None) -> Mapping[str, StreamEntry]:
    """The streams, of the command line or of the file."""
    streams = config.streams if config is not None else {}
    source = context.get_parameter_source("sources")
    if streams and source is not None and source.name == "COMMANDLINE":
        raise ConfigError(f"streams are named in {context.params['config']} and beside it: keep them in one place")
    if not sources:
        raise typer.BadParameter("name a file, a camera (0), a URL; or --config FILE with streams", param_hint="SOURCE")
    return streams or {name: StreamEntry(source=text) for name, text in named_sources(sources).items()}
