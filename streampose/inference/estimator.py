"""What every estimator is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from streampose.frame import Image
from streampose.pose import Poses, Skeleton

__all__ = ["Estimator"]


class Estimator(Protocol):
    """Pictures in, people out. Blocking: each instance lives on a thread of its own, one call at a time.

    One may also have ``ahead(images)``: it is called on another thread, while the batch before computes, and what it
    gives is the second argument of the call with these images. Ours on a GPU send the pictures there so. One that is
    ``single_threaded`` computes on the thread that calls it alone: where each core has one of these, the pictures of
    live streams are made on it, too.
    """

    @property
    def skeleton(self) -> Skeleton:
        """Of the people it finds."""

    def __call__(self, images: Sequence[Image]) -> list[Poses]:
        """The people of each image, in the images' order.

        Args:
            images: one or more (H, W, 3) uint8 BGR pictures, of any sizes, of any streams.

        Raises:
            ConfigError: a picture is none.
            ModelOutputError: the model returned NaN or infinities. A pipeline raises it for one that gives them, too.
            EngineFailed: the runtime failed.
        """

    def close(self) -> None:
        """Let go of sessions and device memory. May be called twice."""
