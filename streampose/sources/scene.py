"""Who is before the camera, and what each of them does all the time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streampose.sources.figure import STEP_M, Figure, Look, Stance
from streampose.sources.paint import Colour, Floats, mix

__all__ = ["EYE_M", "Actor", "Camera", "cast"]

EYE_M = 1.35
"""The camera's height over the floor."""
_TABLE_RATE = 60  # samples a second of what an actor does
_WALK_M_S = 1.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """Looks straight ahead from 1.35 m over the floor."""

    width_px: int
    height_px: int

    @property
    def focal_px(self) -> float:
        """Such that a picture is 0.71 times as high as the distance of what it shows."""
        return 1.4 * self.height_px

    @property
    def near_m(self) -> float:
        """Where a person of 1.75 m takes 0.74 of the picture's height, or, in an upright picture, has 2.2 m of room."""
        return max(1.75 * 1.4 / 0.74, 2.2 * self.focal_px / self.width_px)

    def project(self, points: Floats) -> tuple[Floats, Floats]:
        """(m, 3) world metres → (m, 2) pixels and (m,) pixels a metre."""
        scale = self.focal_px / points[:, 2]
        x = (self.width_px - 1) / 2 + points[:, 0] * scale
        y = 0.36 * self.height_px + (EYE_M - points[:, 1]) * scale
        return np.stack([x, y], axis=1), scale


@dataclass(frozen=True, slots=True)
class _Act:
    seconds: float
    x_m: float
    z_m: float
    yaw: float
    walks: bool = False
    wave: tuple[float, float] = (0.0, 0.0)


class Actor:
    """One person and their round: walk, turn, wave, walk back, again and again.

    Args:
        look: what the person looks like.
        x_m: the middle of the round.
        z_m: its distance.
        reach_m: how far it goes to each side.
        rng: for what differs between people.
        start_s: where in the round time 0 is; `None` = anywhere.
    """

    def __init__(
        self,
        look: Look,
        *,
        x_m: float,
        z_m: float,
        reach_m: float,
        rng: np.random.Generator,
        start_s: float | None = None,
    ) -> None:
        self.figure = Figure(look)
        acts = self._acts(x_m, z_m, reach_m, rng)
        self._start_s = float(rng.uniform(0, sum(act.seconds for act in acts))) if start_s is None else start_s
        self._table = self._make_table(acts)
        moved = np.hypot(*np.diff(np.vstack([self._table[:, :2], self._table[:1, :2]]), axis=0).T)
        self._phase = np.concatenate([[0], np.cumsum(moved) * np.pi / (STEP_M * self.figure.scale)])
        self._stride = np.clip(moved * _TABLE_RATE / (0.85 * _WALK_M_S), 0, 1)

    @staticmethod
    def _acts(x: float, z: float, reach: float, rng: np.random.Generator) -> list[_Act]:
        left, right, near, far = x - reach, x + reach, z - 0.12 * reach, z + 0.2 * reach
        seconds = max(0.6, float(np.hypot(right - left, far - near)) / _WALK_M_S)
        to_right = float(np.arctan2(right - left, near - far))
        to_left = float(np.arctan2(left - right, far - near))
        first, second = rng.permutation([0, 1, 2])[:2]
        hands = ((1.0, 0.0), (0.0, 1.0), (1.0, 1.0))
        look = float(rng.uniform(-0.3, 0.3))
        # No yaw jumps by 2π: right, the camera, left, the camera, with the back to the camera, right.
        return [
            _Act(seconds, right, far, to_right, True),
            _Act(0.7, right, far, look),
            _Act(2.2, right, far, look, wave=hands[first]),
            _Act(0.6, right, far, look),
            _Act(seconds, left, near, to_left, True),
            _Act(0.7, left, near, -look),
            _Act(2.0, left, near, -look, wave=hands[second]),
            _Act(0.6, left, near, -look),
            _Act(1.2, left, near, np.pi),
        ]

    def _make_table(self, acts: list[_Act]) -> Floats:
        """(samples, 5): x, z, yaw, left and right wave, at 60 samples a second, smoothed by 0.2 s."""
        rows = []
        x, z = acts[-1].x_m, acts[-1].z_m
        for act in acts:
            n = round(act.seconds * _TABLE_RATE)
            share = np.linspace(0, 1, n, endpoint=False)[:, None] if act.walks else np.ones((n, 1))
            place = np.array([x, z]) + share * np.array([act.x_m - x, act.z_m - z])
            rows.append(np.hstack([place, np.tile([act.yaw, *act.wave], (n, 1))]))
            x, z = act.x_m, act.z_m
        table = np.vstack(rows)
        kernel = np.exp(-0.5 * (np.arange(-36, 37) / 12.0) ** 2)
        wrapped = np.vstack([table[-36:], table, table[:36]])
        return np.stack([np.convolve(column, kernel / kernel.sum(), "valid") for column in wrapped.T], axis=1)

    def stance(self, time_s: float) -> Stance:
        """What the person does at a moment."""
        rounds, at = divmod((time_s + self._start_s) * _TABLE_RATE, len(self._table))
        i, share = int(at), at - int(at)
        here, there = self._table[i], self._table[(i + 1) % len(self._table)]
        x, z, yaw, left, right = (here + (there - here) * share).tolist()
        phase = self._phase[i] + share * (self._phase[i + 1] - self._phase[i]) + rounds * self._phase[-1]
        return Stance(
            x_m=x, z_m=z, yaw=yaw, phase=float(phase), stride=float(self._stride[i]), wave=(left, right), time_s=time_s
        )


_SKINS: tuple[Colour, ...] = (
    (150, 178, 224), (120, 150, 200), (92, 122, 172), (64, 88, 130), (48, 64, 98), (165, 190, 232),
)  # fmt: skip
_HAIRS: tuple[Colour, ...] = ((38, 52, 74), (24, 28, 34), (60, 92, 128), (96, 140, 176), (150, 154, 158), (40, 54, 110))
_SHIRTS: tuple[Colour, ...] = (
    (150, 110, 60), (92, 128, 78), (70, 72, 168), (196, 196, 190), (120, 84, 112), (86, 148, 190),
    (72, 70, 68), (140, 140, 84),
)  # fmt: skip
_TROUSERS: tuple[Colour, ...] = ((95, 72, 58), (62, 60, 60), (98, 122, 140), (120, 98, 80), (70, 84, 78))
_SHOES: tuple[Colour, ...] = ((60, 60, 66), (52, 74, 104), (190, 192, 196))


def _random_look(rng: np.random.Generator) -> Look:
    def pick(colours: tuple[Colour, ...]) -> Colour:
        return colours[int(rng.integers(len(colours)))]

    shirt = pick(_SHIRTS)
    return Look(
        stature_m=float(rng.uniform(1.56, 1.88)),
        girth=float(rng.uniform(0.92, 1.14)),
        skin=pick(_SKINS),
        hair=None if rng.random() < 0.1 else pick(_HAIRS),
        long_hair=bool(rng.random() < 0.4),
        shirt=shirt,
        stripes=mix(shirt, (235, 235, 235), 0.75) if rng.random() < 0.4 else None,
        long_sleeves=bool(rng.random() < 0.45),
        trousers=pick(_TROUSERS),
        shoes=pick(_SHOES),
    )


def cast(people: int, camera: Camera, seed: int) -> list[Actor]:
    """So many people, from the nearest (0.74 of the picture's height) to twice as far, all inside the picture."""
    rng = np.random.default_rng([seed, 1])
    # Side by side in any order, so that they meet and pass but do not hide one another all the time.
    places = np.zeros(1) if people == 1 else rng.permutation(np.linspace(-0.8, 0.8, people))
    actors = []
    for k, place in enumerate(places.tolist()):
        z = camera.near_m * (1 + k / max(people - 1, 1)) + 0.1
        half = z * camera.width_px / 2 / camera.focal_px - 0.75  # an arm that waves reaches 0.65 m out
        x = place * half
        reach = max(0.2, min(1.4, half - abs(x)))
        # The first person of the first seed is always the same, and walks in at once.
        first = seed == k == 0
        look = Look() if first else _random_look(rng)
        actors.append(Actor(look, x_m=x, z_m=z, reach_m=reach, rng=rng, start_s=0.8 if first else None))
    return actors
