"""Video files."""

from __future__ import annotations

import contextlib
import errno
import math
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import av
from av import VideoFrame
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from streampose.errors import SourceCorrupt, SourceError, SourceNotFound, SourceUnsupported
from streampose.frame import StreamInfo
from streampose.sources.boxes import has_index_in_front
from streampose.sources.hwaccel import SOFTWARE, words
from streampose.sources.media import MediaSource
from streampose.sources.numbering import Numbering
from streampose.sources.seeking import INDEX_BEHIND, Beginning, FrameTable, index_is_behind, is_avi, read_table
from streampose.sources.spliced import SWING

__all__ = ["FileSource"]

# By what a file begins with, and where.
_KINDS = (
    (0, b"\x1a\x45\xdf\xa3", "an MKV or WebM"),
    (8, b"AVI ", "an AVI"),
    (0, b"\x06\x0e\x2b\x34", "an MXF"),
)
# Pictures that are waited for, at most, until two in a row are undamaged.
_HELD = 8


class FileSource(MediaSource):
    """A video file: every container and codec that PyAV opens, turned and mirrored as it says, times kept exactly.

    Of several videos it is the one that players show: the first that is marked as the default, or else the first.

    A FIFO, or a pipe (``/dev/stdin``), is read from its beginning to its end: once, and in software.

    A damaged packet is left out and counted (`skipped_packets`); in an MP4 its number is left
    out, too, and so is a picture that comes behind later ones because of it. A file that breaks
    off gives what comes before, then `SourceCorrupt`. Whether one does is not known of all kinds;
    see `Losses`.

    Args:
        path: of the file.
        threads: for decoding. One is right beside inference on a CPU: frame threads cost 12 % more CPU in all (corridor
            clip, 0.73 → 0.82 ms a frame), and the engines use every core anyway.
        hwaccel: what decodes: ``none`` (software), ``auto``, or a device (``cuda``, ``videotoolbox``, …).

    Raises:
        ConfigError: no such device.
    """

    def __init__(self, path: str | Path, *, threads: int = 1, hwaccel: str = SOFTWARE) -> None:
        self._path = Path(path)
        # "file:" keeps FFmpeg from reading a name like "a:b.mp4" or "-" as a protocol.
        super().__init__(f"file:{self._path}", threads=threads, hwaccel=hwaccel)
        self._numbering: Numbering | None = None
        self.begin: Beginning | None = None
        """Where to begin; see `Seeking`."""

    def open(self, stream: str) -> StreamInfo:
        """Open the file.

        Raises:
            SourceNotFound: no such file.
            SourceUnsupported: it is not video.
            SourceCorrupt: it is, but truncated or damaged from the start.
        """
        if not self._path.exists():
            raise SourceNotFound(f"no file at {self._path}")
        if self._path.is_dir():
            raise SourceUnsupported(
                f"{self._path} is a folder; a folder of images is read as images, a video is named itself"
            )
        if self._path.is_file() and self._path.stat().st_size == 0:
            raise SourceCorrupt(f"{self._path} is empty (0 bytes)")
        return super().open(stream)

    def table(self) -> FrameTable | None:
        """When its frames are shown, as far as that can be known without decoding; see `Seeking`."""
        return read_table(self._url)

    def _connect(self) -> InputContainer:
        self._options = {}
        try:
            return super()._connect()
        except (av.error.InvalidDataError, av.error.EOFError):
            if not self._path.is_file() or not has_index_in_front(self._path):
                raise
        # Where it can seek, FFmpeg walks all fragments before it opens, and gives up at one that is cut off.
        self._options = {"seekable": "0"}
        return super()._connect()

    def _packets(self, container: InputContainer, video: VideoStream) -> Iterator[Packet[VideoStream]]:
        table = None if self.begin is None else self.begin.table
        # Packets of an MP4 stand for frames one by one, and say when these are shown. In an AVI that is a guess.
        whole = table is not None or (video.frames and "mp4" in container.format.name.split(","))
        self._numbering = Numbering(table) if whole else None
        if self.begin is not None:
            container.seek(self.begin.seek_pts, stream=video)
        # Where several threads decode (0: up to 16), an error comes later, and may be of any of the last packets.
        recent: deque[int] = deque(maxlen=1 if self._threads == 1 else (self._threads or 16) + 1)
        for packet in super()._packets(container, video):
            numbering = self._numbering
            if numbering is not None and packet.size and packet.pts is not None and not packet.is_discard:
                numbering.read(packet.pts)
                recent.append(packet.pts)
            skipped = self.skipped_packets
            yield packet
            if numbering is not None and self.skipped_packets > skipped:
                for pts in recent:
                    numbering.lose(pts)

    def _pictures(self, container: InputContainer, video: VideoStream) -> Iterator[VideoFrame]:
        guessed = is_avi(container)
        pts = dts = math.inf  # of the picture before
        rate = video.average_rate or video.guessed_rate
        near = SWING / rate / video.time_base if rate and video.time_base else 0
        for picture in self._settled(super()._pictures(container, video)):
            if guessed:
                picture.pts = picture.dts
            if picture.pts is not None and picture.dts is not None:
                # A decoder that has lost a key frame gives out what it still holds behind the next one.
                if self._numbering is not None and self.skipped_packets and picture.pts < pts and picture.dts >= dts:
                    self.skipped_packets += 1
                    continue
                if picture.pts - picture.dts <= near:  # else its time is astray
                    pts, dts = picture.pts, picture.dts
            yield picture

    def _settled(self, pictures: Iterator[VideoFrame]) -> Iterator[VideoFrame]:
        """The same, the first of them once they have shown how they are numbered."""
        held: list[VideoFrame] = []
        try:
            self._settle(pictures, held)
        except SourceError:
            yield from held
            raise
        while held:
            yield held.pop(0)
        yield from pictures

    def _settle(self, pictures: Iterator[VideoFrame], held: list[VideoFrame]) -> None:
        for picture in pictures:
            held.append(picture)
            if self._numbering is None or len(held) == _HELD:
                break
            if len(held) == 1:
                continue
            if self.skipped_packets and not picture.interlaced_frame:
                break  # no packet is a field, and a picture may be left out by now
            if (fits := self._numbering.fits(held[-2].pts, picture.pts)) is not None:
                # Where a packet is a field, pictures are counted as they come.
                self._numbering = self._numbering if fits else None
                break

    def _number(self, pts: int | None) -> int:
        if self._numbering is None or pts is None:
            return self._index
        return max(self._index, self._numbering.number(pts))

    def _why_not(self, device: str) -> str | None:
        if not self._path.is_file():
            return "what is read once cannot be begun anew in software"
        return super()._why_not(device)

    @property
    def _name(self) -> str:
        return str(self._path)

    def _opening_error(self, error: Exception) -> SourceError:
        if isinstance(error, PermissionError):
            return SourceUnsupported(f"{self._path} cannot be read: permission denied")
        # A FIFO opened once more would wait for another writer.
        if not self._path.is_file() or not _is_of_damage(error):
            return super()._opening_error(error)
        head = b""
        with contextlib.suppress(OSError), self._path.open("rb") as file:
            head = file.read(12)
        if head[4:8] in {b"ftyp", b"mdat", b"wide", b"free"}:
            return SourceCorrupt(f"{self._path} is an MP4 without its index: it was cut off before it was finished")
        for at, mark, kind in _KINDS:
            if head.startswith(mark, at):
                return SourceCorrupt(
                    f"{self._path} is {kind} whose headers cannot be read: it was cut off, or is damaged"
                    f" ({words(error)})"
                )
        return super()._opening_error(error)

    def _reading_error(self, error: Exception) -> SourceError:
        if not self._path.is_file() and index_is_behind(self._container, self._index):
            return SourceUnsupported(f"{self._path} {INDEX_BEHIND} ({words(error)})")
        # FFmpeg says so of zeros; and of half an APNG, where it does not lack what the first picture needs.
        if isinstance(error, BlockingIOError) or (isinstance(error, av.error.PatchWelcomeError) and self._index):
            return SourceCorrupt(f"{self._path} breaks off: what follows is damaged or missing")
        return super()._reading_error(error)


def _is_of_damage(error: Exception) -> bool:
    """Whether FFmpeg may say so of a file that was cut; "I/O error" is what it says of an MKV."""
    return (
        isinstance(error, av.error.InvalidDataError | av.error.EOFError | av.error.PatchWelcomeError)
        or getattr(error, "errno", None) == errno.EIO
    )
