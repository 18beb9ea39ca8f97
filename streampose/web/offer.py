"""A stranger's SDP offer, looked at before anything else sees it."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

from streampose.errors import ConfigError, StreamposeError
from streampose.typed import Typed
from streampose.web.ice import usable
from streampose.web.limits import Full, Limits

__all__ = ["checked", "fragment", "refusing"]

log = logging.getLogger("streampose")

_SECTIONS = 6
# Codecs times lines of feedback, over all sections: Chromium's have some thousands.
_PAIRS = 20_000
_CODEC = re.compile(r"a=rtpmap:\d+ (VP8|H264)/", re.IGNORECASE)


class _Foreign(StreamposeError):
    """An error of aiortc's: it is about its own code, and tells who sent the SDP nothing."""


@contextmanager
def refusing(words: str) -> Iterator[None]:
    """Around what aiortc makes of a stranger's SDP: its errors become these words, and are in the log for debugging.

    Raises:
        ConfigError: with these words.
        Full: it is this machine that failed, say as there are no more files; what it was is in the log.
    """
    try:
        with Typed(_Foreign, passing=(OSError,)):
            yield
    except _Foreign as error:
        log.debug("%s: %s", words, error)
        raise ConfigError(words) from error
    except OSError as error:
        log.warning("no session could be made: %s", error, extra={"event": "peer-refused"})
        raise Full("the server cannot make a session now") from error


def checked(text: str, limits: Limits, *, loopback_only: bool) -> str:
    """The offer, without the candidates that are not to be used.

    Raises:
        ConfigError: it is no offer, or larger than one has to be.
    """
    if len(text) > limits.sdp_bytes:
        raise ConfigError(f"the offer is larger than {limits.sdp_bytes} bytes")
    lines = text.replace("\r\n", "\n").split("\n")
    if not lines or lines[0] != "v=0" or any("\0" in line or len(line) > 4096 for line in lines):
        raise ConfigError("this is no SDP")
    sections = sum(line.startswith("m=") for line in lines)
    if not 1 <= sections <= _SECTIONS:
        raise ConfigError(f"an offer has 1 to {_SECTIONS} media sections, not {sections}")
    video = _video(lines)
    if not any(line.startswith("a=fingerprint:") for line in video):
        raise ConfigError("the offer has no DTLS fingerprint (a=fingerprint)")
    if not any(_CODEC.match(line) for line in video):
        raise ConfigError("the offer has neither VP8 nor H.264")
    # Each line of feedback goes to all codecs: 32 kB could hold 800 times 1,000, at which aiortc worked for 0.9 s.
    if sum(_count(part, "a=rtpmap:") * _count(part, "a=rtcp-fb:") for part in _parts(lines)) > _PAIRS:
        raise ConfigError("the offer has more codecs and kinds of feedback than there are")
    # aiortc takes bundles of sections that are not there, and then cannot close what it has made of them.
    # And as RFC 9725 wants it, all sections are one transport: another one might never connect.
    mids = [line.removeprefix("a=mid:") for line in lines if line.startswith("a=mid:")]
    groups = [line.split()[1:] for line in lines if line.startswith("a=group:BUNDLE")]
    bundled = [mid for group in groups for mid in group]
    if len(mids) != sections or len(set(mids)) != sections or len(set(bundled)) != len(bundled):
        raise ConfigError("each media section of an offer has a name of its own (a=mid)")
    if not set(bundled) <= set(mids):
        raise ConfigError("the offer bundles media sections that it does not have")
    if sections > 1 and (len(groups) != 1 or len(bundled) != sections):
        raise ConfigError("the offer does not bundle all its media sections: set the bundle policy to max-bundle")
    kept, candidates = [], 0
    for line in lines:
        if line.startswith("a=candidate:"):
            candidates += 1
            if candidates > limits.candidates * sections or not usable(line, loopback_only=loopback_only):
                continue
        kept.append(line)
    return "\r\n".join(line for line in kept if line) + "\r\n"


def _video(lines: list[str]) -> list[str]:
    """What holds for the first video: the lines of the session, and its own.

    Raises:
        ConfigError: there is none.
    """
    session, *sections = _parts(lines)
    for section in sections:
        if section[0].startswith("m=video "):
            return session + section
    raise ConfigError("the offer has no video")


def _parts(lines: list[str]) -> list[list[str]]:
    """The lines of the session, and those of each media section."""
    begins = [at for at, line in enumerate(lines) if line.startswith("m=")]
    return [lines[at:end] for at, end in pairwise([0, *begins, len(lines)])]


def _count(lines: list[str], kind: str) -> int:
    return sum(line.startswith(kind) for line in lines)


def fragment(text: str) -> tuple[list[tuple[str | None, str]], str | None]:
    """An SDP fragment (RFC 8840): the candidates with the mid of each, and the ICE user name that it is for.

    Raises:
        ConfigError: it is none.
    """
    mid: str | None = None
    user: str | None = None
    found: list[tuple[str | None, str]] = []
    for line in text.replace("\r\n", "\n").split("\n"):
        if line.startswith("a=ice-ufrag:"):
            user = line.partition(":")[2]
        elif line.startswith("a=mid:"):
            mid = line.partition(":")[2]
        elif line.startswith("a=candidate:"):
            found.append((mid, line))
        elif line and not line.startswith(("a=", "m=")):
            raise ConfigError("this is no SDP fragment")
    if user is None and not found:
        raise ConfigError("the SDP fragment has neither candidates nor a user name")
    return found, user
