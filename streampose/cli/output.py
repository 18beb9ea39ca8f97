"""The options of `run` that say where results go."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from streampose.cli.outputs import Outputs
from streampose.cli.values import parse_rotation, parse_seconds
from streampose.sinks.encoder import ENCODERS

__all__ = ["Boxes", "Hud", "Places"]

_OUTPUT = "Output"


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where results go."""

    out: Annotated[
        str | None,
        typer.Option(
            help="Rendered video: a file, a folder for NAME.mp4 each (made if it ends with /), or a media server "
            "(rtsp://…/{name}, rtmp://…).",
            rich_help_panel=_OUTPUT,
        ),
    ] = None
    encoder: Annotated[
        str | None,
        typer.Option(
            help=f"Of video for a media server: {', '.join(ENCODERS)}.", show_default="auto", rich_help_panel=_OUTPUT
        ),
    ] = None
    json: Annotated[
        str | None,
        typer.Option(
            help="JSON Lines: a file, a folder for NAME.jsonl each (made if it ends with /), or - for standard output.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None
    json_rotate: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE|TIME",
            help="Begin the file anew when it is so long or so old: 100MB, 1h, or both: 100MB,1d. Old ones become "
            "NAME.000001.jsonl, …",
            rich_help_panel=_OUTPUT,
        ),
    ] = None
    json_keep: Annotated[
        int | None, typer.Option(min=1, help="How many of the old ones stay; all.", rich_help_panel=_OUTPUT)
    ] = None
    coco: Annotated[
        str | None, typer.Option(help="COCO results JSON: a file, or a folder.", rich_help_panel=_OUTPUT)
    ] = None
    send: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL",
            help="Send the lines of JSON there: http(s)://…, mqtt(s)://host/topic, redis(s)://host/0?stream=key. May "
            "be given several times.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None
    snapshot: Annotated[
        str | None,
        typer.Option(
            help="The newest picture as a JPEG: a file, or a folder for NAME.jpg each.", rich_help_panel=_OUTPUT
        ),
    ] = None
    snapshot_every: Annotated[str, typer.Option(help="How often: 10s, 1m.", rich_help_panel=_OUTPUT)] = "10s"
    show: Annotated[
        bool, typer.Option("--show", help="A window for each stream; h shows its keys.", rich_help_panel=_OUTPUT)
    ] = False
    mirror: Annotated[
        bool | None,
        typer.Option(
            help="Show windows as in a mirror; by default those of webcams. Files are never mirrored.",
            show_default=False,
            rich_help_panel=_OUTPUT,
        ),
    ] = None
    snapshots: Annotated[
        Path | None, typer.Option(help="Folder for a window's snapshots; the current one.", rich_help_panel=_OUTPUT)
    ] = None

    def outputs(self) -> Outputs:
        """All of them but windows.

        Raises:
            ConfigError: a value makes no sense.
        """
        return Outputs(
            out=self.out,
            encoder=self.encoder,
            json=self.json,
            rotation=parse_rotation(self.json_rotate, self.json_keep),
            coco=self.coco,
            send=self.send or (),
            snapshot=self.snapshot,
            snapshot_every_s=parse_seconds(self.snapshot_every),
        )


Hud = Annotated[bool, typer.Option(help="Figures in the picture.", rich_help_panel=_OUTPUT)]
Boxes = Annotated[bool, typer.Option(help="Boxes in the picture.", rich_help_panel=_OUTPUT)]
