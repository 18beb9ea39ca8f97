"""What a sender reports of its clock, and what it is told in turn (RTCP, RFC 3550)."""

from __future__ import annotations

import struct

__all__ = ["SenderClock"]

_SENDER_REPORT, _RECEIVER_REPORT, _SOURCE_DESCRIPTION, _BYE = 200, 201, 202, 203
_REPORT = struct.Struct("!BBHIIII")
# Seconds from 1900, where NTP begins, to 1970.
_NTP_TO_UNIX_S = 2_208_988_800


class SenderClock:
    """The camera's wall clock, by its sender reports."""

    def __init__(self, clock_hz: int) -> None:
        self._clock_hz = clock_hz
        self._unix_s: float | None = None
        self._rtp_time = self._middle = 0
        self.said_bye = False

    def push(self, packet: bytes) -> bool:
        """One compound packet; whether it has a sender report, which wants an answer."""
        at, reported = 0, False
        while at + 8 <= len(packet):
            kind, words = packet[at + 1], int.from_bytes(packet[at + 2 : at + 4], "big")
            if kind == _SENDER_REPORT and at + _REPORT.size <= len(packet):
                _, _, _, _, seconds, fraction, self._rtp_time = _REPORT.unpack_from(packet, at)
                self._unix_s = seconds - _NTP_TO_UNIX_S + fraction / 2**32 if seconds else None
                self._middle = (seconds & 0xFFFF) << 16 | fraction >> 16
                reported = True
            elif kind == _BYE:
                self.said_bye = True
            at += 4 * (words + 1)
        return reported

    def wall_time_s(self, rtp_time: int) -> float | None:
        """Unix seconds of a media time (its lowest 32 bits count); `None` = nothing was reported yet."""
        if self._unix_s is None:
            return None
        passed = (rtp_time - self._rtp_time) & 0xFFFFFFFF
        return self._unix_s + (passed - ((passed & 0x80000000) << 1)) / self._clock_hz

    def answer(self, me: int, sender: int, gaps: bytes) -> bytes:
        """A receiver report, without which some cameras end a session.

        Args:
            me: our SSRC.
            sender: theirs.
            gaps: `Gaps.report`.
        """
        block = struct.pack("!I8sIII", sender, gaps, 0, self._middle, 0)
        name = b"\x01\x0astreampose\x00\x00\x00\x00"
        return (
            struct.pack("!BBHI", 0x81, _RECEIVER_REPORT, 7, me)
            + block
            + struct.pack("!BBHI", 0x81, _SOURCE_DESCRIPTION, (4 + len(name)) // 4, me)
            + name
        )
