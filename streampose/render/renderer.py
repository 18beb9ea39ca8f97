"""From a frame to the picture that people see."""

from __future__ import annotations

from streampose.frame import Image
from streampose.pose import Poses
from streampose.render.draw import draw_poses
from streampose.render.hud import Hud, draw_hud
from streampose.render.style import Style

__all__ = ["Renderer"]


class Renderer:
    """Draws people and the heads-up display onto a copy of a frame.

    Args:
        style: colours and such.
        hud: whether to draw the heads-up display when there is something to show.
    """

    def __init__(self, style: Style | None = None, *, hud: bool = True) -> None:
        self._style = style or Style()
        self._show_hud = hud

    def __call__(self, image: Image, poses: Poses, hud: Hud | None = None) -> Image:
        """A new, writable picture; the frame's own is read-only, and others are looking at it."""
        picture = image.copy()
        draw_poses(picture, poses, self._style)
        if hud is not None and self._show_hud:
            draw_hud(picture, hud)
        return picture
