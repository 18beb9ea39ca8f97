"""The head of a drawn person: skull, jaw, hair and face.

Metres in the head's own axes: x to the person's left, y up, z to the front. The head is 24 cm high.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from streampose.sources.paint import Colour, Floats, mix
from streampose.sources.volume import Ball, Flat, Limb, Part

__all__ = ["Head"]

_SKULL = np.array([0.0, 0.025, -0.008])
_AXES = np.array([0.076, 0.098, 0.096])


def _globe(azimuths: int, elevations: int) -> Floats:
    """Unit vectors all round."""
    azimuth, elevation = np.meshgrid(
        np.linspace(-np.pi, np.pi, azimuths, endpoint=False), np.linspace(-np.pi / 2, np.pi / 2, elevations)
    )
    flat = np.cos(elevation)
    return np.stack([np.sin(azimuth) * flat, np.sin(elevation), np.cos(azimuth) * flat], axis=-1).reshape(-1, 3)


def _bump(x: float, y: float, z: float, radius: float) -> Floats:
    return np.asarray(np.array([x, y, z]) + radius * _globe(8, 5))


def _surface(x: float, y: float, out: float = 0.0) -> Floats:
    """The point of the face at (x, y), `out` metres before the skin."""
    # Below the middle of the skull the face goes down to the chin, steeper than the skull.
    half_height = _AXES[1] if y > _SKULL[1] else 0.17
    flat = 1 - (x / _AXES[0]) ** 2 - ((y - _SKULL[1]) / half_height) ** 2
    return np.array([x, y, _SKULL[2] + _AXES[2] * np.sqrt(max(0.0, flat)) + out])


def _ellipse(x: float, y: float, width: float, height: float, *, bend: float = 0.0, out: float = 0.001) -> Floats:
    """An ellipse on the face; `bend` lifts its ends."""
    angle = np.linspace(0, 2 * np.pi, 14, endpoint=False)
    dx, dy = width * np.cos(angle), height * np.sin(angle)
    dy += bend * (dx / width) ** 2
    return np.array([_surface(x + u, y + v, out) for u, v in zip(dx, dy, strict=True)])


_JAW = np.concatenate([_bump(0, -0.093, 0.060, 0.022), *(_bump(s * 0.040, -0.062, 0.030, 0.026) for s in (1, -1))])
_ROUND = _globe(20, 11)
_AZIMUTH = np.degrees(np.abs(np.arctan2(_ROUND[:, 0], _ROUND[:, 2])))
_ELEVATION = np.degrees(np.arcsin(_ROUND[:, 1]))
_IS_FACE = (_AZIMUTH < 72) & (_ELEVATION < 38)
_IS_HAIR = (_ELEVATION > 25) | ((_AZIMUTH > 80) & (_ELEVATION > -38))
_SHORT_HAIR = (_SKULL + [0, 0.004, -0.004] + _AXES * 1.10 * _ROUND)[_IS_HAIR]
_TRESSES = np.concatenate(
    [
        _bump(s * x, y, z, 0.045)
        for x, y, z in ((0.05, 0, -0.03), (0.055, -0.09, -0.055), (0.05, -0.16, -0.06))
        for s in (1, -1)
    ]
)
_EAR = np.concatenate([_bump(0.078, 0.008, -0.012, 0.016), _bump(0.076, -0.020, -0.004, 0.010)])
_NOSE = np.array([[0, 0.016, 0.088], [0, -0.006, 0.098], [0, -0.022, 0.104]])


def _rotation(turn: float) -> Floats:
    """Rows: the head's axes in the body's."""
    c, s = np.cos(turn), np.sin(turn)
    return np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])


class Head:
    """One person's head.

    Args:
        skin: colour.
        hair: colour, or `None` for none.
        long_hair: to the shoulders.
    """

    POINTS = np.array([
        [0, -0.022, 0.116], _surface(0.033, 0.012), _surface(-0.033, 0.012), [0.079, 0.0, -0.005], [-0.079, 0.0, -0.005]
    ])  # fmt: skip
    """(5, 3) nose, left eye, right eye, left ear, right ear."""
    NORMALS = np.array([[0, 0, 1], [0.35, 0, 0.94], [-0.35, 0, 0.94], [0.98, 0, 0.17], [-0.98, 0, 0.17]])
    """(5, 3) which way each of them looks."""

    def __init__(self, *, skin: Colour, hair: Colour | None, long_hair: bool) -> None:
        self._skin, self._hair = skin, hair
        skull = _SKULL + _AXES * _ROUND
        self._bare = np.concatenate([skull, _JAW])
        self._long = hair is not None and long_hair
        self._face = np.concatenate([skull[_IS_FACE], _JAW])
        self._face_normals = np.concatenate([_ROUND[_IS_FACE], np.tile(_globe(8, 5), (3, 1))])
        self._features = self._make_features()

    def _make_features(self) -> list[tuple[Floats, Colour]]:
        """Flat things on the face: their points and their colour."""
        skin, lip = self._skin, mix(self._skin, (80, 64, 165), 0.6)
        brow = mix(self._hair or (90, 100, 110), skin, 0.2)
        features: list[tuple[Floats, Colour]] = []
        for side in (1, -1):
            x = side * 0.033
            features += [
                (_ellipse(x, 0.012, 0.0180, 0.0110), mix(skin, (30, 30, 60), 0.35)),
                (_ellipse(x, 0.011, 0.0158, 0.0085), (236, 238, 240)),
                (_ellipse(x, 0.0115, 0.0084, 0.0080), (50, 70, 95)),
                (_ellipse(x, 0.0115, 0.0044, 0.0044), (20, 20, 20)),
                (_ellipse(x, 0.0195, 0.0180, 0.0022, bend=-0.006), mix(skin, (25, 25, 45), 0.75)),
                (_ellipse(x - 0.0025, 0.014, 0.0018, 0.0018), (250, 250, 250)),
                (_ellipse(x * 1.03, 0.033, 0.0195, 0.0042, bend=-0.004), brow),
            ]
        features += [
            (_ellipse(0, -0.037, 0.016, 0.0045, out=0.012), mix(skin, (40, 40, 80), 0.4)),
            (_ellipse(0, -0.0655, 0.027, 0.0085, bend=0.007, out=0.006), lip),
            (_ellipse(0, -0.0645, 0.027, 0.0018, bend=0.009, out=0.007), mix(lip, (20, 20, 40), 0.55)),
        ]
        return features

    def parts(self, turn: float, at: Floats, view: Floats) -> list[Part]:
        """The head in the order it is drawn.

        Args:
            turn: radians by which it is turned to the person's left, against the body.
            at: (3,) its place in the body's axes.
            view: (3,) unit vector towards the camera in the body's axes.
        """
        rotation = _rotation(turn)
        towards = rotation @ view

        def place(points: Floats) -> Floats:
            return np.asarray(points @ rotation + at)

        parts: list[Part] = [Ball(points=place(self._bare), colour=self._skin)]
        if self._hair is not None:
            parts.append(Ball(points=place(_SHORT_HAIR), colour=self._hair))
        ears = {side: Ball(points=place(_EAR * [side, 1, 1]), colour=self._skin) for side in (1, -1)}
        parts += [ear for side, ear in ears.items() if side * towards[0] > -0.4]
        seen = self._face_normals @ towards > 0
        # Fewer points than this are a sliver at the edge of the hair.
        if np.count_nonzero(seen) > 12 and towards[2] > -0.5:
            parts.append(Ball(points=place(self._face[seen]), colour=self._skin))
        # In profile the ear lies on the cheek.
        parts += [ear for side, ear in ears.items() if side * towards[0] > 0.35]
        for points, colour in self._features:
            seen = (points - _SKULL) / _AXES**2 @ towards > 0
            if np.count_nonzero(seen) > 2:
                parts.append(Flat(points=place(points[seen]), colour=colour))
        if towards[2] > -0.05:
            radii = np.array([0.007, 0.0095, 0.014])
            parts.append(
                Limb(points=place(_NOSE), radii=radii, caps=(1, 0.9), colour=mix(self._skin, (255, 255, 255), 0.06))
            )
        return parts

    def tresses(self, turn: float, at: Floats) -> list[Part]:
        """What hangs down behind, for people with long hair; the arguments are those of `parts`."""
        if not self._long or self._hair is None:
            return []
        return [Ball(points=_TRESSES @ _rotation(turn) + at, colour=self._hair)]

    def joints(self, turn: float, at: Floats, view: Floats) -> tuple[Floats, NDArray[np.bool_]]:
        """(5, 3) `POINTS` in the body's axes, and whether each is on the side that is seen."""
        rotation = _rotation(turn)
        return np.asarray(self.POINTS @ rotation + at), self.NORMALS @ rotation @ view > 0.05
