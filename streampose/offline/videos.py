"""The kinds of videos that are made of poses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from streampose.clip import Moment
from streampose.errors import ConfigError
from streampose.motion import Choice, face_squares, held, largest, only, pick, survey
from streampose.offline.drawing import Drawing
from streampose.render import PALETTES, Background, CloseUp, FigurePainter, Parts, Style

__all__ = ["DRAWN", "STYLES", "face_video", "figure_video"]

DRAWN = 3
"""Goes up when videos of the same poses come out in another way; what was drawn before is drawn anew."""
STYLES = ("streampose", *PALETTES)
"""What a video of figures can look like: our own, and what models are trained on."""
_WHOLE_BODY = {"animate", "whole-body"}
# Of a side: what x264 takes, and PNG images and ProRes have no more: a square of them has a gigabyte.
_LARGEST_PX = 16384


def figure_video(
    style: str, *, background: Background, images: bool, size_px: tuple[int, int] | None, parts: Parts
) -> Drawing:
    """A video of figures.

    Args:
        style: one of `STYLES`.
        background: black, the video, or see-through.
        images: a folder of PNG images in the place of a video; else .mp4, or .mov where it is see-through.
        size_px: `None` = the clip's own.
        parts: what is drawn.

    Raises:
        ConfigError: there is no such style, or the size is none that can be drawn.
    """
    if style not in STYLES:
        raise ConfigError(f"no style is called {style!r}; there are: {', '.join(STYLES)}")
    if size_px is not None and max(size_px) > _LARGEST_PX:
        raise ConfigError(f"what is drawn has at most {_LARGEST_PX} pixels a side, not {max(size_px)}")
    if size_px is not None and background != "alpha" and not images and (size_px[0] % 2 or size_px[1] % 2):
        raise ConfigError(f"a video's size is even, not {size_px[0]}x{size_px[1]}")
    look = PALETTES.get(style) or Style()
    suffix = ".png" if images else ".mov" if background == "alpha" else ".mp4"
    return Drawing(
        suffix=f".{style}{suffix}",
        painter=FigurePainter(look=look, parts=parts, background=background, size_px=size_px),
        whole_body=style in _WHOLE_BODY,
    )


def face_video(size_px: int = 512, *, padding: float = 0.0) -> Drawing:
    """A close-up of the face of the one person, or else of the largest: square, calm, of a fixed size.

    Args:
        size_px: of a side; even.
        padding: around it, as a share of it.

    Raises:
        ConfigError: it is odd, or more than can be drawn.
    """
    if size_px > _LARGEST_PX:
        raise ConfigError(f"what is drawn has at most {_LARGEST_PX} pixels a side, not {size_px} for the face")
    if size_px % 2:
        raise ConfigError(f"a video's size is even: {size_px - 1} or {size_px + 1} for the face, not {size_px}")

    def prepare(again: Callable[[], Iterator[Moment]]) -> Iterable[Moment]:
        found = survey(again())
        spans = pick(found, Choice(by="largest"))

        def squares() -> Iterator[Moment]:
            if not found:  # without ids nobody can be followed: of each frame, the largest
                return face_squares((moment.having(largest(moment.poses)) for moment in again()), padding=padding)
            # Who stands in before and after is filled in between as well.
            return only(face_squares(only(again(), spans), padding=padding), spans)

        first = next((moment.poses for moment in squares() if len(moment.poses)), None)
        return held(squares(), first)

    return Drawing(suffix=".face.mp4", painter=CloseUp(size_px=size_px, padding=padding), prepare=prepare)
