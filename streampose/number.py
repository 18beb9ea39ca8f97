"""What counts as a number, where a program may give anything: NumPy's too, and no truth value."""

from __future__ import annotations

from numbers import Integral, Real

__all__ = ["is_number", "is_whole"]


def is_number(value: object) -> bool:
    """Whether it can be compared with others."""
    return isinstance(value, Real) and not isinstance(value, bool)


def is_whole(value: object) -> bool:
    """Whether things can be counted by it."""
    return isinstance(value, Integral) and not isinstance(value, bool)
