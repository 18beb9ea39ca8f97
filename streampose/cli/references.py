"""``{env:NAME}`` and ``{file:PATH}`` in a text: secrets that are kept elsewhere."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import quote

from streampose.errors import ConfigError

__all__ = ["resolve"]

_REFERENCE = re.compile(r"\{(?P<kind>[a-z]+):(?P<what>[^{}]+)\}")


def resolve(text: str) -> str:
    """The text with what its references stand for.

    Inside a URL values are percent-encoded; a reference that stands for the beginning of one, or the whole, is not.

    Raises:
        ConfigError: a variable or a file is missing or empty; the message names it, and no value.
    """

    def value(match: re.Match[str]) -> str:
        found = _look_up(match["kind"], match["what"])
        within = "://" in text[: match.start()] or text.startswith(("turn:", "turns:"))
        return quote(found, safe="") if within else found

    return _REFERENCE.sub(value, text)


def _look_up(kind: str, what: str) -> str:
    if kind == "env":
        found = os.environ.get(what, "")
        if not found:
            raise ConfigError(f"the environment variable {what} is not set")
        return found
    if kind == "file":
        try:
            found = Path(what).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            # Not chained: the bytes of a secret that is no text would be in the cause.
            raise ConfigError(f"the file {what} cannot be read ({type(error).__name__})") from None
        if not found:
            raise ConfigError(f"the file {what} is empty")
        return found
    raise ConfigError(f"no reference is of the kind {kind!r}; there are {{env:NAME}} and {{file:PATH}}")
