"""What counts as a number, where a program may give anything: NumPy's too, and no truth value."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

__all__ = ["is_number", "is_positive", "is_whole", "within"]


def is_number(value: object) -> bool:
    """Whether it can be compared with others."""
    return isinstance(value, Real) and not isinstance(value, bool)


def is_whole(value: object) -> bool:
    """Whether things can be counted by it."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def within(value: Any, least: float, most: float = math.inf) -> bool:
    """Whether it is a number from one to another."""
    return is_number(value) and bool(least <= value <= most)


def is_positive(value: object) -> bool:
    """Whether it is a number above 0."""
    return within(value, 0) and value != 0
