"""The options of what is drawn, and what it is made of: `process` and `render` have them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import typer

from streampose.cli.values import parse_size
from streampose.errors import ConfigError
from streampose.offline.drawing import Drawing
from streampose.offline.videos import STYLES, face_video, figure_video
from streampose.render import Background, Parts, Show

__all__ = ["Backdrop", "FacePadding", "FaceSize", "Looks", "Size"]

_DRAWN = "Drawing"

Size = Annotated[str | None, typer.Option(help="Of drawn videos, 832x480; the clip's own.", rich_help_panel=_DRAWN)]
Backdrop = Annotated[
    Background, typer.Option("--background", help="black, video, or alpha (ProRes 4444, PNG).", rich_help_panel=_DRAWN)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """How it is drawn."""

    png: Annotated[
        bool, typer.Option("--png", help="A folder of PNG images in the place of a video.", rich_help_panel=_DRAWN)
    ] = False
    line_width: Annotated[
        float, typer.Option(min=0, help="Of bodies, times what the size suggests; 0 = none.", rich_help_panel=_DRAWN)
    ] = 1.0
    hand_width: Annotated[
        float, typer.Option(min=0, help="Of hands, times what the size suggests; 0 = none.", rich_help_panel=_DRAWN)
    ] = 1.0
    line_px: Annotated[
        int | None,
        typer.Option(min=1, help="Of bodies, in pixels, in the place of --line-width.", rich_help_panel=_DRAWN),
    ] = None
    hand_px: Annotated[
        int | None,
        typer.Option(min=1, help="Of hands, in pixels, in the place of --hand-width.", rich_help_panel=_DRAWN),
    ] = None
    head: Annotated[Show, typer.Option("--head", help="full, weak or none.", rich_help_panel=_DRAWN)] = "full"
    face_dots: Annotated[Show, typer.Option("--face-dots", help="full, weak or none.", rich_help_panel=_DRAWN)] = "full"
    point_score: Annotated[
        float | None,
        typer.Option("--point-score", min=0, max=1, help="Points below are not drawn.", rich_help_panel=_DRAWN),
    ] = None
    sound: Annotated[
        bool,
        typer.Option("--sound", help="Put the recording's sound into drawn videos, as it is.", rich_help_panel=_DRAWN),
    ] = False

    def drawings(
        self,
        styles: str | None,
        *,
        size: str | None,
        background: Background,
        face_video_px: int | None = None,
        face_padding: float = 0.0,
    ) -> list[Drawing]:
        """What was asked for.

        Args:
            styles: names with commas between them; `None` = no figures.
            size: of all of them.
            background: likewise.
            face_video_px: a close-up's; `None` = there is none.
            face_padding: around it.

        Raises:
            ConfigError: a value makes no sense, or is of something that is not asked for.
        """
        parts = Parts(
            head=self.head,
            face=self.face_dots,
            width=self.line_width,
            hand_width=self.hand_width,
            width_px=self.line_px,
            hand_width_px=self.hand_px,
            min_score=self.point_score,
        )
        names = [name.strip() for name in (styles or "").split(",") if name.strip()]
        if self.sound and face_video_px is None and (self.png or not names):
            raise ConfigError("--sound is for videos: name a style to --draw, without --png")
        if not names:
            asked = {
                "--size": size is not None,
                "--background": background != "black",
                "--png": self.png,
                "--line-width": self.line_width != 1,
                "--hand-width": self.hand_width != 1,
                "--line-px": self.line_px is not None,
                "--hand-px": self.hand_px is not None,
                "--head": self.head != "full",
                "--face-dots": self.face_dots != "full",
                "--point-score": self.point_score is not None,
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
                images=self.png,
                size_px=None if size is None else parse_size(size),
                parts=parts,
            )
            for name in names
        ]
        if face_video_px is not None:
            found.append(face_video(face_video_px, padding=face_padding))
        return [replace(drawing, sound=self.sound and not drawing.is_folder) for drawing in found]
