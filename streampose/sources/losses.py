"""What a recording lacks: its end, or a part within."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from streampose.errors import SourceCorrupt
from streampose.sources.boxes import boxes
from streampose.sources.spliced import SWING

__all__ = ["Losses"]

log = logging.getLogger("streampose")

# What is lost is told from this on: ends are a little early for other reasons.
_TOLD_S = 0.5
# The largest AVI has four or so a gigabyte.
_CHUNKS = 10_000
_BELIEVED = 1 << 50  # bytes: no file has more
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


class Losses:
    """Follows the packets of a recording, and tells what is missing.

    FFmpeg comes to the end of a file that was cut, or whose rest it cannot make out, as to any other. What shows the
    difference is what the container promised, or a last packet that is not whole. MPEG-TS, MPEG-PS, WMV and bare
    streams promise nothing.

    Args:
        container: open.
        video: of it.
        name: for messages.
    """

    def __init__(self, container: InputContainer, video: VideoStream, name: str) -> None:
        self._video, self._name = video, name
        self._url, self._format = container.name, container.format.name
        self._unit = video.time_base or Fraction(1)
        self._step = Fraction(1) / video.average_rate / self._unit if video.average_rate else None
        self._long: float | None = None
        # FFmpeg finds its way in Matroska again behind what is damaged, and marks nothing.
        if "matroska" in self._format and self._step is not None:
            self._long = max(float(SWING * self._step), _TOLD_S / float(self._unit))
        self._packets = 0
        self._first_pts = self._last_pts = self._lasts = 0  # _lasts: of what is shown last, which may not come last
        self._last: Packet[VideoStream] | None = None

    def followed(self, packets: Iterable[Packet[VideoStream]]) -> Iterator[Packet[VideoStream]]:
        """The same packets.

        Raises:
            SourceCorrupt: what seems to be the end is none.
        """
        for packet in packets:
            self._follow(packet)
            yield packet
        if (lacks := self._lacks()) is not None:
            raise SourceCorrupt(f"{self._name} breaks off: {lacks}")

    def _follow(self, packet: Packet[VideoStream]) -> None:
        if packet.size:
            self._last = packet
        if packet.pts is None:
            return
        if not self._packets:
            self._first_pts = self._last_pts = packet.pts
        if self._long is not None and packet.pts - self._last_pts > self._long and self._is_regular():
            from_s, to_s = float(self._last_pts * self._unit), float(packet.pts * self._unit)
            text = "%s: no frame comes between %.3f and %.3f s, and before they came evenly: a part may be lost"
            log.warning(text, self._name, from_s, to_s, extra={"event": "damaged"})
            self._long = None  # told once
        self._packets += 1
        if packet.pts >= self._last_pts:
            self._last_pts, self._lasts = packet.pts, packet.duration or 0

    def _lacks(self) -> str | None:
        """Its end, in words; `None` = it is there, as far as can be known."""
        if (last := self._last) is None:
            return None
        if lacking_s := self._lacking_s():
            return f"its last {lacking_s:.1f} s are missing"
        if lacking_bytes := self._lacking_bytes():
            return f"its last {lacking_bytes} bytes are missing"
        if last.is_corrupt and self._format != "mpegts":  # of which it says something else, too
            return "its last frame is cut off"
        if self._format == "gif" and not _closes(bytes(last)):
            return "what follows is damaged or missing"
        return None

    def _lacking_s(self) -> float:
        if not self._packets or (end := self._promised_end()) is None:
            return 0.0
        lacking_s = float((end - self._last_pts - max(self._step or 0, self._lasts)) * self._unit)
        return lacking_s if lacking_s > _TOLD_S else 0.0

    def _promised_end(self) -> Fraction | int | None:
        """In units, if the container can be believed."""
        video = self._video
        if "matroska" in self._format:
            return self._tagged_end() if self._is_regular() else None
        if not video.duration:
            return None
        if self._format == "mxf":  # says no number of frames
            return (video.start_time or 0) + video.duration
        # Fewer than promised alone mean nothing, for an edit list may leave some out; nor does an early end alone.
        if self._packets >= video.frames:
            return None
        if self._format != "avi":
            return (video.start_time or 0) + video.duration
        # Those of an AVI may be empty, which FFmpeg's index leaves out, and stand for the picture before them. What it
        # says of an AVI's duration is less where the file is; its unit is a frame.
        came = self._packets >= len(video.index_entries)
        if came and self._file is not None and _is_whole_avi(self._file):
            return None
        return (video.start_time or 0) + video.frames

    def _tagged_end(self) -> Fraction | None:
        """By the tag that says how long a track is: 00:01:07.920000000."""
        tag = re.fullmatch(
            r"([0-9]{1,4}):([0-5][0-9]):([0-5][0-9](\.[0-9]{1,9})?)", self._video.metadata.get("DURATION", "")
        )
        return None if tag is None else (3600 * int(tag[1]) + 60 * int(tag[2]) + Fraction(tag[3])) / self._unit

    def _is_regular(self) -> bool:
        """Whether pictures came at the rate that the container names: then none is meant to stand for long."""
        if self._step is None or self._packets <= SWING:
            return False
        return (self._last_pts - self._first_pts) / self._step + 1 - self._packets <= SWING

    @property
    def _file(self) -> Path | None:
        path = Path(self._url.removeprefix("file:"))
        return path if self._url.startswith("file:") and path.is_file() else None

    def _lacking_bytes(self) -> int:
        """Of a Matroska or fragmented MP4 file, by the sizes in it."""
        if (path := self._file) is None:
            return 0
        end = None
        if "matroska" in self._format:
            with path.open("rb") as file:
                end = _segment_end(file.read(4096))
        elif "mp4" in self._format.split(",") and self._packets > self._video.frames:  # which are of the first part
            end = max((end for _, end in boxes(path)), default=None)
        return 0 if end is None else max(0, end - path.stat().st_size)


def _segment_end(head: bytes) -> int | None:
    """Where a Matroska file ends, by its head; `None` = that does not say it, as of one that was written live."""
    if not head.startswith(_EBML):
        return None
    at, size, _ = _number(head, len(_EBML))
    if head[at + size : at + size + len(_SEGMENT)] != _SEGMENT:
        return None
    at, size, unknown = _number(head, at + size + len(_SEGMENT))
    return None if unknown or size >= _BELIEVED else at + size


def _number(data: bytes, at: int) -> tuple[int, int, bool]:
    """Where a number of EBML ends, what it is, and whether it stands for "unknown", or is none."""
    length = 9 - data[at : at + 1].ljust(1, b"\1")[0].bit_length()
    most = (1 << 7 * length) - 1
    value = int.from_bytes(data[at : at + length], "big") & most
    return at + length, value, value == most or length > 8


def _is_whole_avi(path: Path) -> bool:
    """Whether its chunks end where the file does."""
    size, at = path.stat().st_size, 0
    with path.open("rb") as file:
        for _ in range(_CHUNKS):
            file.seek(at)
            kind, length = file.read(4), int.from_bytes(file.read(4), "little")
            if kind not in {b"RIFF", b"LIST", b"JUNK", b"idx1"}:
                return False
            at += 12 if kind == b"RIFF" else 8 + length + length % 2
            if at >= size:
                return at <= size + 1  # the last may be of an odd length
    return False


def _closes(packet: bytes) -> bool:
    """Whether the last packet of a GIF is what it should be: blocks, one behind the other, and a trailer."""
    at = 13 + _palette(packet, 10) if packet.startswith(b"GIF8") else 0
    while (kind := packet[at : at + 1]) in {b"\x21", b"\x2c"}:
        at += 2 if kind == b"\x21" else 11 + _palette(packet, at + 9)
        while at < len(packet) and packet[at]:
            at += 1 + packet[at]
        at += 1
    return kind == b"\x3b"


def _palette(packet: bytes, at: int) -> int:
    """The length of the palette that the flags there tell of."""
    flags = packet[at] if at < len(packet) else 0
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0
