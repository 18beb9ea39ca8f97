"""Several options under one name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

import typer

__all__ = ["PRESETS", "Name", "Preset", "use_preset"]

Name: TypeAlias = Literal["realtime", "balanced", "accurate", "low-memory"]

PRESETS: Mapping[str, Mapping[str, Any]] = {
    # Small batches that leave early.
    "realtime": {"budget": "60ms", "batch": 4},
    "balanced": {},
    # Time to wait for large batches, full precision, and the second pass or calm key points.
    "accurate": {"budget": "300ms", "batch": 8, "tf32": False, "min_score": 0.3, "smooth": True, "clean": True},
    # One frame, one session, one recording.
    "low-memory": {"batch": 1, "sessions": 1, "at_once": 1, "max_people": 20},
}
"""By name, what each option is by default: that of a parameter of `run` or `process`; each takes those that it has."""


def use_preset(context: typer.Context, name: str | None) -> str | None:
    """Its values are the defaults of what neither the command line nor a file says."""
    if name is not None:
        context.default_map = {**PRESETS[name], **(context.default_map or {})}
    return name


Preset = Annotated[
    Name | None,
    typer.Option(
        metavar="NAME",
        help=f"Several options at once: {', '.join(PRESETS)} (docs/performance.md); what else is said goes before it.",
        callback=use_preset,
        is_eager=True,
        rich_help_panel="Engine",
    ),
]
