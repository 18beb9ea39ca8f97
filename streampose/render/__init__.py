"""Drawing."""

from streampose.render.draw import draw_poses
from streampose.render.hud import Hud, draw_hud
from streampose.render.renderer import Renderer
from streampose.render.style import Colour, Style

__all__ = ["Colour", "Hud", "Renderer", "Style", "draw_hud", "draw_poses"]
