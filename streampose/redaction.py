"""Secrets taken out of what is shown and logged."""

from __future__ import annotations

import re
from functools import partial
from urllib.parse import quote, unquote

__all__ = ["redact", "server_of", "spaced", "unspaced"]

# What is before the last "@" of the host's part; and, as a password may hold a slash that nobody has escaped,
# everything before the last "@" at all where a ":" comes first. That takes http://host:80/@me for one, too: better so
# than the other way. A stranger's text is read once, however long: a scheme has a greatest length, and where no "@"
# follows, what was looked through for one is not looked through again (`none`). Where "://" is written otherwise, it
# takes a name of no more than 255 signs and a password to be one, and a scheme that is no folder's name or a file's
# ending.
_USERINFO = re.compile(
    r"(?P<scheme>(?P<whole>[a-zA-Z][a-zA-Z0-9+.-]{0,30}://)"
    r"|(?i:rtsp|rtmp|http|srt)s?[:;][/\\]*+|(?<![\w/\\.])(?i:rtsp|rtmp|http|srt)s?[/\\]++)"
    r"(?:(?(whole)[^/\s:]*|[^/\s:]{0,255}):\S*@|(?(whole)[^/\s]*@|(?!))"
    r"|(?P<none>(?(whole)[^/\s:]*|[^/\s:]{0,255}):\S*))"
)
# Keys that have one of these in them (X-Amz-Security-Token, wmsAuthSign), or have it as a word of theirs (auth_key,
# but not compass or author), or end in "key" (streamkey, but not monkey). The looking ahead is done once for a key, and
# a key ends where the next may begin, which in a server's JSON may be escaped.
_SECRET_QUERY = re.compile(
    r"""(?P<key>(?:[?&;#]|\\u0026)(?=[^\s?&;=#\\]*?(?:
        passw|passphrase|passcode|pwd|psw|token|secret|signature|jwt|auth(?!or(?!i[sz]))|credential|session|sessid
        |api[-_]?key|access[-_]?key|(?:user|usr|login)pass?(?![a-z])|loginuse=|hdn(?:ea|tl|ts)=
        |(?:(?<![a-z])|(?-i:(?<=[a-z])(?=[A-Z])))(?:pass|pw|pin|key|sign?|user(?:name)?|usr)(?:(?![a-z])|(?-i:(?=[A-Z])))
        |(?<!mon|tur|don|hoc|joc|lac)key(?![a-z])
    ))[^\s?&;=#\\]*=)[^&\s#]*""",
    re.IGNORECASE | re.VERBOSE,
)
# XMEye's cameras have both in the path: rtsp://host/user=NAME_password=SECRET_channel=1_stream=0.sdp, or with "&".
_IN_PATH = re.compile(
    r"(?P<user>/user=)(?:\S*?(?P<password>[_&]password=)\S*?(?=[_&](?:channel|stream)=|\s|$)|(?P<none>\S*))",
    re.IGNORECASE,
)
# In JSON in JSON there are more signs before the name of the scheme. After a colon it may be any or none, and as a key
# alone looks like one, both go. What is a list of parameters, as a digest is, goes up to the end of the line.
_HEADER = re.compile(
    r"""(?P<key>authorization(?P<colon>[^\w:]{0,8}:)?[^\w*]{0,12}(?:b\W)?(?:
        (?:bearer|basic):?\s+
        |(?P<list>digest\s+(?=\w+=)|(?(colon)(?!digest)(?:[\w-]{1,40}\s+)?(?=[\w-]+="?\w)|(?!)))
        |(?P<any>(?(colon)(?=\w)(?!(?:bearer|basic|digest)\b)|(?!)))
    ))(?(list).+|(?(any)(?:[\w-]{1,40}[^\S\n]+)?)\S+)""",
    re.IGNORECASE | re.VERBOSE,
)

# As FFmpeg's errors have one: as a whole, with whatever spaces.
_QUOTED = re.compile(r"""(['"])([a-zA-Z][a-zA-Z0-9+.-]{1,30}://(?:(?!\1).)*)\1""")


def redact(text: str) -> str:
    """Take user names, passwords and tokens out of every URL, and every ``Authorization`` header, in a text.

    Args:
        text: a URL, or any text with such in it.

    Returns:
        The same text with ``***`` in their place: ``rtsp://***@host/path?token=***``.
    """
    text = _QUOTED.sub(lambda match: match[1] + unspaced(match[2]) + match[1], text)
    text = _USERINFO.sub(partial(_unless_none, r"\g<scheme>***@"), text)
    text = _IN_PATH.sub(partial(_unless_none, r"\g<user>***\g<password>***"), text)
    return _HEADER.sub(r"\g<key>***", _SECRET_QUERY.sub(r"\g<key>***", text))


# A URL, or one that has a name.
_URL = re.compile(
    r"(?:[^\s=/:@]+=)?(?!(?i:file):)(?:[a-zA-Z][a-zA-Z0-9+.-]{0,30}://|(?i:rtsp|rtmp|http|srt)s?[:;][/\\])"
)


def unspaced(text: str) -> str:
    """A URL as a whole whose user and password have no spaces, which `redact` would take for their end: %20 instead.

    Args:
        text: a URL, ``NAME=URL``, or another text, which stays as it is.
    """
    if _URL.match(text) is None:
        return text
    user, at, server = text.rpartition("@")
    return "".join(quote(sign) if sign.isspace() else sign for sign in user) + at + server


# A sign that is written with %, in UTF-8.
_SIGN = re.compile(r"%[0-7][\da-f]|%[c-f][\da-f](?:%[89ab][\da-f])+", re.IGNORECASE)


def spaced(url: str) -> str:
    """A URL for FFmpeg, which undoes no % in the user and the password of RTMP: spaces are spaces there again.

    No other sign is undone: a / or an @ would end a password.
    """
    return re.sub(r"^rtmps?://[^/?#]*@", lambda user: _SIGN.sub(_space, user[0]), url, flags=re.IGNORECASE)


def _space(match: re.Match[str]) -> str:
    sign = unquote(match[0])
    return sign if sign.isspace() else match[0]


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
