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
    number far from those before, once the next one follows it. Single packets of another SSRC count for
    nothing.
    """

    def __init__(self) -> None:
        self.sender = 0
        """The SSRC."""
        self.lost = 0
        """How many have never come. What may still come is not among them until `close`."""
        # Of this sender: the newest number, counted on where the 16 bits end; and its bit k: the k-th before it lacks.
        self._highest = self._missing = 0
        # `lost` when this sender began, and both when they were last told.
        self._lost_before = self._told_lost = self._told_highest = 0
        self._began, self._restart = False, (0, -1)

    def push(self, packet: bytes) -> None:
        """One packet of the stream, of whatever payload type."""
        if len(packet) < _HEADER.size:
            return
        bits, kind, sequence, _, sender = _HEADER.unpack_from(packet)
        if bits >> 6 != 2 or kind & 0x7F in _REPORTS:
            return
        known = self._began and sender == self.sender
        ahead = (sequence - self._highest) & 0xFFFF
        back = -ahead & 0xFFFF
        if known and 0 < ahead < _LONGEST:
            self._highest += ahead
            self._missing = (self._missing << ahead) + (1 << ahead) - 2
            self.lost += (self._missing >> _LATE).bit_count()
            self._missing &= (1 << _LATE) - 1
        elif known and back <= _LATE:
            self._missing &= ~(1 << back)
        elif not self._began or (sender, sequence) == self._restart:
            self._begin(sender, sequence)
        self._restart = sender, sequence + 1 & 0xFFFF

    def close(self) -> None:
        """Nothing more comes."""
        self.lost += self._missing.bit_count()
        self._missing = 0

    def report(self) -> bytes:
        """What a receiver report says of the sender.

        Returns:
            the share that was lost since the last report, how many of its packets were, and the highest number.
        """
        expected, lost = self._highest - self._told_highest, self.lost - self._told_lost
        self._told_highest, self._told_lost = self._highest, self.lost
        share = min(255, 256 * lost // expected) if expected > 0 else 0
        cumulative = min(self.lost - self._lost_before, 0x7FFFFF)
        return struct.pack("!II", share << 24 | cumulative, self._highest & 0xFFFFFFFF)

    def _begin(self, sender: int, sequence: int) -> None:
        self.close()
        self.sender, self._highest, self._began = sender, sequence, True
        self._told_highest, self._told_lost = sequence - 1, self.lost
        self._lost_before = self.lost
