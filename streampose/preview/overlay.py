"""What a window says beside the picture: help, notices, and the card before there is a picture."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias

import numpy as np

from streampose.frame import Image
from streampose.render.style import Colour
from streampose.render.tile import Canvas, Font, Tile, stamp

__all__ = ["Row", "card", "panel"]

Row: TypeAlias = tuple[str, str]
"""A word in front, bold, which may be empty, and a text."""

_WHITE: Colour = (250, 250, 250)
_GREY: Colour = (206, 202, 200)
_PANEL: Colour = (30, 24, 20)
_BACKGROUND: Colour = (38, 31, 27)
_OPACITY = 0.84


def panel(image: Image, rows: Sequence[Row], *, at: float) -> None:
    """Draw a panel with rows of text, in place, in the middle across.

    Args:
        image: (H, W, 3) uint8 BGR.
        rows: what it says; a text too long for the picture goes on in the next line.
        at: how far down its middle is, in [0, 1]; the panel stays inside of the picture.
    """
    height, width = image.shape[:2]
    tile = _tile(tuple(rows), width, height)
    tall, wide = tile.keep.shape[:2]
    margin = max(4, min(width, height) // 60)
    y = min(max(round(at * height - tall / 2), margin), max(margin, height - margin - tall))
    stamp(image, tile, (width - wide) // 2, y)


def card(width: int, height: int, rows: Sequence[Row]) -> Image:
    """A picture of its own, for a window that has none to show yet."""
    image = np.full((height, width, 3), _BACKGROUND, np.uint8)
    panel(image, rows, at=0.5)
    return image


@lru_cache(maxsize=16)
def _tile(rows: tuple[Row, ...], width: int, height: int) -> Tile:
    capital = max(7, round(min(width, height) / 60) + 3)
    plain, bold = Font(capital), Font(capital, bold=True)
    pad, gap = round(capital * 1.2), round(capital * 1.2)
    front = max((bold.width_px(word) for word, _ in rows if word), default=-gap) + gap
    letters = max(8, (width * 9 // 10 - 2 * pad - front) // max(1, plain.width_px("0")))
    lines = [
        (word if not i else "", part)
        for word, text in rows
        for i, part in enumerate(textwrap.wrap(text, letters) or [""])
    ]
    pitch = round(capital * 1.9)
    canvas = Canvas(
        front + max(plain.width_px(text) for _, text in lines) + 2 * pad, pitch * (len(lines) - 1) + capital + 2 * pad
    )
    canvas.panel(_PANEL, _OPACITY, radius_px=capital * 0.8)
    for row, (word, text) in enumerate(lines):
        baseline = pad + capital + row * pitch
        if word:
            canvas.text(word, pad, baseline, bold, _WHITE)
        canvas.text(text, pad + front, baseline, plain, _GREY if front > 0 else _WHITE)
    return canvas.tile()
