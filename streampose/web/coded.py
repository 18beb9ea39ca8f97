"""How large an encoded picture is, before anything is decoded: a few bytes can ask a decoder for a gigabyte."""

from __future__ import annotations

import re

__all__ = ["coded_size"]

_START_CODE = re.compile(rb"\x00\x00\x01")
_SPS = 7
_MARK = b"\x9d\x01\x2a"
# Profiles whose sequence parameters say how colours are stored (H.264, 7.3.2.1.1).
_WITH_CHROMA = {100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135}
# Bytes of a sequence parameter set up to its size are fewer than this, scaling lists included.
_ENOUGH = 1024


def coded_size(codec: str, data: bytes) -> tuple[int, int] | None:
    """Width and height that a frame tells its decoder; `None` = it tells none, as most frames do.

    Args:
        codec: ``VP8`` (RFC 6386, 9.1) or ``H264`` (ITU-T H.264, 7.3.2.1.1).
        data: of one frame; H.264 with start codes.
    """
    if codec == "VP8":
        if len(data) < 10 or data[0] & 1 or data[3:6] != _MARK:
            return None
        return int.from_bytes(data[6:8], "little") & 0x3FFF, int.from_bytes(data[8:10], "little") & 0x3FFF
    sizes = [_sps_size(part) for part in _START_CODE.split(data)[1:] if part and part[0] & 0x1F == _SPS]
    return max((size for size in sizes if size is not None), key=lambda size: size[0] * size[1], default=None)


class _Bits:
    """Reads a bit string; beyond its end it is zeros."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def take(self, count: int) -> int:
        self._left -= count
        return (self._value >> self._left if self._left >= 0 else 0) & ((1 << count) - 1)

    def golomb(self) -> int:
        """An unsigned Exp-Golomb code (9.1)."""
        zeros = 0
        while zeros < 32 and self._left > 0 and not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)

    def signed(self) -> int:
        code = self.golomb()
        return (code + 1) // 2 if code % 2 else -(code // 2)


def _sps_size(nal: bytes) -> tuple[int, int] | None:
    """Of a sequence parameter set, without its cropping."""
    bits = _Bits(nal[1:_ENOUGH].replace(b"\x00\x00\x03", b"\x00\x00"))
    profile = bits.take(8)
    bits.take(16)  # constraints, level
    bits.golomb()
    if profile in _WITH_CHROMA:
        chroma = bits.golomb()
        if chroma == 3:
            bits.take(1)
        bits.golomb(), bits.golomb(), bits.take(1)  # depths, lossless
        if bits.take(1):
            for i in range(8 if chroma != 3 else 12):
                if bits.take(1):
                    _skip_scaling(bits, 16 if i < 6 else 64)
    bits.golomb()
    order = bits.golomb()
    if order == 0:
        bits.golomb()
    elif order == 1:
        bits.take(1), bits.golomb(), bits.golomb()
        for _ in range(min(bits.golomb(), 255)):
            bits.golomb()
    bits.golomb(), bits.take(1)  # reference frames, gaps
    width, rows = bits.golomb() + 1, bits.golomb() + 1
    return 16 * width, 16 * rows * (1 if bits.take(1) else 2)


def _skip_scaling(bits: _Bits, count: int) -> None:
    last = following = 8
    for _ in range(count):
        if following:
            following = (last + bits.signed()) % 256
        last = following or last
