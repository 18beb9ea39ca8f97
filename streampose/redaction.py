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
    r"(?P<scheme>(?P<whole>[a-zA-Z][a-zA-Z0-9+.-]{0,30}://|(?<![a-zA-Z])(?i:turn|stun)s?:(?!/))"
    r"|(?i:rtsp|rtmp|http|srt|mqtt|redis)s?[:;][/\\]*+|(?<![\w/\\.])[a-zA-Z][a-zA-Z0-9+.-]{1,30}:[/\\](?![/\\])"
    r"|(?<![\w/\\.])(?i:rtsp|rtmp|http|srt)s?[/\\]++)"
    r"(?:(?(whole)[^/\s:]*|[^/\s:]{0,255}):\S*@|(?(whole)[^/\s]*@|(?!))"
    r"|(?P<none>(?(whole)[^/\s:]*|[^/\s:]{0,255}):\S*))"
)
# An address where a scheme was forgotten: 10.0.0.5/a, [::1]:8554/a, camera:8554/a.
_ADDRESS = r"(?=(?:\d{1,3}(?:\.\d{1,3}){3}|\[[\da-fA-F:.]+\]|[\w.-]{1,253}:\d{2,5})(?!\w|\.\w))"
# Of what is shown any host will do that is no file (12:30@cam.mp4); box:… is an option's.
_FILE = r"[\w.-]{0,253}\.(?:mp4|m4v|mov|mkv|avi|webm|ts|gif|png|jpe?g|jsonl?|csv|npz|parquet|txt|toml|onnx)(?!\w)"
_NO_SCHEME = re.compile(
    rf"(?<!\S)(?!\W?box:)[^\s/\\:@]+:(?![/\\]|\*\*\*@)\S*@(?:{_ADDRESS}|(?=\w)(?!{_FILE}))", re.IGNORECASE
)
# Keys that have one of these in them (X-Amz-Security-Token, wmsAuthSign), or have it as a word of theirs (auth_key,
# but not compass or author), or end in "key" (streamkey, but not monkey), or are short ones that are in use. The
# looking ahead is done once for a key, and a key ends where the next may begin, in a server's JSON by an escape.
# Of "#token=" all is secret up to the end, as a webhook takes it; else also what follows a secret and has no "=".
_SECRET_QUERY = re.compile(
    r"""(?P<key>(?:[?&;]|(?P<end>\#(?=token=))|\#|\\u0026)(?=(?:[pku]|st|md5|sid|tkn?)=|[^\s?&;=#\\]*?(?:
        passw|passphrase|passcode|pwd|psw|token|secret|signature|jwt|auth(?!or(?!i[sz]))|credential|session|sessid
        |api[-_]?key|access[-_]?key|(?:user|usr|login)pass?(?![a-z])|loginuse=|hdn(?:ea|tl|ts)=
        |hmac|bearer|cookie
        |(?:(?<![a-z])|(?-i:(?<=[a-z])(?=[A-Z])))
            (?:pass|pw|pin|key|sign?|user(?:name)?|usr|code|hash|otp|ticket|login|nonce|digest|policy|account)
            (?:(?![a-z])|(?-i:(?=[A-Z])))
        |(?<!mon|tur|don|hoc|joc|lac)key(?![a-z])
    ))[^\s?&;=#\\]*=)(?(end)\S*|[^&\s]*(?:&[^\s&;=\#]*(?=[\s&]|$))*)""",
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
# Other headers of which a value is secret: one with its name, or a list up to the end of the line.
_OTHER_HEADER = re.compile(
    r"""(?P<key>(?<![\w-])(?:(?P<list>(?:set-)?cookie)|x-[\w-]{0,40}(?:key|token|secret|auth)|api-key)
        [^\w\s:]{0,8}:[^\w\n*]{0,12}+)(?(list).+|[^\s*]\S*)""",
    re.IGNORECASE | re.VERBOSE,
)

# As FFmpeg's errors have one: as a whole, with whatever spaces.
_QUOTED = re.compile(r"""(['"])([a-zA-Z][a-zA-Z0-9+.-]{1,30}://(?:(?!\1).)*)\1""")


def redact(text: str) -> str:
    """Take user names, passwords and tokens out of every URL, and all headers that hold one, in a text.

    Args:
        text: a URL, or any text with such in it.

    Returns:
        The same text with ``***`` in their place: ``rtsp://***@host/path?token=***``.
    """
    text = _QUOTED.sub(lambda match: match[1] + unspaced(match[2]) + match[1], text)
    text = _USERINFO.sub(partial(_unless_none, r"\g<scheme>***@"), text)
    text = _NO_SCHEME.sub("***@", text)
    text = _IN_PATH.sub(partial(_unless_none, r"\g<user>***\g<password>***"), text)
    for pattern in (_SECRET_QUERY, _HEADER, _OTHER_HEADER):
        text = pattern.sub(r"\g<key>***", text)
    return text


# A URL, or one that has a name, or whose scheme is not whole. C:// is a disk.
_URL = re.compile(
    r"(?P<name>[^=:@]*=)?(?!(?i:file):)(?:[a-zA-Z][a-zA-Z0-9+.-]{1,30}://|(?i:rtsp|rtmp|http|srt)s?(?:[:;]|[/\\]{2}))"
    rf"|[^/\\:@]+:(?![/\\]).*@{_ADDRESS}",
    re.DOTALL,
)


def unspaced(text: str) -> str:
    """A URL as a whole whose secrets have no spaces, which `redact` would take for their end: %20 instead.

    Args:
        text: a URL, ``NAME=URL``, or another text, which stays as it is. Users, passwords and queries have secrets.
    """
    if (url := _URL.match(text)) is None:
        return text
    path, query = text.rfind("@"), re.search("[?#]|$", text)
    assert query is not None
    plain = {*range(url.end("name")), *range(path, query.start())}
    return "".join(quote(sign) if sign.isspace() and i not in plain else sign for i, sign in enumerate(text))


# A sign that is written with %, in UTF-8.
_SIGN = re.compile(r"%[0-7][\da-f]|%[c-f][\da-f](?:%[89ab][\da-f])+", re.IGNORECASE)


def spaced(url: str) -> str:
    """A URL for FFmpeg, which undoes no % where RTMP and SRT have passwords: spaces are spaces there again.

    No other sign is undone: a / or a & would end a password.
    """
    secrets = r"^(?:rtmps?://[^/?#]*@|srt://.*)"
    return re.sub(secrets, lambda secret: _SIGN.sub(_space, secret[0]), url, flags=re.IGNORECASE)


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
