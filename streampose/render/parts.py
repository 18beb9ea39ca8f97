"""What of people is drawn, and how wide: of our own style as of those for models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["LIGHT", "Parts", "Show"]

Show: TypeAlias = Literal["full", "weak", "none"]

LIGHT: dict[Show, float] = {"full": 1.0, "weak": 0.4, "none": 0.0}
"""How bright, or solid, each is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What of people is drawn, and how wide."""

    head: Show = "full"
    """Nose, eyes, ears and what joins them."""
    face: Show = "full"
    """The 68 dots, where the style has them and the model gives them."""
    hands: bool = True
    width: float = 1.0
    """Of the body's lines, as a multiple of what the picture's size suggests; 0 = no body."""
    hand_width: float = 1.0
    """… of the hands' lines, which are half as wide or less; 0 = no hands."""
    width_px: int | None = None
    """Of the body's lines, exactly; `None` = by `width`."""
    hand_width_px: int | None = None
    """… of the hands' lines."""
    min_score: float | None = None
    """Points below are not drawn; `None` = the style's."""
