"""The heads-up display: how a stream is doing, on its own picture."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from streampose.frame import Image
from streampose.render.style import Colour
from streampose.render.tile import Canvas, Font, Tile, stamp

__all__ = ["Hud", "draw_hud"]

_WHITE: Colour = (250, 250, 250)
_GREY: Colour = (206, 202, 200)
_AMBER: Colour = (64, 190, 255)
_PANEL: Colour = (30, 24, 20)
_OPACITY = 0.76  # grey on it has a contrast of 4.5 (WCAG 2 AA) even before a white wall

Item: TypeAlias = tuple[tuple[str, Colour, bool], ...]
"""Words that stay together: text, colour, bold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hud:
    """The figures to show. `None` = not known, and left out."""

    stream: str
    fps: float | None = None
    """Frames per second delivered."""
    latency_p50_s: float | None = None
    """From capture to delivery."""
    latency_p95_s: float | None = None
    batch_size: int | None = None
    dropped: int | None = None
    """Frames, so far."""
    people: int | None = None
    engine: str | None = None
    """What computes, e.g. ``CUDA``."""


def draw_hud(image: Image, hud: Hud) -> None:
    """Draw it into the lower left corner of a picture, in place: faces and ids are mostly in the upper half."""
    height, width = image.shape[:2]
    margin, tile = _margin_px(width, height), _tile(hud, width, height)
    stamp(image, tile, margin, height - margin - len(tile.keep))


# The figures change a few times a second, frames more often.
@lru_cache(maxsize=16)
def _tile(hud: Hud, width: int, height: int) -> Tile:
    """Draw the display for a picture of width × height pixels; it takes as many lines as it needs."""
    capital = max(7, round(min(width, height) / 60) + 3)
    plain, bold = Font(capital), Font(capital, bold=True)
    pad, gap, space = capital, round(capital * 1.6), round(capital * 0.45)

    def item_width(item: Item) -> int:
        return sum((bold if b else plain).width_px(text) for text, _, b in item) + space * (len(item) - 1)

    lines: list[list[Item]] = [[]]
    used = 0
    room = width - 2 * (pad + _margin_px(width, height))
    for item in _items(hud):
        if lines[-1] and used + gap + item_width(item) > room:
            lines.append([])
        used = item_width(item) + (used + gap if lines[-1] else 0)
        lines[-1].append(item)

    widths = [sum(map(item_width, line)) + gap * (len(line) - 1) for line in lines]
    pitch = round(capital * 1.9)
    canvas = Canvas(max(widths) + 2 * pad, pitch * (len(lines) - 1) + capital + 2 * pad)
    canvas.panel(_PANEL, _OPACITY, radius_px=capital * 0.8)
    for row, line in enumerate(lines):
        x = pad
        for item in line:
            for text, colour, is_bold in item:
                font = bold if is_bold else plain
                canvas.text(text, x, pad + capital + row * pitch, font, colour)
                x += font.width_px(text) + space
            x += gap - space
    return canvas.tile()


def _margin_px(width: int, height: int) -> int:
    """Between the display and the picture's edges."""
    return max(4, min(width, height) // 60)


def _items(hud: Hud) -> list[Item]:
    items: list[Item] = [((hud.stream, _WHITE, True),)]
    if hud.fps is not None:
        items.append((_figure(f"{hud.fps:.1f}"), _word("fps")))
    if hud.latency_p50_s is not None:
        items.append((_figure(_duration(hud.latency_p50_s)), _word("latency")))
    if hud.latency_p95_s is not None:
        items.append((_figure(_duration(hud.latency_p95_s)), _word("p95")))
    if hud.batch_size is not None:
        items.append((_word("batch"), _figure(f"{hud.batch_size}")))
    if hud.people is not None:
        items.append((_figure(f"{hud.people}"), _word("person" if hud.people == 1 else "people")))
    if hud.dropped is not None:
        items.append(((f"{hud.dropped}", _AMBER if hud.dropped else _WHITE, False), _word("dropped")))
    if hud.engine is not None:
        items.append((_word(hud.engine),))
    return items


def _figure(text: str) -> tuple[str, Colour, bool]:
    return text, _WHITE, False


def _word(text: str) -> tuple[str, Colour, bool]:
    return text, _GREY, False


def _duration(seconds: float) -> str:
    if seconds < 0.01:
        return f"{seconds * 1e3:.1f} ms"
    return f"{seconds * 1e3:.0f} ms" if seconds < 10 else f"{seconds:.0f} s"
