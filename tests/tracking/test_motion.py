"""Where somebody is expected, against a Kalman filter as textbooks write it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import expm

from streampose.tracking import motion
from streampose.tracking.motion import Motion


class Textbook:
    """One coordinate, with matrices; the process by Van Loan's method (IEEE Trans. Automatic Control 23, 1978)."""

    def __init__(self, place: float) -> None:
        self.state = np.array([place, 0.0])
        self.covariance = np.diag([motion._NOISE**2, motion._SPEED**2])

    def predict(self, dt_s: float) -> None:
        process = np.array([[0.0, 1.0], [0.0, -1 / motion._MEMORY_S]])
        noise = np.diag([0.0, 2 * motion._SPEED**2 / motion._MEMORY_S])
        both = expm(np.block([[-process, noise], [np.zeros((2, 2)), process.T]]) * dt_s)
        step = both[2:, 2:].T
        self.state = step @ self.state
        self.covariance = step @ self.covariance @ step.T + step @ both[:2, 2:]

    def correct(self, place: float) -> None:
        seen = np.array([[1.0, 0.0]])
        gain = self.covariance @ seen.T / (seen @ self.covariance @ seen.T + motion._NOISE**2)
        self.state = self.state + (gain * (place - seen @ self.state)).ravel()
        self.covariance = (np.eye(2) - gain @ seen) @ self.covariance


def test_somebody_is_expected_where_the_textbook_says():
    rng = np.random.default_rng(0)
    steps_s, places = rng.uniform(0.01, 0.5, 20), np.cumsum(rng.normal(0, 0.1, (20, 2)), axis=0)
    one, x, y = Motion(0j), Textbook(0.0), Textbook(0.0)
    for dt_s, (seen_x, seen_y) in zip(steps_s, places, strict=True):
        for each, seen in ((one, complex(seen_x, seen_y)), (x, seen_x), (y, seen_y)):
            each.predict(dt_s)
            each.correct(seen)
        assert (one.centre.real, one.centre.imag) == pytest.approx((x.state[0], y.state[0]), rel=1e-9, abs=1e-9)
