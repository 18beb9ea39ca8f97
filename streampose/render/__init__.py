"""Drawing."""

from streampose.render.closeup import CloseUp
from streampose.render.draw import draw_poses
from streampose.render.figures import draw_figures
from streampose.render.hud import Hud, draw_hud
from streampose.render.painter import Background, FigurePainter
from streampose.render.palette import PALETTES, Palette
from streampose.render.parts import Parts, Show
from streampose.render.renderer import Renderer
from streampose.render.style import Colour, Style

__all__ = [
    "PALETTES",
    "Background",
    "CloseUp",
    "Colour",
    "FigurePainter",
    "Hud",
    "Palette",
    "Parts",
    "Renderer",
    "Show",
    "Style",
    "draw_figures",
    "draw_hud",
    "draw_poses",
]
