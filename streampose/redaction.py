"""Secrets taken out of what is shown and logged."""

from __future__ import annotations

import re
from functools import partial

__all__ = ["redact", "server_of"]

# What is before the last "@" of the host's part; and, as a password may hold a slash that nobody has escaped,
# everything before the last "@" at all where a ":" comes first. That takes http://host:80/@me for one, too: better so
# than the other way. A stranger's text is read once, however long: a scheme has a greatest length, and where no "@"
# follows, what was looked through for one is not looked through again (`none`).
_USERINFO = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]{0,30}://)(?:[^/\s:]*:\S*@|[^/\s]*@|(?P<none>[^/\s:]*:\S*))")
_SECRET_QUERY = re.compile(
    r"(?P<key>[?&;]_?(?:password|passwd|passw|pass|passphrase|psw|pwd|pw|loginpas|token|access_token|auth|key|apikey|"
    r"api_key|secret|sig|signature|user|username|usr|loginuse)=)[^&\s#]*",
    re.IGNORECASE,
)
# XMEye's cameras have both in the path: rtsp://host/user=NAME_password=SECRET_channel=1_stream=0.sdp, or with "&".
_IN_PATH = re.compile(
    r"(?P<user>/user=)(?:\S*?(?P<password>[_&]password=)\S*?(?=[_&](?:channel|stream)=|\s|$)|(?P<none>\S*))",
    re.IGNORECASE,
)
# In JSON in JSON there are more signs before the name of the scheme; a digest is everything up to the end of the line.
_HEADER = re.compile(
    r"(?P<key>authorization\W{0,12}b?\W?(?:(?:bearer|basic)\s+|(?P<digest>digest\s+(?=\w+=))))(?(digest).+|\S+)",
    re.IGNORECASE,
)


def redact(text: str) -> str:
    """Take user names, passwords and tokens out of every URL, and every ``Authorization`` header, in a text.

    Args:
        text: a URL, or any text with such in it.

    Returns:
        The same text with ``***`` in their place: ``rtsp://***@host/path?token=***``.
    """
    text = _USERINFO.sub(partial(_unless_none, r"\g<scheme>***@"), text)
    text = _IN_PATH.sub(partial(_unless_none, r"\g<user>***\g<password>***"), text)
    return _HEADER.sub(r"\g<key>***", _SECRET_QUERY.sub(r"\g<key>***", text))


def _unless_none(shown: str, match: re.Match[str]) -> str:
    return match[0] if match["none"] is not None else match.expand(shown)


_SERVER = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*://)(?:\*\*\*@)?(?P<host>[\w.:\[\]-]*)(?=[/?#]|$)")


def server_of(url: str) -> str:
    """Of a URL what may be shown where its path or its query may be secret: ``https://host:port``.

    What stands in the place of a host and cannot be one is not shown either.
    """
    if (match := _SERVER.match(redact(url))) is not None:
        return match["scheme"] + match["host"]
    scheme, colon, _ = url.partition("://")
    return f"{scheme}://***" if colon and scheme.isalnum() else "***"
