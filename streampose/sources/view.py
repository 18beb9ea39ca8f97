"""A drawn person as the camera sees them: pixels, silhouettes, and what covers what."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from streampose.frame import Image
from streampose.sources.markers import covered_markers, draw_markers
from streampose.sources.paint import Brush, Floats
from streampose.sources.scene import Camera
from streampose.sources.volume import Band, Body, Flat, Limb

__all__ = ["View"]

_SOFT_M = 0.011  # the blur of the shading
_X, _Y = np.meshgrid(np.linspace(-1, 1, 64), np.linspace(-1, 1, 64))
_SHADOW = np.rint(255 * (1 - 0.55 * np.maximum(0, 1 - _X**2 - _Y**2) ** 1.5)).astype(np.uint8)


class View:
    """One person in one picture."""

    def __init__(self, body: Body, camera: Camera) -> None:
        self.body = body
        self._camera, self._size = camera, (camera.width_px, camera.height_px)
        points, scale = camera.project(body.points)
        ends = np.cumsum([0, *(len(part.points) for part in body.parts)]).tolist()
        self._spans = [slice(*span) for span in pairwise(ends)]
        self._points, self._scale = points, scale * body.scale
        self.joints, self._joint_scale = camera.project(body.joints)

    @cached_property
    def outlines(self) -> list[Floats]:
        """For each part, its silhouette: (m, 2) pixels."""
        return [
            part.outline(self._points[span], self._scale[span])
            for part, span in zip(self.body.parts, self._spans, strict=True)
        ]

    @property
    def box(self) -> Floats:
        """(4,) x1 y1 x2 y2 of what is drawn, cut at the picture's edges."""
        outline = np.concatenate(self.outlines)
        edge = np.array(self._size) - 1
        return np.asarray(np.clip([outline.min(axis=0), outline.max(axis=0)], 0, edge).reshape(4))

    @property
    def outside(self) -> NDArray[np.bool_]:
        """(17,) the key points that are not in the picture."""
        return np.asarray(((self.joints < -0.5) | (self.joints >= np.array(self._size) - 0.5)).any(axis=1))

    def paint(self, image: Image, *, markers: bool) -> None:
        """Draw the person on the floor of a picture, in place; only the part of it with the person is touched."""
        soft = _SOFT_M * float(self._scale.mean())
        self._cast_shadow(image)
        # The torso reaches 0.2 m beyond its points; the blur 3 sigma more.
        reach = 0.2 * float(self._scale.max()) + 3 * soft + 2
        x1, y1 = np.clip(np.floor(self._points.min(axis=0) - reach), 0, self._size).astype(int).tolist()
        x2, y2 = np.clip(np.ceil(self._points.max(axis=0) + reach), 0, self._size).astype(int).tolist()
        if x1 >= x2 or y1 >= y2:
            return
        brush = Brush(image[y1:y2, x1:x2], (x1, y1), soft)
        for part, span in zip(self.body.parts, self._spans, strict=True):
            part.paint(brush, self._points[span], self._scale[span])
        brush.finish()
        if markers:
            draw_markers(image, self.joints, self._joint_scale * self.body.scale)

    def covered(self, nearer: Sequence[View], *, markers: bool) -> NDArray[np.bool_]:
        """(17,) the key points that cannot be seen.

        Args:
            nearer: the people who may stand before this one.
            markers: the discs lie over the own body, so that only another disc of it hides one.
        """
        if markers:
            hidden = covered_markers(self.joints, self._joint_scale * self.body.scale)
            bodies = list(nearer)
        else:
            hidden = ~self.body.faces_camera
            bodies = [*nearer, self]
        surface = self.body.joints[:, 2] - self.body.flesh_m
        for view in bodies:
            for i, (part, span, outline) in enumerate(zip(view.body.parts, view._spans, view.outlines, strict=True)):
                if isinstance(part, Flat | Band):
                    continue  # on another part, and as large at most
                depth = view.body.points[span, 2]
                front = depth - view.body.scale * part.thickness if isinstance(part, Limb) else 0 * depth + depth.min()
                near = (self.joints > outline.min(axis=0)) & (self.joints < outline.max(axis=0))
                may = near.all(axis=1) & (surface > front.min()) & ~hidden
                if view is self and i in self.body.head:
                    may[:5] = False  # of its own head, a face point has the far side behind it only
                for j in np.flatnonzero(may).tolist():
                    if cv2.pointPolygonTest(outline.astype(np.float32), self.joints[j].tolist(), False) > 0:
                        along = np.linalg.norm(view._points[span] - self.joints[j], axis=1)
                        hidden[j] = front[along.argmin()] < surface[j]
        return hidden

    def _cast_shadow(self, image: Image) -> None:
        """Darken the floor under the body."""
        x, _, z = self.body.floor.tolist()
        (spot, far, near), scale = self._camera.project(np.array([[x, 0, z], [x, 0, z + 0.34], [x, 0, z - 0.26]]))
        half = 0.42 * float(scale[0])
        # The light comes from the left.
        x1, x2 = round(spot[0] - 0.85 * half), round(spot[0] + 1.15 * half)
        y1, y2 = round(far[1]), max(round(near[1]), round(far[1]) + 1)
        left, top, right, bottom = max(x1, 0), max(y1, 0), min(x2, self._size[0]), min(y2, self._size[1])
        if left >= right or top >= bottom:
            return
        patch = cv2.resize(_SHADOW, (x2 - x1, y2 - y1), interpolation=cv2.INTER_LINEAR)
        patch = patch[top - y1 : bottom - y1, left - x1 : right - x1]
        floor = image[top:bottom, left:right]
        cv2.multiply(floor, cv2.cvtColor(patch, cv2.COLOR_GRAY2BGR), dst=floor, scale=1 / 255)
