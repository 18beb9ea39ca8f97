"""From a frame to the picture that people see."""

from __future__ import annotations

from streampose.errors import ConfigError
from streampose.frame import Image, is_picture, no_picture
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

    Raises:
        ConfigError: the style is none; in a call: the picture is.
    """

    def __init__(self, style: Style | None = None, *, hud: bool = True) -> None:
        if not isinstance(style, Style | None):
            raise ConfigError(f"a renderer's style is a Style(…), not {style!r:.40}")
        self._style = style or Style()
        self._show_hud = hud

    def __call__(self, image: Image, poses: Poses, hud: Hud | None = None) -> Image:
        """A new, writable picture; the frame's own is read-only, and others are looking at it.

        Args:
            image: (H, W, 3) uint8 BGR.
            poses: in its pixels.
            hud: the figures; `None` = none.
        """
        if not is_picture(image):
            raise ConfigError(no_picture(image))
        picture = image.copy()
        draw_poses(picture, poses, self._style)
        if hud is not None and self._show_hud:
            draw_hud(picture, hud)
        return picture
