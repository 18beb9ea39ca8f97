"""What a viewer can change of a stream while it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from streampose.errors import ConfigError
from streampose.number import is_whole, within

__all__ = ["Settings"]

_BUDGETS_MS = (10, 5000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All of them, at one moment."""

    mode: str = "overlay"
    """``overlay``: poses go back; ``rendered``: the drawn picture does."""
    budget_ms: int | None = None
    """From arrival to poses; `None` = the server's."""
    mirror: bool = False
    smooth: bool = False
    ids: bool = True
    confidence: float = 0.3
    """Points below are not drawn."""

    def changed(self, wishes: Mapping[str, Any]) -> Settings:
        """The same with some of them changed.

        Raises:
            ConfigError: one is unknown, or has a value that makes no sense.
        """
        for key, value in wishes.items():
            if key not in _CHECKS:
                raise ConfigError(f"there is no setting {str(key)[:40]!r}; there are: {', '.join(_CHECKS)}")
            if not _CHECKS[key](value):
                raise ConfigError(f"the setting {key} cannot be {str(value)[:40]!r}")
        return replace(self, **wishes)

    @property
    def budget_s(self) -> float | None:
        """The same in seconds."""
        return None if self.budget_ms is None else self.budget_ms / 1000

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


_CHECKS: Mapping[str, Callable[[object], bool]] = {
    "mode": lambda value: value in ("overlay", "rendered"),
    "budget_ms": lambda value: value is None or (is_whole(value) and within(value, *_BUDGETS_MS)),
    "mirror": _is_flag,
    "smooth": _is_flag,
    "ids": _is_flag,
    "confidence": lambda value: within(value, 0, 1),
}
