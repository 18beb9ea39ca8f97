"""What `--help` shows of commands: options without Python's words, paragraphs as wide as the terminal."""

from __future__ import annotations

import inspect
from typing import Any

from typer.core import TyperCommand, TyperGroup, TyperOption

__all__ = ["Command", "Group", "unwrapped"]


class Command(TyperCommand):
    """A command whose help can be read."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Those of the function, and `--help`."""
        return _readable(super().get_params(ctx))


class Group(TyperGroup):
    """Commands below a name, likewise."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Those of the function, and `--help`."""
        return _readable(super().get_params(ctx))


def unwrapped(command: Any) -> str:
    """A function's docstring, each paragraph in one line: typer breaks lines where the source does, and again where
    the terminal ends. What is indented stays as it is."""
    paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    return "\n\n".join(part if part.startswith(" ") else part.replace("\n", " ") for part in paragraphs)


def _readable(parameters: list[Any]) -> list[Any]:
    """Typer writes `<bool>` beside a flag, which takes no value, and `<list[str]>` beside what takes one at a time."""
    for option in parameters:
        if isinstance(option, TyperOption) and option.metavar is None:
            if option.is_flag:
                option.metavar = ""
            elif option.multiple:
                option.metavar = "<str>"
    return parameters
