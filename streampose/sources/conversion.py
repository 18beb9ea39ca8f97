"""Decoded pictures to BGR, as late as possible."""

from __future__ import annotations

from functools import partial

import numpy as np
from av.video.frame import VideoFrame

from streampose.frame import Image, Latent

__all__ = ["Conversion"]


class Conversion:
    """Makes latent pictures of decoded ones, but the first of a kind at once: that shows that they can be converted.

    Raises:
        Exception: what PyAV raises for a format that cannot.
    """

    def __init__(self) -> None:
        self._kind: tuple[object, ...] | None = None

    def __call__(self, picture: VideoFrame) -> Image | Latent:
        """As it is to be seen, turned as its metadata says."""
        turns = (picture.rotation // 90) % 4
        width, height = (picture.width, picture.height) if turns % 2 == 0 else (picture.height, picture.width)
        latent = Latent(partial(_bgr, picture, turns), (width, height))
        colours = (picture.colorspace, picture.color_range, picture.color_primaries, picture.color_trc)
        before, self._kind = self._kind, (picture.format.name, width, height, turns, picture.interlaced_frame, colours)
        return latent if before == self._kind else latent()


def _bgr(picture: VideoFrame, turns: int) -> Image:
    image = picture.to_ndarray(format="bgr24").astype(np.uint8, copy=False)
    if turns:
        image = np.ascontiguousarray(np.rot90(image, turns))
    image.setflags(write=False)
    return image
