"""What all commands are: their options are shown without Python's words, and no path is empty."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import Any, get_args, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

__all__ = ["Command", "Group", "flat", "unwrapped"]


class Command(TyperCommand):
    """A command whose help can be read. A path that is empty is a shell's variable that is not set."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Those of the function, and `--help`."""
        return _readable(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As typer does it, for which an empty path is the current folder.

        Raises:
            BadParameter: one is empty.
        """
        typed, _, _ = self.make_parser(ctx).parse_args(args=[*args])
        if empty := [key for key, value in typed.items() if value == ""]:
            hints = get_type_hints(self.callback)
            param: Any
            for param in self.params:
                if param.name in empty and Path in (hints[param.name], *get_args(hints[param.name])):
                    raise typer.BadParameter("it is empty: name a file or a folder", ctx=ctx, param=param)
        return super().parse_args(ctx, args)


class Group(TyperGroup):
    """Commands below a name, likewise."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Those of the function, and `--help`."""
        return _readable(super().get_params(ctx))


def flat(command: Callable[..., None]) -> Callable[..., None]:
    """A command for typer, which knows no groups: each parameter that is a dataclass is its fields, at its place."""
    own = inspect.signature(command, eval_str=True).parameters
    kinds = {name: one.annotation for name, one in own.items() if isinstance(one.annotation, type)}
    groups = {name: kind for name, kind in kinds.items() if is_dataclass(kind)}
    parameters: list[inspect.Parameter] = []
    for name, one in own.items():
        parameters += inspect.signature(groups[name], eval_str=True).parameters.values() if name in groups else [one]

    @wraps(command)
    def made(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{field.name: given.pop(field.name) for field in fields(group)})
        command(**given)

    made.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    made.__annotations__ = {one.name: one.annotation for one in parameters}
    return made


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
