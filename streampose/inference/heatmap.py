"""Heatmaps to key points, all maps of a batch at once."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from streampose.inference.card import Refine

__all__ = ["blur_rows", "decode_heatmaps", "decode_simcc", "stencils"]

Floats = NDArray[np.float32]


def decode_heatmaps(maps: Floats, refine: Refine, *, blur_px: int = 11, udp: bool = False) -> tuple[Floats, Floats]:
    """The peak of each map, finer than a pixel.

    Args:
        maps: (n, k, h, w).
        refine: how the arg-max is refined.
        blur_px: kernel width of the blur for `Refine.DARK`, odd.
        udp: take the derivatives as UDP does (one pixel apart) instead of DARK's (two apart).

    Returns:
        (n, k, 2) x y in map pixels and (n, k) the peak's value, clipped to [0, 1].
    """
    n, k, h, w = maps.shape
    flat = maps.reshape(n * k, h * w)
    best = flat.argmax(axis=1)
    peak = flat[np.arange(n * k), best]
    y, x = np.divmod(best, w)
    points = np.stack([x, y], axis=1).astype(np.float32)
    if n * k and refine is not Refine.NONE:
        maps = maps.reshape(n * k, h, w)
        if refine is Refine.QUARTER:
            points += _quarter(maps, x, y)
        else:
            points += _dark(maps, x, y, blur_px, udp)
    return points.reshape(n, k, 2), np.clip(peak, 0, 1).reshape(n, k).astype(np.float32, copy=False)


def decode_simcc(x_bins: Floats, y_bins: Floats, split: float = 2.0) -> tuple[Floats, Floats]:
    """SimCC: each coordinate as a classification over sub-pixel bins (Li et al., ECCV 2022).

    Args:
        x_bins: (n, k, W·split).
        y_bins: (n, k, H·split).
        split: bins per input pixel; RTMPose has 2.

    Returns:
        (n, k, 2) x y in input pixels and (n, k) the lower of the two peaks, clipped to [0, 1].
    """
    points = np.stack([x_bins.argmax(axis=2), y_bins.argmax(axis=2)], axis=2) / split
    peak = np.minimum(x_bins.max(axis=2), y_bins.max(axis=2))
    return points.astype(np.float32), np.clip(peak, 0, 1).astype(np.float32)


def _quarter(maps: Floats, x: NDArray[np.intp], y: NDArray[np.intp]) -> Floats:
    """A quarter of a pixel towards the higher neighbour; none at the border."""
    _, h, w = maps.shape
    rows = np.arange(len(maps))
    inside = (x > 0) & (x < w - 1) & (y > 0) & (y < h - 1)
    cx, cy = np.clip(x, 1, w - 2), np.clip(y, 1, h - 2)
    dx = maps[rows, cy, cx + 1] - maps[rows, cy, cx - 1]
    dy = maps[rows, cy + 1, cx] - maps[rows, cy - 1, cx]
    step: Floats = (np.stack([np.sign(dx), np.sign(dy)], axis=1) * 0.25 * inside[:, None]).astype(np.float32)
    return step


def _dark(maps: Floats, x: NDArray[np.intp], y: NDArray[np.intp], blur_px: int, udp: bool) -> Floats:
    """The Taylor step of DARK, or of its UDP form, where the log map is strictly concave.

    Only the 5×5 blurred values around each peak matter, so only these are computed: two small matrix products for all
    peaks instead of blurring whole maps one by one. (Blurring also lowers the peak; scaling it back, as the paper
    does, adds a constant to the log, and no derivative sees it.)
    """
    n, h, w = maps.shape
    reach = blur_px // 2 + 2
    padded = np.zeros((n, h + 2 * reach, w + 2 * reach), np.float32)
    padded[:, reach:-reach, reach:-reach] = maps
    width, span = padded.shape[2], np.arange(2 * reach + 1)
    corner = np.arange(n) * padded[0].size + y * width + x
    patch = padded.reshape(-1)[corner[:, None, None] + span[:, None] * width + span]
    blur = blur_rows(blur_px)
    log = np.log(np.maximum(blur @ patch @ blur.T, 1e-10))  # (n, 5, 5), the peak in the middle
    # One product for all derivatives: the model's run leaves the caches cold, so each NumPy call costs about 10 µs.
    dx, dy, dxx, dyy, dxy = (log.reshape(n, 25) @ stencils(udp)).T
    det = dxx * dyy - dxy * dxy
    good = (dxx < 0) & (det > 1e-12)
    if not udp:
        good &= (x > 1) & (x < w - 2) & (y > 1) & (y < h - 2)
    det[~good] = 1
    step: Floats = np.stack([dxy * dy - dyy * dx, dxy * dx - dxx * dy], axis=1) / det[:, None]
    if udp:
        # The blur falls steeply where the map ends, and a peak there would be drawn inwards by a whole cell.
        step *= np.stack([(x > 0) & (x < w - 1), (y > 0) & (y < h - 1)], axis=1)
    # A peak lies within the pixel that is its arg-max or next to it; a larger step is a broken map.
    good &= (np.abs(step) <= 2).all(axis=1)
    step[~good] = 0
    return step


@lru_cache
def stencils(udp: bool) -> Floats:
    """(25, 5): a 5×5 neighbourhood's derivatives by x, y, xx, yy, xy. UDP takes the second ones one pixel apart."""
    rows = np.zeros((5, 5, 5), np.float32)
    rows[0, 2, 1::2] = rows[1, 1::2, 2] = -0.5, 0.5
    if udp:
        rows[2, 2, 1:4] = rows[3, 1:4, 2] = 1, -2, 1
        rows[4, 1:4, 1:4] = np.array([[1, -1, 0], [-1, 2, -1], [0, -1, 1]]) / 2
    else:
        rows[2, 2, ::2] = rows[3, ::2, 2] = 0.25, -0.5, 0.25
        rows[4, 1::2, 1::2] = np.array([[1, -1], [-1, 1]]) / 4
    return np.ascontiguousarray(rows.reshape(5, 25).T)


@lru_cache
def blur_rows(kernel_px: int) -> Floats:
    """(5, 4 + kernel) rows of the Gaussian OpenCV blurs with, shifted: the blur at 5 neighbouring places."""
    kernel = cv2.getGaussianKernel(kernel_px, 0)[:, 0]
    rows = np.zeros((5, kernel_px + 4), np.float32)
    for i in range(5):
        rows[i, i : i + kernel_px] = kernel
    return rows
