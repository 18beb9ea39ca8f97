"""The options of what is drawn, and what it is made of: `process` and `render` have them."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from streampose.cli.values import parse_size
from streampose.errors import ConfigError
from streampose.offline.drawing import Drawing
from streampose.offline.videos import STYLES, face_video, figure_video
from streampose.render import Background, Parts, Show

__all__ = [
    "Backdrop",
    "FacePadding",
    "FaceSize",
    "Faces",
    "HandWidth",
    "Heads",
    "Images",
    "LineWidth",
    "Points",
    "Size",
    "Sound",
    "drawings",
]

_DRAWN = "Drawing"

Size = Annotated[str | None, typer.Option(help="Of drawn videos, 832x480; the clip's own.", rich_help_panel=_DRAWN)]
Backdrop = Annotated[
    Background, typer.Option("--background", help="black, video, or alpha (ProRes 4444, PNG).", rich_help_panel=_DRAWN)
]
Images = Annotated[
    bool, typer.Option("--png", help="A folder of PNG images in the place of a video.", rich_help_panel=_DRAWN)
]
LineWidth = Annotated[
    float, typer.Option(min=0, help="Of bodies, times what the size suggests; 0 = none.", rich_help_panel=_DRAWN)
]
LinePx = Annotated[
    int | None,
    typer.Option(min=1, help="Of bodies, in pixels, in the place of --line-width.", rich_help_panel=_DRAWN),
]
HandPx = Annotated[
    int | None,
    typer.Option(min=1, help="Of hands, in pixels, in the place of --hand-width.", rich_help_panel=_DRAWN),
]
HandWidth = Annotated[
    float, typer.Option(min=0, help="Of hands, times what the size suggests; 0 = none.", rich_help_panel=_DRAWN)
]
Heads = Annotated[Show, typer.Option("--head", help="full, weak or none.", rich_help_panel=_DRAWN)]
Faces = Annotated[Show, typer.Option("--face-dots", help="full, weak or none.", rich_help_panel=_DRAWN)]
Points = Annotated[
    float | None,
    typer.Option("--point-score", min=0, max=1, help="Points below are not drawn.", rich_help_panel=_DRAWN),
]
Sound = Annotated[
    bool,
    typer.Option("--sound", help="Put the recording's sound into drawn videos, as it is.", rich_help_panel=_DRAWN),
]
FaceSize = Annotated[
    int | None,
    typer.Option(
        "--face-video", min=16, help="Also a close-up of the face, so many pixels square.", rich_help_panel=_DRAWN
    ),
]
FacePadding = Annotated[
    float,
    typer.Option(min=0, max=4, help="Around the face, as a share of its square.", rich_help_panel=_DRAWN),
]


def drawings(
    styles: str | None,
    *,
    size: str | None,
    background: Background,
    images: bool,
    line_width: float,
    hand_width: float,
    line_px: int | None = None,
    hand_px: int | None = None,
    head: Show,
    face_dots: Show,
    point_score: float | None,
    face_video_px: int | None,
    face_padding: float = 0.0,
    sound: bool = False,
) -> list[Drawing]:
    """What was asked for.

    Args:
        styles: names with commas between them; `None` = no figures.

    Raises:
        ConfigError: a value makes no sense, or is of something that is not asked for.
    """
    parts = Parts(
        head=head,
        face=face_dots,
        width=line_width,
        hand_width=hand_width,
        width_px=line_px,
        hand_width_px=hand_px,
        min_score=point_score,
    )
    names = [name.strip() for name in (styles or "").split(",") if name.strip()]
    if sound and face_video_px is None and (images or not names):
        raise ConfigError("--sound is for videos: name a style to --draw, without --png")
    if not names:
        asked = {
            "--size": size is not None,
            "--background": background != "black",
            "--png": images,
            "--line-width": line_width != 1,
            "--hand-width": hand_width != 1,
            "--line-px": line_px is not None,
            "--hand-px": hand_px is not None,
            "--head": head != "full",
            "--face-dots": face_dots != "full",
            "--point-score": point_score is not None,
        }
        if idle := [option for option, is_asked in asked.items() if is_asked]:
            verb = "are" if len(idle) > 1 else "is"
            raise ConfigError(f"{', '.join(idle)} {verb} for --draw: name a style, of {', '.join(STYLES)}")
    if face_video_px is None and face_padding:
        raise ConfigError("--face-padding is for --face-video: say how large the close-up is, 512")
    if len(set(names)) < len(names):
        raise ConfigError(f"{styles} names a style twice; there are: {', '.join(STYLES)}")
    found = [
        figure_video(
            name,
            background=background,
            images=images,
            size_px=None if size is None else parse_size(size),
            parts=parts,
        )
        for name in names
    ]
    if face_video_px is not None:
        found.append(face_video(face_video_px, padding=face_padding))
    return [replace(drawing, sound=sound and not drawing.is_folder) for drawing in found]
