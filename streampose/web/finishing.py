"""Smoothing and drawing that follow a stream's settings while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from streampose.frame import Image
from streampose.pose import Poses
from streampose.render import Hud, Renderer, Style
from streampose.tracking import OneEuro
from streampose.web.settings import Settings

__all__ = ["DrawnOnDemand", "SmoothedOnDemand", "draw"]


class SmoothedOnDemand(OneEuro):
    """Smooths while its stream's settings say so.

    Args:
        settings: of the stream, now.
    """

    def __init__(self, settings: Callable[[], Settings]) -> None:
        super().__init__()
        self._wanted = settings

    def update(self, poses: Poses, time_s: float) -> Poses:
        """The next frame."""
        if self._wanted().smooth:
            return super().update(poses, time_s)
        self.reset()
        return poses


class DrawnOnDemand(Renderer):
    """Draws while somebody looks at the picture; else it is the frame's own, at no cost.

    Args:
        settings: of the stream, now.
        wanted: whether anybody looks.
    """

    def __init__(self, settings: Callable[[], Settings], wanted: Callable[[], bool]) -> None:
        super().__init__()
        self._settings, self._wanted = settings, wanted

    def __call__(self, image: Image, poses: Poses, hud: Hud | None = None) -> Image:
        """A new picture, or the frame's own."""
        # No figures in it: the page shows them beside it.
        return draw(image, poses, self._settings()) if self._wanted() else image


def draw(image: Image, poses: Poses, settings: Settings) -> Image:
    """A new picture of a frame and its people, (H, W, 3) uint8 BGR. Mirrored ones have readable labels."""
    if settings.mirror:
        image, poses = np.ascontiguousarray(image[:, ::-1]), _mirrored(poses, image.shape[1])
    style = Style(
        ids=settings.ids, min_score=settings.confidence, sure_score=max(Style().sure_score, settings.confidence)
    )
    return Renderer(style)(image, poses)


def _mirrored(poses: Poses, width_px: int) -> Poses:
    """Everybody in the mirror. The points keep their names: a left hand is still that person's left hand."""
    points, boxes = poses.points.copy(), poses.boxes.copy()
    points[..., 0] = width_px - 1 - points[..., 0]
    boxes[:, [0, 2]] = width_px - 1 - boxes[:, [2, 0]]
    return replace(poses, points=points, boxes=boxes)
