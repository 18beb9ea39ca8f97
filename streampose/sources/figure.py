"""A person of our own making: bones in three dimensions, and body and clothes around them.

The body's own axes have their origin between the hips: x to the person's left, y up, z to the front; metres of a
person 1.75 m tall, others are scaled. In the world x is to the right of the picture, y up from the floor and z away
from the camera.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from streampose.sources.head import Head
from streampose.sources.paint import Colour, Floats, mix
from streampose.sources.volume import Band, Body, Flat, Limb, Part

__all__ = ["Figure", "Look", "Stance"]

Vector: TypeAlias = Sequence[float] | Floats
_Add: TypeAlias = Callable[[float, Sequence[Part]], None]

_STATURE_M = 1.75
_THIGH, _SHIN, _UPPER_ARM, _FOREARM, _HAND = 0.42, 0.41, 0.295, 0.255, 0.165
STEP_M = 0.68
"""What one step covers at full stride: 2 × 0.83 m of leg × sin 24°."""

# Height over the hips, half width, half depth.
_SHIRT = np.array([
    (-0.07, 0.170, 0.118), (0.02, 0.165, 0.116), (0.10, 0.156, 0.108), (0.18, 0.152, 0.104), (0.28, 0.160, 0.112),
    (0.38, 0.170, 0.120), (0.45, 0.172, 0.110), (0.495, 0.160, 0.092), (0.525, 0.128, 0.075), (0.550, 0.082, 0.062),
])  # fmt: skip
_SEAT = np.array([(-0.15, 0.120, 0.100), (-0.06, 0.160, 0.118), (0.06, 0.155, 0.110)])
_RING = np.stack([np.cos(np.linspace(0, 2 * np.pi, 16)), np.sin(np.linspace(0, 2 * np.pi, 16))])

# How much flesh lies before each joint; a part that is nearer than that hides it.
_FLESH_M = np.array([0.02] * 5 + [0.14] * 2 + [0.10] * 4 + [0.16] * 2 + [0.12] * 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What tells people apart."""

    stature_m: float = 1.75
    girth: float = 1.0
    skin: Colour = (150, 178, 224)
    hair: Colour | None = (38, 52, 74)
    long_hair: bool = False
    shirt: Colour = (150, 110, 60)
    stripes: Colour | None = (225, 225, 225)
    long_sleeves: bool = False
    trousers: Colour = (95, 72, 58)
    shoes: Colour = (60, 60, 66)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stance:
    """What a person does at a moment."""

    x_m: float
    z_m: float
    yaw: float = 0.0
    """Radians; 0 faces the camera, π/2 the right of the picture."""
    phase: float = 0.0
    """Of the walk, radians; π a step."""
    stride: float = 0.0
    """0 stands, 1 walks."""
    wave: tuple[float, float] = (0.0, 0.0)
    """How far the left and the right hand are raised to wave, 0 … 1."""
    time_s: float = 0.0


def _unit(vector: Floats) -> Floats:
    return np.asarray(vector / np.sqrt(vector @ vector))


def _along(a: Floats, b: Floats, shares: Sequence[float]) -> Floats:
    return np.asarray(a + (b - a) * np.array(shares)[:, None])


def _limb(points: Floats, radii: Sequence[float] | Floats, colour: Colour, caps: tuple[float, float] = (1, 1)) -> Limb:
    return Limb(points=points, radii=np.asarray(radii), colour=colour, caps=caps)


def _leg(side: int, stance: Stance) -> dict[str, Floats]:
    stride, phase = stance.stride, stance.phase + (0 if side > 0 else np.pi)
    # The thigh swings by 24° each way; the knee bends most, by 45°, as the leg comes forward; the heel rises last.
    flex = 0.02 + stride * (0.42 * np.sin(phase) + 0.04)
    shin = flex - 0.04 - stride * (0.08 + 0.75 * max(0.0, np.cos(phase + 0.4)) ** 2)
    pitch = stride * (0.30 * max(0.0, np.sin(phase - 0.1)) ** 2 - 0.75 * max(0.0, -np.sin(phase - 0.25)) ** 2)
    out = side * 0.045 * (1 - 0.7 * stride)
    hip = np.array([side * 0.088, 0.01, 0.0])
    knee = hip + _THIGH * np.array([out, -np.cos(flex), np.sin(flex)])
    ankle = knee + _SHIN * np.array([out * 0.5, -np.cos(shin), np.sin(shin)])
    ahead = np.array([side * 0.14, np.sin(pitch), np.cos(pitch)])
    up = np.array([0.0, np.cos(pitch), -np.sin(pitch)])
    return {
        "hip": hip,
        "knee": knee,
        "ankle": ankle,
        "heel": ankle - 0.042 * ahead - 0.042 * up,
        "ball": ankle + 0.090 * ahead - 0.046 * up,
        "toe": ankle + 0.140 * ahead - 0.050 * up,
    }


def _raised(rest: Vector, goal: Vector, share: float) -> Floats:
    """A direction on the way from one to the other, forward of the straight line so that it never vanishes."""
    here, there = np.asarray(rest), np.asarray(goal)
    return _unit(here + (there - here) * share + [0, 0, 2.2 * share * (1 - share)])


def _arm(side: int, stance: Stance, shoulder: Floats) -> dict[str, Floats]:
    stride, wave = stance.stride, stance.wave[0 if side > 0 else 1]
    swing = -np.sin(stance.phase + (0 if side > 0 else np.pi))  # against the leg of its side
    flex = 0.03 + 0.42 * stride * swing
    bend = flex + 0.20 + stride * (0.22 + 0.15 * swing)
    beat = np.sin(2 * np.pi * 1.3 * stance.time_s)
    upper = _raised((side * 0.16, -np.cos(flex), np.sin(flex)), (side * 0.9, -0.30 + 0.08 * beat, 0.30), wave)
    fore = _raised((side * 0.03, -np.cos(bend), np.sin(bend)), (side * (0.18 + 0.36 * beat), 0.93, 0.22), wave)
    elbow = shoulder + _UPPER_ARM * upper
    wrist = elbow + _FOREARM * fore
    # The thumb points inwards, or up along the hand that waves.
    inwards = np.array([-side * 0.05, 0.0, 0.03 * (1 - wave)])
    return {
        "shoulder": shoulder,
        "elbow": elbow,
        "wrist": wrist,
        "fingers": wrist + _HAND * fore,
        "thumb": wrist + 0.085 * fore + inwards,
    }


class Figure:
    """One person, who can be built in any stance."""

    def __init__(self, look: Look) -> None:
        self.look = look
        self.scale = look.stature_m / _STATURE_M
        self._head = Head(skin=look.skin, hair=look.hair, long_hair=look.long_hair)

    def build(self, stance: Stance) -> Body:
        """The person in a stance, with the feet on the floor, for a camera at x = z = 0."""
        stride = stance.stride
        c, s = np.cos(stance.yaw), np.sin(stance.yaw)
        to_world = np.array([[c, 0, s], [0, 1, 0], [s, 0, -c]])  # its own inverse
        view = to_world @ _unit(np.array([-stance.x_m, 0.0, -stance.z_m]))
        twist = -0.16 * stride * np.sin(stance.phase)
        lean = np.array([0.012 * np.sin(1.7 * stance.time_s) * (1 - stride), 0.0, 0.02 + 0.05 * stride])

        groups: list[tuple[float, Sequence[Part]]] = []

        def add(nearer_m: float, parts: Sequence[Part], at: Floats | None = None) -> None:
            """A group that is drawn together, as if it were `nearer_m` nearer than it is."""
            middle = at if at is not None else np.concatenate([part.points for part in parts]).mean(axis=0)
            groups.append((float(middle @ view) + nearer_m, parts))

        legs = {side: _leg(side, stance) for side in (1, -1)}
        for leg in legs.values():
            self._add_leg(leg, add)
        add(0.16, self._torso(view, twist, lean), np.zeros(3))
        head_at, turn = np.array([0, 0.708, 0.02]) + lean, -0.35 * s * (1 + c) / 2  # looks a little to the camera
        head_parts = self._head.parts(turn, head_at, view)
        add(0.20, head_parts, head_at)
        if tresses := self._head.tresses(turn, head_at):
            add(0.12, tresses, np.array([0, 0, -0.15]))  # before the back, behind all else
        arms = {}
        for side in (1, -1):
            # The shoulders turn against the hips.
            shoulder = np.array([side * 0.166 * np.cos(twist), 0.478, -side * 0.166 * np.sin(twist)]) + lean
            arms[side] = _arm(side, stance, shoulder)
            self._add_arm(arms[side], add)

        groups.sort(key=lambda group: group[0])
        parts = tuple(part for _, group in groups for part in group)
        first = next(i for i, part in enumerate(parts) if part is head_parts[0])
        limbs = [
            owner[side][name]
            for owner, names in ((arms, ("shoulder", "elbow", "wrist")), (legs, ("hip", "knee", "ankle")))
            for name in names
            for side in (1, -1)
        ]
        face, seen = self._head.joints(turn, head_at, view)
        local = np.concatenate([*(part.points for part in parts), face, np.array(limbs)])
        # The lower foot stands on the floor.
        sole = min(
            float(leg[name][1]) - r
            for leg in legs.values()
            for name, r in (("heel", 0.050), ("ball", 0.046), ("toe", 0.038))
        )
        world = np.array([stance.x_m, -sole * self.scale, stance.z_m]) + self.scale * (local @ to_world)
        return Body(
            parts=parts,
            points=world[:-17],
            scale=self.scale,
            joints=world[-17:],
            flesh_m=_FLESH_M * self.scale,
            faces_camera=np.concatenate([seen, np.ones(12, bool)]),
            head=range(first, first + len(head_parts)),
            floor=np.array([stance.x_m, 0.0, stance.z_m]),
        )

    def _add_leg(self, leg: dict[str, Floats], add: _Add) -> None:
        look, girth = self.look, self.look.girth
        foot = np.stack([leg["heel"], leg["ball"], leg["toe"]])
        calf = _along(leg["knee"], leg["ankle"], (0, 0.3, 0.6, 0.96))
        calf[1:3, 2] -= 0.012
        add(0.0, [
            _limb(foot - [0, 0.012, 0], (0.037, 0.034, 0.026), (205, 210, 212)),
            _limb(foot, (0.038, 0.035, 0.027), look.shoes),
            _limb(_along(leg["ankle"], leg["heel"], (-0.1, 0.5)), (0.042, 0.040), look.shoes),
        ])  # fmt: skip
        add(0.01, [_limb(calf, np.array((0.064, 0.067, 0.058, 0.055)) * girth, look.trousers, (1, 0.12))])
        thigh = _along(leg["hip"], leg["knee"], (0, 0.3, 0.65, 1))
        add(0.02, [_limb(thigh, np.array((0.076, 0.088, 0.077, 0.064)) * girth, look.trousers, (0.4, 1))])

    def _torso(self, view: Floats, twist: float, lean: Floats) -> list[Part]:
        look = self.look
        bearing = float(np.arctan2(view[0], view[2]))

        def slices(rows: Floats) -> dict[str, Floats]:
            height = rows[:, 0]
            turn = bearing - twist * height / 0.5
            return {
                "points": np.outer(height / 0.5, lean) + np.outer(height, (0, 1, 0)),
                "radii": np.hypot(rows[:, 1] * np.cos(turn), rows[:, 2] * np.sin(turn)) * look.girth,
                "depths": np.hypot(rows[:, 1] * np.sin(turn), rows[:, 2] * np.cos(turn)) * look.girth,
            }

        def cut(low: float, high: float) -> Floats:
            height = np.array([low, high])
            return np.stack([height, *(np.interp(height, _SHIRT[:, 0], _SHIRT[:, i]) for i in (1, 2))], axis=1)

        parts: list[Part] = [
            Limb(**slices(_SEAT), colour=look.trousers, caps=(0.7, 0.0)),
            Limb(**slices(_SHIRT), colour=look.shirt, caps=(0.08, 0.3)),
        ]
        if look.stripes is not None:
            for low in (0.30, 0.355):
                band = slices(cut(low, low + 0.035))
                parts.append(Band(points=band["points"], radii=band["radii"], colour=look.stripes))
        base = np.array([0, 0.53, 0]) + lean
        neck = _limb(
            np.stack([base, base + np.array([0, 0.12, 0])]),
            (0.056, 0.051),
            mix(look.skin, (60, 80, 120), 0.12),
            (0.6, 0),
        )
        if view[2] < 0.2:
            return [neck, *parts]  # from behind the collar covers the neck
        collar = (
            base
            + np.array([[0.080], [0], [0.066]]).T * _RING[[0, 0, 1]].T
            + np.outer(-0.034 * _RING[1], (0, 1, 0))
            + [0, 0.018, 0]
        )
        inside = base + [0, 0.018, 0] + (collar - base - [0, 0.018, 0]) * 0.88
        return [
            *parts,
            Flat(points=collar, colour=mix(look.shirt, (30, 30, 30), 0.25)),
            Flat(points=inside, colour=neck.colour),
            neck,
        ]

    def _add_arm(self, arm: dict[str, Floats], add: _Add) -> None:
        look, girth = self.look, self.look.girth
        upper = _along(arm["shoulder"], arm["elbow"], (0, 0.4, 0.75, 1))
        fore = _along(arm["elbow"], arm["wrist"], (0, 0.25, 0.65, 1))
        if look.long_sleeves:
            upper_parts = [_limb(upper, np.array((0.059, 0.056, 0.051, 0.047)) * girth, look.shirt)]
            fore_part = _limb(fore, np.array((0.047, 0.048, 0.042, 0.036)) * girth, look.shirt, (1, 0.2))
        else:
            sleeve = _along(arm["shoulder"], arm["elbow"], (0, 0.35, 0.70))
            upper_parts = [
                _limb(upper, np.array((0.050, 0.047, 0.043, 0.039)) * girth, look.skin),
                _limb(sleeve, np.array((0.056, 0.058, 0.060)) * girth, look.shirt, (1, 0.15)),
            ]
            fore_part = _limb(fore, np.array((0.039, 0.042, 0.035, 0.026)) * girth, look.skin)
        thumb = np.stack([arm["wrist"] * 0.75 + arm["fingers"] * 0.25, arm["thumb"]])
        hand = _along(arm["wrist"], arm["fingers"], (-0.05, 0.35, 0.75, 1))
        add(0.21, upper_parts)
        add(
            0.23,
            [_limb(thumb, (0.016, 0.012), look.skin), _limb(hand, (0.026, 0.041, 0.036, 0.018), look.skin), fore_part],
        )
