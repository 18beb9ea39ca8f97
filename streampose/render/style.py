"""What a drawing looks like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["Colour", "Style"]

Colour: TypeAlias = tuple[int, int, int]
"""Blue, green, red, each 0 to 255."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """What is drawn of people, and how. Colours are BGR, 0 to 255."""

    left: Colour = (56, 146, 255)
    """The person's own left: orange. Orange and sky blue stay apart for colour-blind eyes."""
    right: Colour = (255, 190, 64)
    """The person's own right: sky blue."""
    middle: Colour = (236, 240, 240)
    """Nose, neck, across shoulders and hips."""
    outline: Colour = (28, 22, 20)
    """Around everything, so that it can be read on any background."""
    min_score: float = 0.3
    """Points below it are not drawn, nor the bones that end in them."""
    sure_score: float = 0.7
    """From this score on drawn solid; below it fainter, down to `faint` at `min_score`."""
    faint: float = 0.35
    """Opacity in [0, 1] of what barely passes `min_score`."""
    line_px: float | None = None
    """Width of a bone; `None` = from the sizes of the person and the picture."""
    bones: bool = True
    points: bool = True
    boxes: bool = True
    """Corners around each person, in a colour of their id."""
    ids: bool = True
    """A label at each box, where the poses have ids."""
