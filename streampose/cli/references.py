"""``{env:NAME}`` and ``{file:PATH}`` in a text: secrets that are kept elsewhere."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import quote

from streampose.errors import ConfigError

__all__ = ["look_up", "resolve"]

_REFERENCE = re.compile(r"\{(?P<kind>[a-z]+):(?P<what>[^{}]+)\}")


def resolve(text: str) -> str:
    """The text with what its references stand for.

    Inside a URL values are percent-encoded; a reference that stands for the beginning of one, or the whole, is not.

    Raises:
        ConfigError: a variable or a file is missing or empty; the message names it, and no value.
    """

    def value(match: re.Match[str]) -> str:
        found = look_up(match["kind"], match["what"])
        within = "://" in text[: match.start()] or text.startswith(("turn:", "turns:"))
        return quote(found, safe="") if within else found

    return _REFERENCE.sub(value, text)


def look_up(kind: str, what: str) -> str:
    """A secret by where it is, since everybody sees a command line; it is never empty, and ends with no line's end.

    Raises:
        ConfigError: it is not there; the message names the place, and no value.
    """
    if kind == "env":
        if not (found := os.environ.get(what, "")):
            raise ConfigError(f"the environment variable {what} is not set")
        return found
    if kind != "file":
        raise ConfigError(f"no reference is of the kind {kind!r}; there are {{env:NAME}} and {{file:PATH}}")
    try:
        # With the mark that Windows' editors put first, or without it.
        found = Path(what).read_text(encoding="utf-8-sig").rstrip("\r\n")
    except OSError as error:
        raise ConfigError(f"the file {what} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        # Not chained: the bytes of the secret would be in the cause.
        raise ConfigError(f"the file {what} is no text (UTF-8)") from None
    if not found:
        raise ConfigError(f"the file {what} is empty")
    return found
