"""What a drawn body is made of: limbs, balls, and flat things on them, all in metres."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from streampose.sources.paint import Brush, Colour, Floats, ball, ribbon

__all__ = ["Ball", "Band", "Body", "Flat", "Limb", "Part"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limb:
    """A round thing along a line."""

    points: Floats
    """(n, 3) along its middle."""
    radii: Floats
    """(n,) as seen from the camera."""
    colour: Colour
    caps: tuple[float, float] = (1.0, 1.0)
    """See `paint.ribbon`."""
    depths: Floats | None = None
    """(n,) half the thickness towards the camera, where that is not the radius."""

    @property
    def thickness(self) -> Floats:
        """(n,) from the middle to the surface before it."""
        return self.radii if self.depths is None else self.depths

    def outline(self, xy: Floats, scale: Floats) -> Floats:
        """Its silhouette from its points' pixels (n, 2) and pixels a metre (n,) there."""
        return ribbon(xy, self.radii * scale, self.caps)

    def paint(self, brush: Brush, xy: Floats, scale: Floats) -> None:
        """Draw it."""
        brush.ribbon(xy, self.radii * scale, self.caps, self.colour)


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """A stripe round a limb, lit as the limb is."""

    points: Floats
    radii: Floats
    colour: Colour

    def outline(self, xy: Floats, scale: Floats) -> Floats:
        """See `Limb.outline`."""
        return ribbon(xy, self.radii * scale, (0.0, 0.0))

    def paint(self, brush: Brush, xy: Floats, scale: Floats) -> None:
        """Draw it."""
        brush.flat(self.outline(xy, scale), self.colour)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ball:
    """A rounded thing: the convex hull of its points."""

    points: Floats
    colour: Colour

    def outline(self, xy: Floats, scale: Floats) -> Floats:
        """See `Limb.outline`."""
        return ball(xy)

    def paint(self, brush: Brush, xy: Floats, scale: Floats) -> None:
        """Draw it."""
        brush.ball(xy, self.colour)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flat:
    """A polygon on the surface of something."""

    points: Floats
    colour: Colour

    def outline(self, xy: Floats, scale: Floats) -> Floats:
        """See `Limb.outline`."""
        return xy

    def paint(self, brush: Brush, xy: Floats, scale: Floats) -> None:
        """Draw it."""
        brush.flat(xy, self.colour)


Part: TypeAlias = Limb | Band | Ball | Flat


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A person at a moment, in the world."""

    parts: tuple[Part, ...]
    """In the order they are drawn: the farthest first."""
    points: Floats
    """(m, 3) world metres: the points of all parts, one after another."""
    scale: float
    """World metres per metre of the parts' radii."""
    joints: Floats
    """(17, 3) COCO's key points, world metres."""
    flesh_m: Floats
    """(17,) world metres between each joint and the surface before it."""
    faces_camera: NDArray[np.bool_]
    """(17,) false for face points on the far side of the head."""
    head: range
    """Which parts are the head."""
    floor: Floats
    """(3,) the place under the body, world metres."""
