"""What a server says of its video: the part of SDP (RFC 8866) that is needed."""

from __future__ import annotations

import base64
import binascii
import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

__all__ = ["START_CODE", "Track", "first_video"]

START_CODE = b"\0\0\0\1"
_CODECS = {"H264": "h264", "H265": "hevc"}
# RFC 6184 and RFC 7798 know 90 kHz alone. Of a much slower one, times that jump are soon more than 64 bits hold.
_SLOWEST_CLOCK_HZ = 1000
_RATE = re.compile(r"\d{1,3}(\.\d{1,6})?")
# Each costs a round trip at the opening.
_MOST_BESIDE = 8
_SETS = ("sprop-vps", "sprop-sps", "sprop-pps", "sprop-parameter-sets")


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """The video of a session."""

    codec: str
    """FFmpeg's name: `h264` or `hevc`."""
    payload_type: int
    clock_hz: int
    control: str
    """Its address, whole or below the session's."""
    parameter_sets: bytes
    """Those that come with the description, each after a start code."""
    rate: Fraction | None
    """Frames a second, where it is said."""
    beside: tuple[str, ...]
    """Addresses of what comes with it: sound, words, another video."""


def first_video(text: str) -> tuple[str, Track | None]:
    """The address of the session (empty = it is the one that was asked for), and its first video.

    `None` where there is none, or none of a kind that is understood here.
    """
    session, *media = _sections(text)
    address = _attributes(session).get("control", "")
    for section in media:
        words = section[0].split()
        if words[0] == "video" and len(words) > 3:
            own, *others = (_attributes(each).get("control", "") for each in (section, *media))
            # Once each: a server that can send a track in two ways (profiles) lists it twice.
            beside = dict.fromkeys(other for other in others if other not in {"", own})
            return address, _track(words, _attributes(section), section, tuple(beside)[:_MOST_BESIDE])
    return address, None


def _sections(text: str) -> list[list[str]]:
    sections: list[list[str]] = [[]]
    for line in text.splitlines():
        name, _, value = line.strip().partition("=")
        if name == "m" and value:
            sections.append([value])
        elif name == "a":
            sections[-1].append(value)
    return sections


def _attributes(section: list[str]) -> dict[str, str]:
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in section)}


def _track(words: list[str], attributes: dict[str, str], section: list[str], beside: tuple[str, ...]) -> Track | None:
    number = words[3]
    mapped = _of(section, "rtpmap", number).split("/")
    codec = _CODECS.get(mapped[0].strip().upper())
    pairs = (pair.strip().partition("=") for pair in _of(section, "fmtp", number).split(";"))
    said = {name.lower(): value.strip() for name, _, value in pairs}
    interleaved = said.get("packetization-mode") == "2" or said.get("sprop-max-don-diff", "0") != "0"
    if words[2].upper() not in {"RTP/AVP", "RTP/AVP/TCP"} or codec is None or interleaved or len(mapped) < 2:
        return None
    rate = Fraction(attributes["framerate"]) if _RATE.fullmatch(attributes.get("framerate", "")) else Fraction(0)
    try:
        clock_hz = int(mapped[1])
        if clock_hz < _SLOWEST_CLOCK_HZ:
            return None
        return Track(
            codec=codec,
            payload_type=int(number),
            clock_hz=clock_hz,
            control=attributes.get("control", ""),
            parameter_sets=b"".join(START_CODE + unit for name in _SETS for unit in _decoded(said.get(name, ""))),
            rate=rate.limit_denominator(1001) or None,
            beside=beside,
        )
    except ValueError:
        return None


def _of(section: list[str], attribute: str, number: str) -> str:
    """The value of an attribute that is of this payload type."""
    for line in section:
        name, _, value = line.partition(":")
        of, _, rest = value.strip().partition(" ")
        if name.lower() == attribute and of == number:
            return rest.strip()
    return ""


def _decoded(text: str) -> Iterator[bytes]:
    for word in text.split(","):
        with contextlib.suppress(binascii.Error):
            if unit := base64.b64decode(word + "=" * (-len(word) % 4)):
                yield unit
