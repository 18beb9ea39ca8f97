"""The parts of a camera's address."""

from __future__ import annotations

from urllib.parse import SplitResult, unquote, urlsplit

from streampose.errors import ConfigError
from streampose.redaction import redact

__all__ = ["parts_of"]

_WRITE = "a port is a number up to 65535; in a password, write / as %2F, @ as %40, # as %23, ? as %3F"


def parts_of(url: str) -> SplitResult:
    """Of a URL.

    Raises:
        ConfigError: its host or port is none, or its user or password has control characters.
    """
    try:
        parts = urlsplit(url)
        _ = parts.hostname, parts.port
        # Of a user and a password with such a sign only the beginning is left, which may look like host and port.
        slip = ":" in parts.netloc and (
            "@" in parts.fragment or ("@" in parts.query and not parts.path and "@" not in parts.netloc)
        )
    except ValueError:
        slip = True
    if slip:
        # Not chained: what it says may be a piece of a password that was not escaped.
        raise ConfigError(f"{redact(url)} has no host or port that can be one: {_WRITE}")
    if not unquote(parts.netloc).isprintable():  # with a line end in it, a user would be a request of his own
        raise ConfigError(f"{redact(url)}: a user and a password have only printable characters, written with % or not")
    return parts
