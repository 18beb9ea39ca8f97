"""`streampose cameras`: the cameras of this machine, and what each offers."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from streampose.cli.say import say
from streampose.sources import cameras as list_cameras
from streampose.sources import in_words

__all__ = ["cameras"]


def cameras(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """List the cameras of this machine with their sizes, rates and pixel formats.

    Then: streampose run 0 --show --camera-size 1280x720 --camera-fps 30 --camera-format mjpeg
    """
    found = list_cameras()
    if as_json:
        typer.echo(json.dumps([asdict(camera) for camera in found], indent=1))
        return
    if not found:
        say("no camera: plug one in, or try streampose demo, which needs none")
        return
    for camera in found:
        typer.echo(f"{camera.device}  {camera.name}")
        if camera.error is not None:
            typer.echo(f"  {camera.error}")
        for name in dict.fromkeys(mode.pixel_format for mode in camera.modes):
            offer = in_words([mode for mode in camera.modes if mode.pixel_format == name])
            typer.echo(f"  {offer}")
