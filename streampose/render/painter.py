"""From poses to pictures of a chosen size, on black, over the video, or see-through."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import cv2
import numpy as np

from streampose.clip import Moment
from streampose.errors import ConfigError
from streampose.frame import Image
from streampose.pose import Poses
from streampose.render.draw import draw_poses
from streampose.render.figures import draw_figures
from streampose.render.palette import Palette
from streampose.render.parts import Parts
from streampose.render.style import Style

__all__ = ["Background", "FigurePainter"]

Background = Literal["black", "video", "alpha"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FigurePainter:
    """Draws people as figures. Its `repr` says all that decides how they look."""

    look: Palette | Style
    """A palette for models, or our own style for people."""
    parts: Parts = field(default_factory=Parts)
    background: Background = "black"
    size_px: tuple[int, int] | None = None
    """Width and height; the clip's picture is fitted in, in its own shape. `None` = the clip's own."""

    @property
    def wants_image(self) -> bool:
        """Whether it draws upon the video's own picture."""
        return self.background == "video"

    @property
    def alpha(self) -> bool:
        """Whether its pictures have a fourth channel."""
        return self.background == "alpha"

    def sized(self, size_px: tuple[int, int]) -> FigurePainter:
        """The same, of this size if it has none of its own."""
        return replace(self, size_px=self.size_px or size_px)

    def __call__(self, moment: Moment, image: Image | None = None) -> Image:
        """One picture: (H, W, 3) uint8 BGR, or (H, W, 4) BGRA, straight: colours are not multiplied by opacity.

        Args:
            moment: who is in it.
            image: the video's own, for the background; of any size: it is stretched to where `Moment.size_px` is shown,
                so that bodies lie upon themselves, also of a time when pixels were not made square.

        Raises:
            ConfigError: nobody knows how large the picture is that the people are in.
        """
        if 0 in moment.size_px:
            raise ConfigError("the poses do not say how large their picture is: give each moment a size_px")
        width, height = self.size_px or moment.size_px
        scale, (x, y) = _fitted(moment.size_px, (width, height))
        shown = (max(1, round(moment.size_px[0] * scale)), max(1, round(moment.size_px[1] * scale)))
        canvas: Image = np.zeros((height, width, 3), np.uint8)
        if image is not None and self.wants_image:
            canvas[y : y + shown[1], x : x + shown[0]] = _resized(image, *shown)
        # Pixels count from their centres: half of one is where the picture begins.
        poses = _moved(moment.poses, scale, np.array([x, y]) + (scale - 1) / 2)
        self._draw(canvas, poses)
        if self.background != "alpha":
            return canvas
        # On black there is the colour times its opacity; on white, more by what of the white is seen through it.
        white = np.full_like(canvas, 255)
        self._draw(white, poses)
        # OpenCV rounds at smooth edges, each channel by itself: their mean is nearest.
        seen_through = cv2.transform(cv2.subtract(white, canvas), np.full((1, 3), 1 / 3))[..., None]
        opacity = np.maximum(255 - seen_through, canvas.max(axis=2, keepdims=True))
        # What lies over another picture has its own colour, and is mixed by its opacity.
        colour = np.minimum(canvas.astype(np.float32) * 255 / np.maximum(opacity, 1) + 0.5, 255).astype(np.uint8)
        return np.dstack([colour, opacity])

    def _draw(self, canvas: Image, poses: Poses) -> None:
        if isinstance(self.look, Style):
            draw_poses(canvas, poses, self.look, self.parts)
        else:
            draw_figures(canvas, poses, self.look, self.parts)


def _fitted(inner: tuple[int, int], outer: tuple[int, int]) -> tuple[float, tuple[int, int]]:
    """The scale at which a picture fits into another, and where its corner then is: whole pixels, in the middle."""
    scale = min(outer[0] / inner[0], outer[1] / inner[1])
    return scale, ((outer[0] - round(inner[0] * scale)) // 2, (outer[1] - round(inner[1] * scale)) // 2)


def _resized(image: Image, width: int, height: int) -> Image:
    if image.shape[:2] == (height, width):
        return image
    way = cv2.INTER_AREA if width < image.shape[1] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=way), np.uint8)


def _moved(poses: Poses, scale: float, by: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Poses:
    points = (poses.points * scale + by).astype(np.float32)
    boxes = (poses.boxes * scale + np.tile(by, 2)).astype(np.float32)
    return replace(poses, points=points, boxes=boxes)
