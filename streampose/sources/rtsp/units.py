"""RTP packets to access units, the coded pictures of H.264 (RFC 6184) and H.265 (RFC 7798)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from streampose.sources.rtsp.description import START_CODE

__all__ = ["AccessUnit", "AccessUnits"]

_HEADER = struct.Struct("!BBHII")
_LENGTH = struct.Struct("!H")
# No camera's picture is so large: what claims to be is given up.
_MAX_BYTES = 32 << 20
# What Python takes to keep a part.
_PART_BYTES = 64
# Headers of VPS and SPS of H.265, and the profiles that an SPS of H.264 names behind its own.
_HEVC_SETS = {b"\x40\x01", b"\x42\x01"}
_PROFILES = {44, 66, 77, 88, 100, 110, 118, 122, 128, 244}


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessUnit:
    """One coded picture."""

    data: bytes
    """Its NAL units, each after a start code."""
    rtp_time: int
    """Of the media clock, counted on where RTP's 32 bits begin anew."""
    is_keyframe: bool
    """A decoder can begin here."""


class AccessUnits:
    """Puts them together. A picture ends with the packet that carries RTP's marker bit.

    That is believed from the first picture on that shows it: one whose last packet alone has the bit, whatever comes
    before its slices, since some cameras mark each unit of parameters, too. Of a sender that is then found to set it in
    the middle of a picture, pictures end where the next one begins. Two may have one time: what begins a picture,
    behind the end of one, is the next.

    Args:
        codec: `h264` or `hevc`.
        payload_type: of the packets; others are passed over.
    """

    def __init__(self, codec: str, payload_type: int) -> None:
        self._hevc, self._payload_type = codec == "hevc", payload_type
        self._parts: list[bytes] = []
        self._bytes = 0
        self._sequence: int | None = None
        self._rtp_time, self._time = 0, 0
        # Of what is being put together: it has a slice, and its first one begins a picture; a decoder can begin; a
        # fragmented unit is open; markers so far.
        self._pictured = self._begun = self._key = self._open = False
        self._markers, self._last_marked = 0, False
        self._believes = self._lied = self._given = False
        self._sender = 0
        self.shown: str | None = None
        """The codec whose parameters came last, whatever was announced."""
        self.others = 0
        """How many parameters in a row were of another codec than this; one may be damage."""

    def push(self, packet: bytes) -> Iterator[AccessUnit]:
        """One RTP packet.

        Yields:
            the picture that it ends, or that was ended before it, or both.
        """
        if len(packet) < _HEADER.size:
            return
        bits, kind, sequence, rtp_time, sender = _HEADER.unpack_from(packet)
        if bits >> 6 != 2 or kind & 0x7F != self._payload_type:
            return
        begin, end = _HEADER.size + 4 * (bits & 0x0F), len(packet)
        if bits & 0x10 and begin + 4 <= end:
            begin += 4 + 4 * _LENGTH.unpack_from(packet, begin + 2)[0]
        if bits & 0x20:
            end -= packet[-1]
        anew = self._sequence is None or sender != self._sender
        if anew or rtp_time != self._rtp_time:
            yield from self._next_picture()
            passed = (rtp_time - self._rtp_time) & 0xFFFFFFFF
            self._time += rtp_time if self._sequence is None else passed - ((passed & 0x80000000) << 1)
            self._rtp_time = rtp_time
        if not anew and sequence != (self._sequence or 0) + 1 & 0xFFFF:
            # A part of a fragmented unit is missing: the rest of it is worth nothing. And who lies is not seen by it.
            self._open = self._given = False
        self._sequence, self._sender = sequence, sender
        if begin < end:
            self._payload(packet, begin, end)
        self._last_marked = bool(kind & 0x80)
        self._markers += self._last_marked and (self._pictured or self._given)
        if self._given and self._pictured and not self._begun:  # slices after the end of their picture
            self._believes, self._lied = False, True
        elif self._last_marked and self._believes and self._pictured:
            self._given = True
            yield self._unit()

    def _next_picture(self) -> Iterator[AccessUnit]:
        """The time of media has changed: what there is, is whole."""
        if self._pictured:
            self._believes = not self._lied and self._last_marked and self._markers == 1
            yield self._unit()
        self._given, self._markers = False, 0  # what is no picture yet (parameter sets) belongs to the next

    def _unit(self) -> AccessUnit:
        unit = AccessUnit(data=b"".join(self._parts), rtp_time=self._time, is_keyframe=self._key)
        self._clear()
        return unit

    def _clear(self) -> None:
        self._parts, self._bytes = [], 0
        self._pictured = self._begun = self._key = self._open = False

    def _payload(self, packet: bytes, begin: int, end: int) -> None:
        """Single units, several in one packet (STAP-A, AP), and parts of one (FU-A, FU)."""
        header = 2 if self._hevc else 1
        if end - begin <= header:
            return
        if (shown := _shown(packet[begin : begin + 6])) is not None:
            self.shown, self.others = shown, self.others + 1 if (shown == "hevc") != self._hevc else 0
        kind = self._kind(packet[begin])
        if kind == (48 if self._hevc else 24):
            at = begin + header
            while at + 2 < end:
                (length,) = _LENGTH.unpack_from(packet, at)
                at += 2
                if not 0 < length <= end - at:
                    return
                self._begin(packet[at : at + length])
                at += length
            self._open = False
        elif kind == (49 if self._hevc else 28):
            self._fragment(packet, begin, end, header)
        elif kind < (48 if self._hevc else 24):
            self._begin(packet[begin:end])
            self._open = False

    def _fragment(self, packet: bytes, begin: int, end: int, header: int) -> None:
        flags = packet[begin + header]
        if flags & 0x80:
            first = packet[begin]
            if self._hevc:
                unit_header = bytes([first & 0x81 | (flags & 0x3F) << 1, packet[begin + 1]])
            else:
                unit_header = bytes([first & 0xE0 | flags & 0x1F])
            self._open = True
            self._begin(unit_header + packet[begin + header + 1 : end])
        elif self._open:
            self._add(packet[begin + header + 1 : end])
        elif self._given:  # more of what was taken to be over
            self._believes, self._lied = False, True
        if flags & 0x40:
            self._open = False

    def _kind(self, first: int) -> int:
        return first >> 1 & 0x3F if self._hevc else first & 0x1F

    def _begin(self, unit: bytes) -> None:
        """A NAL unit, or its first part."""
        kind = self._kind(unit[0])
        is_slice = kind < 32 if self._hevc else 1 <= kind <= 5
        if is_slice and not self._pictured:  # a slice's first bit: it is the first one of its picture
            header = 2 if self._hevc else 1
            self._pictured, self._begun = True, unit[header : header + 1] >= b"\x80"
        if self._hevc:
            self._key |= 16 <= kind <= 21 or kind == 33
        else:  # a sequence's parameters are sent where one can begin, also by encoders that refresh bit by bit
            self._key |= kind in {5, 7}
        self._add(START_CODE + unit)

    def _add(self, part: bytes) -> None:
        self._bytes += len(part) + _PART_BYTES
        if self._bytes > _MAX_BYTES:
            self._clear()
            return
        self._parts.append(part)


def _shown(begin: bytes) -> str | None:
    """The codec whose parameters a payload begins with, alone or with others; `None` = it is something else.

    No such header of one codec's is one of the other's: in H.264 they were of the types 0 and 2, which RTP does not
    carry, and in H.265 of a layer above 31.
    """
    if begin[:2] == b"\x60\x01" or begin[:2] in _HEVC_SETS:  # several in one packet, or one
        return "hevc" if begin[:2] in _HEVC_SETS or begin[4:6] in _HEVC_SETS else None
    unit = begin[3:5] if begin[0] & 0x9F == 24 else begin[:2]
    return "h264" if len(unit) == 2 and unit[0] & 0x9F == 7 and unit[1] in _PROFILES else None
