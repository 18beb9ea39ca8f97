"""`streampose process`: recordings from end to end."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import typer

from streampose.cli import engine, pictures
from streampose.cli.command import flat
from streampose.cli.config import use_config
from streampose.cli.presets import Preset
from streampose.cli.process_report import show, summary
from streampose.cli.say import dim, fail, once, say
from streampose.cli.session import interrupts
from streampose.cli.values import check_path, parse_rate, parse_seconds, parse_time
from streampose.cores import share_cores
from streampose.errors import ConfigError
from streampose.inference.loading import PoseEstimator, describe_all, load_estimators
from streampose.loop import run_async
from streampose.motion import parse_choice
from streampose.offline.inputs import Input, find_inputs
from streampose.offline.plan import Plan
from streampose.offline.process import Progress, Stage, process
from streampose.offline.refinement import Refinement
from streampose.offline.videos import STYLES
from streampose.redaction import redact
from streampose.sources import Cut

__all__ = ["process_command"]

_INPUT, _REFINE, _OUTPUT = "Input", "Second pass", "Output"
_IMAGES_FPS = "30"


@flat
def process_command(
    *,
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...",
            help="Video files, globs, folders (each video is one, all images together are one), images in a row.",
        ),
    ],
    out: Annotated[  # as typed: an empty name would be the current folder
        str, typer.Option("--out", "-o", metavar="PATH", help="Folder for what comes out; made if it is not there.")
    ],
    config: Annotated[
        Path | None,
        typer.Option(
            help="A TOML file of options (`streampose config` writes one).",
            callback=use_config,
            is_eager=True,
            rich_help_panel=_INPUT,
        ),
    ] = None,
    start: Annotated[
        str | None, typer.Option(help="From this time on: 90, 1:30, 01:02:03.5.", rich_help_panel=_INPUT)
    ] = None,
    end: Annotated[str | None, typer.Option(help="Up to this time.", rich_help_panel=_INPUT)] = None,
    every: Annotated[int, typer.Option(min=1, help="Only every so-many-th frame.", rich_help_panel=_INPUT)] = 1,
    resize: Annotated[
        int | None,
        typer.Option(
            min=16, help="Scale longer sides down to so many pixels; poses are in these.", rich_help_panel=_INPUT
        ),
    ] = None,
    contrast: Annotated[
        float | None,
        typer.Option(
            help="Even out the light for the models in dark clips (CLAHE's limit; 2 is usual).", rich_help_panel=_INPUT
        ),
    ] = None,
    images_fps: Annotated[
        str, typer.Option(help="Frames a second that images in a row stand for.", rich_help_panel=_INPUT)
    ] = _IMAGES_FPS,
    hwaccel: Annotated[
        str, typer.Option(help="What decodes: none (software), auto, or a device.", rich_help_panel=_INPUT)
    ] = "none",
    preset: Preset = None,
    chosen: engine.Models,
    engines: engine.Engines,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Frames in a batch; 4, on a GPU 32.", rich_help_panel="Engine")
    ] = None,
    at_once: Annotated[
        int | None, typer.Option(min=1, help="Inputs read at a time; as suits the machine.", rich_help_panel="Engine")
    ] = None,
    track: Annotated[bool, typer.Option(help="Give people stable numbers.", rich_help_panel=_REFINE)] = True,
    clean: Annotated[
        bool,
        typer.Option(
            "--clean",
            help="Use that the whole clip is there: --link 2s --fill 500ms --calm 40ms; 0 switches one off.",
            rich_help_panel=_REFINE,
        ),
    ] = False,
    link: Annotated[
        str | None,
        typer.Option(help="Who is found again within this time is the same person.", rich_help_panel=_REFINE),
    ] = None,
    fill: Annotated[
        str | None, typer.Option(help="Put in who and what is missing for at most this time.", rich_help_panel=_REFINE)
    ] = None,
    calm: Annotated[
        str | None, typer.Option(help="Smooth over this time, without lag.", rich_help_panel=_REFINE)
    ] = None,
    person: Annotated[
        str | None,
        typer.Option(
            help="One person only: largest, centre, id:3, or who is in box:x1,y1,x2,y2[@seconds].",
            rich_help_panel=_REFINE,
        ),
    ] = None,
    formats: Annotated[
        str, typer.Option("--format", help="Of the poses, several with commas.", rich_help_panel=_OUTPUT)
    ] = "jsonl",
    draw: Annotated[
        str | None,
        typer.Option(help=f"Videos of figures, several with commas: {', '.join(STYLES)}.", rich_help_panel="Drawing"),
    ] = None,
    size: pictures.Size = None,
    background: pictures.Backdrop = "black",
    looks: pictures.Looks,
    face_video: pictures.FaceSize = None,
    face_padding: pictures.FacePadding = 0.0,
    prompts: Annotated[
        bool,
        typer.Option(
            "--prompts", help="Boxes, points and outlines in four frames, for segmenters.", rich_help_panel=_OUTPUT
        ),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress and no summary.")] = False,
) -> None:
    """Find the people in recordings, every frame of them, and go on where an earlier run was cut off.

    Run the same command again after Ctrl-C, a crash or a power cut: what is done is not done again, and what comes out
    is what one run would have given.

    Examples:

      streampose process clips/ -o poses/

      streampose process 'shoot/*.mov' -o poses/ --clean --person largest --format jsonl,openpose

      streampose process dance.mp4 -o dance/ --clean --person largest --draw animate --size 832x480 --face-video 512
    """
    if not out:
        raise ConfigError("-o is empty: name a folder")
    if re.match(r"[\w+.-]{2,}://", out):  # C:// is a disk
        raise ConfigError(f"-o {redact(out)} is a URL, and what comes out are files: name a folder")
    check_path("-o", out)
    times = {
        name: None if text is None else parse_seconds(text, zero=True)
        for name, text in (("link", link), ("fill", fill), ("calm", calm))
    }
    usual = {"link": 2.0, "fill": 0.5, "calm": 0.04} if clean else {}
    link_s, fill_s, sigma_s = (usual.get(name, 0.0) if time is None else time for name, time in times.items())
    plan = Plan(
        choice=chosen.choice(),
        engine=engines.options(batch),
        cut=Cut(
            start_s=0.0 if start is None else parse_time(start),
            end_s=None if end is None else parse_time(end),
            every=every,
            long_side_px=resize,
            contrast=contrast,
        ),
        refinement=Refinement(
            track=track,
            link_s=link_s,
            fill_s=fill_s,
            sigma_s=sigma_s,
            person=None if person is None else parse_choice(person),
        ),
        formats=[name.strip() for name in formats.split(",") if name.strip()],
        drawings=looks.drawings(
            draw, size=size, background=background, face_video_px=face_video, face_padding=face_padding
        ),
        prompts=prompts,
        hwaccel=hwaccel,
        batch=batch,
        at_once=at_once,
    )
    raise typer.Exit(start_process(inputs, Path(out), plan, images_rate=parse_rate(images_fps), quiet=quiet))


def start_process(texts: Sequence[str], folder: Path, plan: Plan, *, images_rate: Fraction, quiet: bool) -> int:
    """Do it, and return the exit code."""
    share_cores()
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"-o {folder} is a file: name a folder")
    inputs = find_inputs(texts, folder, images_rate=images_rate)
    if images_rate != parse_rate(_IMAGES_FPS) and not any(one.images for one in inputs):
        say("--images-fps is for images in a row, and none are named")
    with once(alone=len(inputs) == 1):
        return run_async(_run(inputs, folder, plan, quiet=quiet))


async def _run(inputs: Sequence[Input], folder: Path, plan: Plan, *, quiet: bool) -> int:
    stop = asyncio.Event()
    began = asyncio.get_running_loop().time()
    shown: list[Progress] = []

    def load() -> list[PoseEstimator]:
        estimators = load_estimators(plan.choice, plan.engine, throughput=True)
        if not quiet:
            say(dim(describe_all(estimators)))
        return estimators

    running = asyncio.ensure_future(process(inputs, folder, plan, load, stop=stop, watch=shown.extend))
    with interrupts(stop.set, running.cancel):
        try:
            results = await (running if quiet else show(running, shown))
        except asyncio.CancelledError:
            say("cut off: the same command goes on from here")
            return 130
    if not quiet:
        say(summary(results, asyncio.get_running_loop().time() - began, folder))
    for result in results:
        if result.error is not None:
            fail(redact(f"{result.name}: {result.error}" if len(results) > 1 else str(result.error)))
    if any(result.stage is Stage.STOPPED for result in results):
        return 130
    return 1 if any(result.stage is Stage.FAILED for result in results) else 0
