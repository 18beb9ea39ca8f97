"""Calmer key points."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from streampose.errors import ConfigError
from streampose.number import within
from streampose.pose import Poses, Skeleton

__all__ = ["OneEuro", "OneEuroOptions"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class OneEuroOptions:
    """How calm, and how quick.

    Raises:
        ConfigError: a value makes no sense.
    """

    min_cutoff_hz: float = 1.0
    """Cut-off for what stands still: lower = calmer."""
    beta: float = 20.0
    """Cut-off added for each person size a second of speed, the size being the longer side of the box: higher = less
    lag. It means the same near and far. A fast point lags at most 1 / (2π·beta) of the size behind: here 0.8 %."""
    speed_cutoff_hz: float = 3.0
    """Cut-off of the speed itself. With these three, on a 60 fps clip of three people, still points tremble 7 times
    less, and the mean distance to a smoothing that knows the future stays what it was (0.3 % of the size)."""
    min_score: float = 0.3
    """A point that scores less is passed on as it is, and moves nothing."""
    forget_s: float = 0.5
    """A point that was not seen for so long, in media time, starts anew."""

    def __post_init__(self) -> None:
        for name in ("min_cutoff_hz", "beta", "speed_cutoff_hz"):
            if not (within(value := getattr(self, name), 0) and value < math.inf):
                raise ConfigError(f"{name} is at least 0, and finite, not {value}")
        for name in ("min_score", "forget_s"):
            if not within(value := getattr(self, name), 0):
                raise ConfigError(f"{name} is at least 0, not {value}")


class _Filter:
    """One person's points."""

    __slots__ = ("last_s", "places", "speeds")

    def __init__(self, count: int) -> None:
        self.places = np.zeros((count, 2))  # pixels, smoothed
        self.speeds = np.zeros((count, 2))  # pixels per second, smoothed
        self.last_s = np.full(count, -math.inf)  # when each was last trusted

    def update(
        self, seen: Floats, trusted: NDArray[np.bool_], *, size: float, time_s: float, options: OneEuroOptions
    ) -> None:
        """Take in (p, 2) pixels of a person of a size in pixels; only the trusted ones of (p,) count."""
        gap_s = time_s - self.last_s
        fresh = trusted & (gap_s > options.forget_s)
        known = trusted & ~fresh & (gap_s > 0)
        dt_s = np.where(known, gap_s, 0)[:, None]
        step = np.where(known[:, None], seen - self.places, 0)
        # The change towards step / dt_s, without the division: two frames may be as close as can be.
        speed_gain = _gain(options.speed_cutoff_hz, dt_s)
        self.speeds += speed_gain * (step - dt_s * self.speeds)
        speed = np.hypot(*self.speeds.T)[:, None] / size
        self.places += dt_s * _gain(options.min_cutoff_hz + options.beta * speed, dt_s) * step
        self.places[fresh], self.speeds[fresh] = seen[fresh], 0
        self.last_s[trusted] = time_s


def _gain(cutoff_hz: Floats | float, dt_s: Floats) -> Floats:
    """How much of a new value a first-order low-pass takes, per second."""
    turn_hz = 2 * math.pi * cutoff_hz
    return turn_hz / (turn_hz * dt_s + 1)


class OneEuro:
    """The One Euro filter (Casiez et al., CHI 2012) for every point of everybody in one stream.

    A low-pass filter whose cut-off rises with speed: still points do not tremble, quick ones do not lag. Each point has
    one cut-off for both axes, from its speed in person sizes, so that a turned or scaled picture gives the turned or
    scaled result. Boxes are filtered in the same way, to stay around their people.

    Args:
        options: how calm, and how quick.
    """

    def __init__(self, options: OneEuroOptions | None = None) -> None:
        self._options = options or OneEuroOptions()
        self._people: dict[int, _Filter] = {}
        self._time_s = -math.inf
        self._skeleton: Skeleton | None = None

    def reset(self) -> None:
        """Forget everybody, at a new epoch."""
        self._people = {}

    def update(self, poses: Poses, time_s: float) -> Poses:
        """The next frame.

        Args:
            poses: its people, with ids.
            time_s: media time. If it goes backwards, that is a new epoch: everybody is forgotten.

        Returns:
            The same people, with smoothed `points` and `boxes`.

        Raises:
            ValueError: there are no ids, or the time is not a finite number.
        """
        if poses.ids is None:
            raise ValueError("smoothing follows people by their ids: give it what a Tracker returns")
        if not math.isfinite(time_s):
            raise ValueError(f"a frame's time is {time_s} s: it must be finite")
        # Another model may have other points.
        if time_s < self._time_s or poses.skeleton != self._skeleton:
            self.reset()
        self._time_s, self._skeleton = time_s, poses.skeleton
        options = self._options
        # The two corners of the box are two points more, always trusted.
        seen = np.concatenate([poses.points, poses.boxes.reshape(-1, 2, 2)], axis=1)
        trusted = np.pad(poses.scores >= options.min_score, ((0, 0), (0, 2)), constant_values=True)
        sizes = np.maximum((poses.boxes[:, 2:] - poses.boxes[:, :2]).max(axis=1), 1)
        for row, person in enumerate(poses.ids.tolist()):
            if (filter_ := self._people.get(person)) is None:
                filter_ = self._people[person] = _Filter(seen.shape[1])
            filter_.update(seen[row], trusted[row], size=sizes[row], time_s=time_s, options=options)
            seen[row] = np.where(trusted[row, :, None], filter_.places, seen[row])
        self._people = {
            person: filter_
            for person, filter_ in self._people.items()
            if time_s - filter_.last_s.max() <= options.forget_s
        }
        return replace(poses, points=seen[:, :-2], boxes=seen[:, -2:].reshape(-1, 4))
