"""Secrets taken out of what is shown and logged."""

from __future__ import annotations

import re

__all__ = ["redact", "server_of"]

# What is before the last "@" of the host's part; and, as a password may hold a slash that nobody has escaped,
# everything before the last "@" at all where a ":" comes first. That takes http://host:80/@me for one, too: better so
# than the other way. A scheme has a greatest length, since 64 kB of a stranger's letters took 5 s without.
_USERINFO = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]{0,30}://)(?:[^/\s]*:\S*@|[^/\s]*@)")
_SECRET_QUERY = re.compile(
    r"(?P<key>[?&;]_?(?:password|passwd|passw|pass|passphrase|psw|pwd|pw|loginpas|token|access_token|auth|key|apikey|"
    r"api_key|secret|sig|signature|user|username|usr|loginuse)=)[^&\s#]*",
    re.IGNORECASE,
)
# XMEye's cameras have both in the path: rtsp://host/user=NAME_password=SECRET_channel=1_stream=0.sdp, or with "&".
_IN_PATH = re.compile(
    r"(?P<user>/user=)[^\s/]*?(?P<password>[_&]password=)\S*?(?=[_&](?:channel|stream)=|\s|$)", re.IGNORECASE
)
_HEADER = re.compile(r"(?P<key>authorization\W{0,4}b?\W?(?:bearer|basic)\s+)\S+", re.IGNORECASE)


def redact(text: str) -> str:
    """Take user names, passwords and tokens out of every URL, and every ``Authorization`` header, in a text.

    Args:
        text: a URL, or any text with such in it.

    Returns:
        The same text with ``***`` in their place: ``rtsp://***@host/path?token=***``.
    """
    text = _IN_PATH.sub(r"\g<user>***\g<password>***", _USERINFO.sub(r"\g<scheme>***@", text))
    return _HEADER.sub(r"\g<key>***", _SECRET_QUERY.sub(r"\g<key>***", text))


_SERVER = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*://)(?:\*\*\*@)?(?P<host>[\w.:\[\]-]*)(?=[/?#]|$)")


def server_of(url: str) -> str:
    """Of a URL what may be shown where its path or its query may be secret: ``https://host:port``.

    What stands in the place of a host and cannot be one is not shown either.
    """
    if (match := _SERVER.match(redact(url))) is not None:
        return match["scheme"] + match["host"]
    scheme, colon, _ = url.partition("://")
    return f"{scheme}://***" if colon and scheme.isalnum() else "***"
