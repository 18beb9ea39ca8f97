"""Words to the person at the terminal, on standard error: standard output is for data."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

from streampose.observe.logs import LogFormat, in_one_line, in_sight

__all__ = ["console", "dim", "fail", "has_watcher", "once", "say", "speak", "speaks_json"]

console = Console(stderr=True, highlight=False, soft_wrap=True)
log = logging.getLogger("streampose")

_form = LogFormat.TEXT


def speak(form: LogFormat) -> None:
    """From now on say everything like this: where a machine reads, words become log records."""
    global _form  # noqa: PLW0603 - there is one standard error
    _form = form


def speaks_json() -> bool:
    """Whether a machine reads."""
    return _form is LogFormat.JSON


def has_watcher() -> bool:
    """Whether a person looks on, who wants to see progress."""
    return console.is_terminal and _form is LogFormat.TEXT


def dim(text: str) -> Text:
    """Words that matter less than those around them."""
    return Text(in_sight(text), "dim")


def say(text: str | Text) -> None:
    """Print it; nothing in a string is markup, since paths and names may look like it, and they move no cursor."""
    words = Text(in_sight(text)) if isinstance(text, str) else text
    if _form is LogFormat.JSON:
        for line in words.plain.splitlines():
            log.info("%s", line)
    else:
        console.print(words)


@contextmanager
def once(*, alone: bool) -> Iterator[None]:
    """Within it no warning is logged twice: a recording that is read again has the same ones.

    Args:
        alone: there is one recording, and its failure is told at the end, so at once.
    """
    said = set[str]()

    def is_new(record: logging.LogRecord) -> bool:
        if record.levelno != logging.WARNING:
            return True
        if alone and getattr(record, "event", "") == "failed":
            return False
        count = len(said)
        said.add(record.getMessage())
        return len(said) > count

    log.addFilter(is_new)
    try:
        yield
    finally:
        log.removeFilter(is_new)


def fail(message: str) -> None:
    """Print a one-line error, whatever is in it; nothing in it is markup."""
    if _form is LogFormat.JSON:
        log.error("%s", message)
    else:
        console.print(Text.assemble(("error: ", "red"), in_one_line(message)))
