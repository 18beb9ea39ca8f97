"""Which packets of an RTP stream never came, by their numbers (RFC 3550, appendix A.1)."""

from __future__ import annotations

import struct

__all__ = ["Gaps"]

_HEADER = struct.Struct("!BBHII")
# A number further ahead is of a sender that began anew, not behind so many that are lost.
_LONGEST = 3000
# A packet that so many have overtaken does not come any more.
_LATE = 100
# Reports that share a channel with media have a payload type of these (RFC 5761).
_REPORTS = range(64, 96)


class Gaps:
    """Counts packets that others came behind and that did not come themselves.

    Numbers go on where their 16 bits end. Nothing is lost where a sender begins anew: with another SSRC, or with a
    number far from those before, once the next one follows it.
    """

    def __init__(self) -> None:
        self.sender = 0
        """The SSRC of the last packet."""
        self.highest = 0
        """Number of the newest packet, counted on where the 16 bits end."""
        self._missing: dict[int, None] = {}
        self._lost = self._told_lost = self._told_highest = 0
        self._began, self._restart = False, -1

    def push(self, packet: bytes) -> None:
        """One packet of the stream, of whatever payload type."""
        if len(packet) < _HEADER.size:
            return
        bits, kind, sequence, _, sender = _HEADER.unpack_from(packet)
        if bits >> 6 != 2 or kind & 0x7F in _REPORTS:
            return
        if not self._began or sender != self.sender:
            self._begin(sender, sequence)
            return
        ahead = (sequence - self.highest) & 0xFFFF
        if ahead < _LONGEST:
            self._missing.update(dict.fromkeys(range(self.highest + 1, self.highest + ahead)))
            self.highest += ahead
            while self._missing and (oldest := next(iter(self._missing))) <= self.highest - _LATE:
                del self._missing[oldest]
                self._lost += 1
        elif ahead >= (1 << 16) - _LATE:
            self._missing.pop(self.highest - (1 << 16) + ahead, None)
        elif sequence == self._restart:
            self._begin(sender, sequence)
            return
        self._restart = sequence + 1 & 0xFFFF

    @property
    def lost(self) -> int:
        """How many have never come. What may still come is not among them until `close`."""
        return self._lost

    def close(self) -> None:
        """Nothing more comes."""
        self._lost += len(self._missing)
        self._missing.clear()

    def report(self) -> bytes:
        """What a receiver report says of it: the share that was lost since the last one, all, the highest number."""
        expected, lost = self.highest - self._told_highest, self._lost - self._told_lost
        self._told_highest, self._told_lost = self.highest, self._lost
        share = min(255, 256 * lost // expected) if expected > 0 else 0
        return struct.pack("!II", share << 24 | min(self._lost, 0x7FFFFF), self.highest & 0xFFFFFFFF)

    def _begin(self, sender: int, sequence: int) -> None:
        self.close()
        self.sender, self.highest, self._began = sender, sequence, True
        self._told_highest = sequence - 1
        self._restart = sequence + 1 & 0xFFFF
