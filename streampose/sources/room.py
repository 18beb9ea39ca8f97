"""The room behind the drawn people."""

from __future__ import annotations

import cv2
import numpy as np

from streampose.frame import Image
from streampose.sources.paint import Colour, Floats, mix
from streampose.sources.scene import EYE_M, Camera

__all__ = ["room"]

_WALL_M = 7.5


def _soft_noise(rng: np.random.Generator, shape: tuple[int, int], cell: tuple[float, float]) -> Floats:
    """Noise of about (cell y, cell x) pixels a grain, mean 0, deviation about 1."""
    small = rng.normal(size=(max(2, round(shape[0] / cell[0])), max(2, round(shape[1] / cell[1]))))
    return np.asarray(cv2.resize(small, shape[::-1], interpolation=cv2.INTER_CUBIC))


def room(camera: Camera, seed: int) -> Image:
    """A quiet room in unsaturated colours: a wall with a window and pictures, and a floor of planks.

    Returns:
        (H, W, 3) uint8 BGR.
    """
    rng = np.random.default_rng([seed, 0])
    width, height, focal = camera.width_px, camera.height_px, camera.focal_px
    horizon, corner = 0.36 * height, round(0.36 * height + EYE_M * focal / _WALL_M)
    wall: Colour = [(196, 204, 206), (206, 202, 192), (190, 206, 196), (198, 200, 212)][int(rng.integers(4))]
    picture = np.empty((height, width, 3))
    picture[:] = wall
    y, x = np.mgrid[:height, :width].astype(np.float64)
    # Light falls in from the left; plaster has a grain.
    picture *= (1.06 - 0.22 * np.hypot(x / width - 0.22, (y / height - 0.25) * 0.8))[..., None]
    picture += (
        1.6 * _soft_noise(rng, (height, width), (2, 2))[..., None]
        + 2.0 * _soft_noise(rng, (height, width), (40, 40))[..., None]
    )

    depth = EYE_M * focal / np.maximum(y - horizon, 1)
    across = (x - width / 2) * depth / focal
    plank = np.floor(across / 0.16).astype(int)
    joint = np.minimum(across / 0.16 % 1, 1 - across / 0.16 % 1) * 0.16 * focal / depth  # pixels to the next plank
    tone = rng.normal(1, 0.055, 4096)[plank % 4096]
    grain = _soft_noise(rng, (512, 512), (64, 3))[(depth * 60).astype(int) % 512, (across * 420).astype(int) % 512]
    floor = np.array([112, 140, 166]) * (tone + 0.02 * grain)[..., None]
    floor *= (1 - 0.45 * np.exp(-(joint**2) / 1.2))[..., None]
    floor *= (1.08 - 0.035 * depth)[..., None]
    picture[corner:] = floor[corner:]
    out = np.clip(picture, 0, 255).astype(np.uint8)
    _furnish(out, camera, corner, rng)
    return out


def _furnish(image: Image, camera: Camera, floor_y: int, rng: np.random.Generator) -> None:
    """What stands and hangs at the far wall."""
    metre, middle = camera.focal_px / _WALL_M, camera.width_px / 2

    def box(x_m: float, y_m: float, w_m: float, h_m: float, colour: Colour) -> None:
        x, y = middle + x_m * metre, floor_y - y_m * metre
        corners = np.array([[x, y], [x + w_m * metre, y], [x + w_m * metre, y - h_m * metre], [x, y - h_m * metre]])
        cv2.fillConvexPoly(image, np.rint(corners * 16).astype(np.int32), colour, cv2.LINE_AA, 4)

    # Skirting board.
    box(-50, 0, 100, 0.12, (224, 226, 226))
    box(-50, 0, 100, 0.012, (120, 128, 134))
    # A window with a pale sky.
    box(-3.35, 0.92, 1.76, 1.66, (232, 234, 234))
    box(-3.27, 1.00, 1.60, 1.50, (236, 226, 212))
    box(-3.27, 1.00, 1.60, 0.45, (196, 206, 196))
    box(-2.50, 1.00, 0.06, 1.50, (232, 234, 234))
    box(-3.27, 1.74, 1.60, 0.05, (232, 234, 234))
    box(-3.41, 0.88, 1.88, 0.06, (214, 216, 216))
    # Pictures.
    for x_m, w_m, h_m in ((-1.05, 0.5, 0.66), (1.7, 0.9, 0.62), (2.85, 0.42, 0.42)):
        y_m = 1.70 - h_m / 2
        shade = int(rng.integers(0, 40))
        paper: Colour = (176 + shade, 180 + shade // 2, 186)
        box(x_m + 0.02, y_m - 0.03, w_m, h_m, (168, 172, 172))
        box(x_m, y_m, w_m, h_m, (74, 84, 92))
        box(x_m + 0.035, y_m + 0.035, w_m - 0.07, h_m - 0.07, (232, 234, 234))
        box(x_m + 0.09, y_m + 0.09, w_m - 0.18, h_m - 0.18, paper)
        box(x_m + 0.09, y_m + 0.09, w_m - 0.18, (h_m - 0.18) * 0.4, mix(paper, (120, 130, 128), 0.6))
    # A low sideboard.
    box(1.55, 0.0, 1.9, 0.62, (104, 122, 138))
    box(1.50, 0.60, 2.0, 0.05, (124, 144, 160))
    for k in range(3):
        box(1.60 + 0.615 * k, 0.08, 0.57, 0.48, (116, 136, 152))
        box(1.85 + 0.615 * k, 0.44, 0.08, 0.02, (70, 80, 88))
