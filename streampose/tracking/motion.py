"""How a person's place is expected to change between two frames."""

from __future__ import annotations

import math

__all__ = ["Motion"]

# In units of the person's size, whatever that is in pixels: noise and spread scale alike, so it cancels out.
_SPEED = 0.8
"""Standard deviation of the speed along each axis, per second: a grown-up of 1.7 m walks at 0.8 sizes a second."""
_NOISE = 0.03
"""Standard deviation of a detector's box centre."""
_MEMORY_S = 1.0
"""How long a velocity lasts. It fades, so that somebody lost is looked for a step away, not ever farther on."""


class Motion:
    """A Kalman filter for one person's centre, right for any time between frames.

    The velocity is an Ornstein-Uhlenbeck process and the place its integral (the continuous-time correlated random
    walk of Johnson et al., Ecology 2008): over short times, constant velocity. It is exact for every time step: two
    predictions are the same as one over both their times.

    Places are complex numbers, x + y·i pixels: for two coordinates NumPy takes ten times as long.

    Args:
        centre: where the person was first seen.
    """

    __slots__ = ("_both", "_place", "_speed", "_velocity", "centre")

    def __init__(self, centre: complex) -> None:
        self.centre = centre
        """Now."""
        self._velocity = 0j  # pixels per second
        # The covariance of place and velocity, the same along each axis.
        self._place, self._both, self._speed = _NOISE**2, 0.0, _SPEED**2

    def predict(self, dt_s: float) -> None:
        """Let time pass."""
        fade = math.exp(-dt_s / _MEMORY_S)
        reach_s = _MEMORY_S * (1 - fade)
        self.centre += reach_s * self._velocity
        self._velocity *= fade
        drift = 2 * _MEMORY_S * dt_s - reach_s * (2 * _MEMORY_S + reach_s)
        self._place += reach_s * (2 * self._both + reach_s * self._speed) + _SPEED**2 * max(0.0, drift)
        self._both = fade * (self._both + reach_s * self._speed) + (_SPEED * reach_s) ** 2 / _MEMORY_S
        self._speed = fade**2 * self._speed + _SPEED**2 * (1 - fade**2)

    def correct(self, centre: complex) -> None:
        """Take in where the person was seen."""
        place_gain = self._place / (self._place + _NOISE**2)
        speed_gain = self._both / (self._place + _NOISE**2)
        error = centre - self.centre
        self.centre += place_gain * error
        self._velocity += speed_gain * error
        self._speed -= speed_gain * self._both
        self._both -= speed_gain * self._place
        self._place -= place_gain * self._place
