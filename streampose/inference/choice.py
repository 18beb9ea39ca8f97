"""Which models, and how they are read."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from streampose.errors import ConfigError
from streampose.inference.boxes import Limits
from streampose.number import is_whole
from streampose.pose import Skeleton

__all__ = ["ModelChoice"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """Which models, and how they are read. Each is a path of an ONNX file or a name from the zoo.

    Nothing at all is `streampose-nano`, the pair that is part of the package; it also stands in for the missing half of
    a detector or key-point model that is named alone.

    Raises:
        ConfigError: a value is not of its kind.
    """

    model: str | Path | None = None
    """One that does all: one-stage, or a key-point model for one person who fills the picture."""
    detector: str | Path | None = None
    """Finds the people …"""
    pose: str | Path | None = None
    """… for this one to find their key points."""
    family: str | None = None
    """Overrides what `model` or `pose` says of itself."""
    detector_family: str | None = None
    """Overrides what `detector` says of itself."""
    skeleton: Skeleton | None = None
    """Overrides the key-point model's skeleton."""
    detector_size_px: tuple[int, int] | None = None
    """Width and height for a detector whose graph leaves them open."""
    limits: Limits = field(default_factory=Limits)
    """What counts as a person."""

    def __post_init__(self) -> None:
        for name in ("model", "detector", "pose"):
            if not isinstance(value := getattr(self, name), str | Path | None) or value == "":
                raise ConfigError(f"a {name} is a path or a name, not {value!r}")
        for name in ("family", "detector_family"):
            if not isinstance(value := getattr(self, name), str | None) or value == "":
                raise ConfigError(f"a {name} is a name, not {value!r}")
        if not isinstance(self.limits, Limits):
            raise ConfigError(f"limits are Limits, as streampose.Limits(min_score=0.5), not {self.limits!r}")
        if self.skeleton is not None and not isinstance(self.skeleton, Skeleton):
            raise ConfigError(f"a skeleton is a Skeleton, as streampose.COCO_17 is one, not {self.skeleton!r}")
        size = self.detector_size_px
        if size is not None and not (
            isinstance(size, tuple) and len(size) == 2 and all(is_whole(side) and side >= 1 for side in size)
        ):
            raise ConfigError(f"detector_size_px is (width, height), as (320, 320), not {size!r}")
        if size is not None:  # of NumPy's, ONNX makes no graph
            object.__setattr__(self, "detector_size_px", (int(size[0]), int(size[1])))
