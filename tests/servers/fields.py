"""Interlaced H.264 whose pictures are two fields, coded one by one, as broadcasters and camcorders do."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av

# In macroblocks; the height of a field.
_WIDTH, _HEIGHT = 4, 2


class _Bits:
    def __init__(self) -> None:
        self.text = ""

    def u(self, count: int, value: int) -> _Bits:
        self.text += f"{value:0{count}b}"
        return self

    def ue(self, *values: int) -> _Bits:
        for value in values:
            code = f"{value + 1:b}"
            self.text += "0" * (len(code) - 1) + code
        return self

    def align(self) -> _Bits:
        self.text += "0" * (-len(self.text) % 8)
        return self

    def unit(self, header: int) -> bytes:
        """As a NAL unit; nothing here needs escaping but zeros."""
        body = self.u(1, 1).align().text
        raw, out, zeros = int(body, 2).to_bytes(len(body) // 8, "big"), bytearray(), 0
        for byte in raw:
            if zeros == 2 and byte <= 3:
                out.append(3)
                zeros = 0
            out.append(byte)
            zeros = zeros + 1 if byte == 0 else 0
        return b"\0\0\0\1" + bytes([header]) + bytes(out)


def _parameters() -> bytes:
    sps = _Bits().u(8, 77).u(8, 0).u(8, 30).ue(0, 0, 2, 1).u(1, 0).ue(_WIDTH - 1, _HEIGHT - 1).u(6, 0b001000)
    pps = _Bits().ue(0, 0).u(2, 0).ue(0, 0, 0).u(3, 0).ue(0, 0, 0).u(3, 0)
    return sps.unit(0x67) + pps.unit(0x68)


def _field(grey: int, *, bottom: bool, key: bool, number: int) -> bytes:
    """All of one grey, uncompressed."""
    bits = _Bits().ue(0, 7, 0).u(4, number).u(1, 1).u(1, bottom)
    bits = bits.ue(0).u(2, 0) if key else bits.u(1, 0)
    bits.ue(0)
    for _ in range(_WIDTH * _HEIGHT):
        bits.ue(25).align().u(8 * 384, int.from_bytes(bytes([grey]) * 256 + bytes([128]) * 128, "big"))
    return bits.unit(0x65 if key else 0x61)


def interlaced(path: Path, pictures: int) -> Path:
    """An MP4 of 25 pictures a second, one packet a field."""
    fields = [
        (b"" if bottom or i else _parameters()) + _field(16 + 8 * i, bottom=bottom, key=not i and not bottom, number=i)
        for i in range(pictures)
        for bottom in (False, True)
    ]
    raw = path.with_suffix(".h264")
    raw.write_bytes(b"".join(fields))
    with av.open(str(raw)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        stream.time_base = Fraction(1, 50)
        for i, data in enumerate(fields):
            packet = av.Packet(data)
            packet.stream, packet.time_base, packet.is_keyframe = stream, Fraction(1, 50), i == 0
            packet.pts = packet.dts = i
            packet.duration = 1
            target.mux(packet)
    return path
