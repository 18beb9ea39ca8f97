"""Words to the person at the terminal, on standard error: standard output is for data."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

__all__ = ["console", "fail", "say"]

console = Console(stderr=True, highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """Print a line; rich markup is understood."""
    console.print(text)


def fail(message: str) -> None:
    """Print a one-line error; nothing in it is markup."""
    console.print(Text.assemble(("error: ", "red"), message))
