"""What one model wants and gives: all that its graph alone does not say."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from streampose.pose import Skeleton

__all__ = ["Card", "Fit", "Kind", "Refine"]

# ImageNet statistics of RGB pixels in 0 … 255.
IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)


class Kind(Enum):
    """What a model is for."""

    DETECTOR = "detector"
    """Picture → boxes of people."""
    KEYPOINTS = "key-point model"
    """Crop of one person → key points."""
    ONE_STAGE = "one-stage pose model"
    """Picture → boxes and key points of people."""


class Fit(Enum):
    """How a picture of any shape is brought to the model's size."""

    TOP_LEFT = "top-left"
    """Scaled to fit, at the top-left; the rest is filled."""
    CENTER = "center"
    """Scaled to fit, in the middle; the rest is filled."""
    STRETCH = "stretch"
    """Scaled in each direction on its own."""


class Refine(Enum):
    """How a heatmap's arg-max becomes finer than a pixel."""

    NONE = "none"
    QUARTER = "quarter"
    """A quarter of a pixel towards the higher neighbour (Newell et al., ECCV 2016)."""
    DARK = "dark"
    """A Taylor step on the log of the blurred map (Zhang et al., CVPR 2020)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One model's facts."""

    family: str
    kind: Kind
    size_px: tuple[int, int]
    """Width and height of the input."""
    rgb: bool = True
    """Channel order; the frames are BGR."""
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Of pixels in 0 … 255, in the input's channel order."""
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    channels_last: bool = False
    fit: Fit = Fit.TOP_LEFT
    """For models that take whole pictures."""
    fill: int = 114
    """Grey value around the picture."""
    rect: bool = False
    """Whether it does as well without what is only filled, where its graph allows that."""
    person: int = 0
    """The class of people, for models of several."""
    classes: int | None = None
    """How many a one-stage head gives scores of, where that is known."""
    points: int | None = None
    """How many key points the graph gives, where it says."""
    skeleton: Skeleton | None = None
    padding: float = 1.25
    """A person's box is grown by this, for models that take crops."""
    udp: bool = False
    """Crops and heatmaps measure from pixel centre to pixel centre (Huang et al., CVPR 2020)."""
    refine: Refine = Refine.DARK
    blur_px: int = 11
    """Kernel of the blur before `Refine.DARK`, in heatmap pixels."""

    @property
    def item_shape(self) -> tuple[int, int, int]:
        """Of the input, without the batch."""
        width, height = self.size_px
        return (height, width, 3) if self.channels_last else (3, height, width)
