"""Decoding with PyAV: what files, network streams and cameras have in common."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction

import av
from av.container import InputContainer
from av.format import Flags
from av.packet import Packet
from av.stream import Discard
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from streampose.errors import SourceCorrupt, SourceEnded, SourceError, SourceUnsupported
from streampose.frame import Frame, Image, Latent, StreamInfo
from streampose.redaction import redact, spaced
from streampose.sources.conversion import Conversion, pixel_aspect
from streampose.sources.fields import are_woven
from streampose.sources.hwaccel import SOFTWARE, accelerator, candidates, why_not, words
from streampose.sources.losses import Losses
from streampose.sources.spliced import Spliced, followed
from streampose.sources.track import main_video, packets_of

__all__ = ["NO_TIME_BASE", "MediaSource"]

log = logging.getLogger("streampose")

NO_TIME_BASE = Fraction(1, 90_000)


class MediaSource:
    """A source that PyAV opens. The subclasses say what, how, and what an error means.

    Args:
        url: what PyAV shall open.
        options: of FFmpeg's demuxer.
        timeouts_s: for opening and for each read; `None` = no limit.
        hwaccel: what decodes: ``none`` (software), ``auto`` (the first device that can), or a device (``cuda``, …). One
            that cannot is passed over for software, and `StreamInfo.hwaccel_note` says why.

    Raises:
        ConfigError: no such device.
    """

    live: bool = False

    def __init__(
        self,
        url: str,
        *,
        options: Mapping[str, str] | None = None,
        container_format: str | None = None,
        timeouts_s: tuple[float, float] | None = None,
        threads: int = 1,
        hwaccel: str = SOFTWARE,
    ) -> None:
        self._url = url
        self._options = dict(options or {})
        self._format = container_format
        self._timeouts_s = timeouts_s
        self._threads = threads
        self._convert = Conversion()
        self._devices = candidates(hwaccel)
        self._decodes_on: str | None = None
        self._container: InputContainer | None = None
        self._frames: Iterator[Frame] | None = None
        self._first: Frame | None = None
        self._spliced = Spliced(1, NO_TIME_BASE)
        self._index = 0
        self._refusal: str | None = None
        self.skipped_packets = 0
        """Damaged packets that were left out; decoding went on after them. Of a live source over all connections."""
        self.damaged_pictures = 0
        """Those that the decoder knows to be so, and gives out."""
        self.wanted: Callable[[int, float], bool] | None = None
        """Which frames are given out; the others are not converted. See `Selecting`."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({redact(self._url)!r})"

    def open(self, stream: str) -> StreamInfo:
        """Open the container and find its video.

        Raises:
            SourceError: of the kind that fits.
        """
        passed_over: list[str] = []
        for device in self._devices:
            if (why := self._why_not(device)) is not None:
                passed_over.append(f"{device}: {why}")
                continue
            try:
                return self._open_on(device, stream, passed_over)
            except SourceError as error:
                if not isinstance(error, SourceUnsupported | SourceCorrupt):
                    raise  # not the device's fault, and no better a second time
                self.close()
                passed_over.append(f"{device}: {words(error.__cause__ or error)}")
        return self._open_on(None, stream, passed_over)

    def _open_on(self, device: str | None, stream: str, passed_over: list[str]) -> StreamInfo:
        if not self.live:
            self.skipped_packets = self.damaged_pictures = 0
            self._convert.forget()
        try:
            self._decodes_on = device
            self._container = container = self._connect()
        except SourceError:
            raise
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise self._opening_error(error) from error
        if (video := self._chosen(container.streams.video)) is None:
            raise SourceUnsupported(f"{self._name} has no video in it")
        if (codec := video.codec_context) is None:
            raise SourceUnsupported(f"{self._name} has video of a kind that this FFmpeg cannot decode")
        for other in container.streams:
            if other is not video:
                other.discard = Discard.all  # sound and subtitles are not even read
        video.thread_type = "SLICE" if self.live or self._threads == 1 else "AUTO"
        codec.thread_count = self._threads
        self._convert.name, self._convert.pixel_aspect = self._name, pixel_aspect(video)
        self._convert.are_woven = are_woven(codec.name)
        self._frames = self._decode(container, video, stream)
        # Rotation is known only with the first picture, and so is whether anything can be decoded at all.
        self._first = next(self._frames, None)
        height, width = (video.height, video.width) if self._first is None else self._first.size_px[::-1]
        # Only the first picture shows it: a device may take the codec and then not this profile of it. The decoder's
        # format is then a software one; the pictures' own always is, since they were brought to memory.
        decodes = device is not None and codec.pix_fmt in {
            config.format.name for config in codec.codec.hardware_configs if config.format is not None
        }
        if device is not None and not decodes:
            passed_over = [*passed_over, f"{device}: it does not decode this {codec.name}"]
        note = "; ".join(passed_over) or None
        if note is not None and not decodes:
            log.warning("%s: decoded in software (%s)", self._name, note, extra={"stream": stream})
        return StreamInfo(
            width_px=width,
            height_px=height,
            time_base=self._unit(container, video),
            rate=video.average_rate,
            frames=video.frames or None,
            duration_s=container.duration / av.time_base if container.duration else None,
            codec=codec.name,
            hwaccel=device if decodes else None,
            hwaccel_note=note,
        )

    def _connect(self) -> InputContainer:
        return av.open(
            spaced(self._url),
            format=self._format,
            options=self._options,
            timeout=self._timeouts_s,
            metadata_errors="replace",
            hwaccel=None if self._decodes_on is None else accelerator(self._decodes_on),
        )

    def read(self) -> Frame | None:
        """The next frame, or `None` at the end.

        Raises:
            SourceCorrupt: the media breaks off, or nothing in it could be decoded.
            Disconnected: a live source went away.
        """
        first, self._first = self._first, None
        return first or (None if self._frames is None else next(self._frames, None))

    def close(self) -> None:
        """Close the container."""
        counts = {("packet", "left out"): self.skipped_packets, ("picture", "kept"): self.damaged_pictures}
        for (what, done), count in counts.items() if self._frames is not None and not self.live else ():
            if count:
                text = f"%s: %d damaged {what}{' was' if count == 1 else 's were'} {done}"
                log.warning(text, self._name, count, extra={"event": "damaged"})
        self._frames = self._first = None
        if self._container is not None:
            self._container.close()
            self._container = None

    def _decode(self, container: InputContainer, video: VideoStream, stream: str) -> Iterator[Frame]:
        time_base = self._unit(container, video)
        # What a frame without a timestamp is taken to last.
        rate = video.average_rate or video.guessed_rate  # a jump of the times leaves no average
        step = max(1, round(1 / rate / time_base)) if rate else 1
        self._spliced = Spliced(step, time_base, restarts=Flags.ts_discont in Flags(container.format.flags))
        self._index, self._refusal = 0, None
        for picture, following in followed(self._pictures(container, video), live=self.live):
            own = self._spliced.believed(picture.pts, following)
            self._index = self._number(own)
            captured_at, wall_time_s = self._arrival(picture)
            pts = self._place(own, time_base, captured_at)
            if self._is_stale(captured_at) or not (
                self.wanted is None or self.wanted(self._index, float(pts * time_base))
            ):
                self._convert.passed(picture)
                self._index += 1
                continue
            if (image := self._converted(picture)) is None:
                self.skipped_packets, self._index = self.skipped_packets + 1, self._index + 1
                continue
            self.damaged_pictures += picture.is_corrupt
            yield Frame(
                stream=stream,
                index=self._index,
                pts=pts,
                time_base=time_base,
                captured_at=captured_at,
                wall_time_s=wall_time_s,
                image=image,
            )
            self._index += 1
        if self._index == 0:
            why = "" if self._refusal is None else f": {self._refusal}"
            raise SourceCorrupt(f"{self._name} opens as video, but not one picture in it could be decoded{why}")

    def _pictures(self, container: InputContainer, video: VideoStream) -> Iterator[VideoFrame]:
        """Every picture that can be decoded; damaged packets are counted and left out."""
        packets = self._packets(container, video)
        while True:
            try:
                packet = next(packets, None)
            except SourceError:
                raise
            except (av.error.FFmpegError, OSError) as error:
                yield from self._flush(video)
                raise self._reading_error(error) from error
            if packet is None:
                break
            try:
                yield from packet.decode()  # the last packet is empty, and empties the decoder
            except (av.error.InvalidDataError, av.error.PatchWelcomeError) as error:  # damage may ask for what is rare
                self.skipped_packets += 1
                self._refusal = words(error)  # and not with what it holds
            except av.error.FFmpegError as error:
                if not self.live:
                    raise self._reading_error(error) from error
                self.skipped_packets += 1  # if nothing better comes, the watchdog ends it
        self._ended()

    # What a live source does in another way: live_media.py; and a FIFO: file.py.

    def _packets(self, container: InputContainer, video: VideoStream) -> Iterator[Packet[VideoStream]]:
        return Losses(container, video, self._name).followed(packets_of(container, video))

    def _chosen(self, videos: Sequence[VideoStream]) -> VideoStream | None:
        return main_video(videos)

    def _converted(self, picture: VideoFrame) -> Image | Latent | None:
        return self._convert.attempt(picture)

    def _number(self, pts: int | None) -> int:
        """Of the next picture; at least `_index`."""
        return self._index

    def _unit(self, container: InputContainer, video: VideoStream) -> Fraction:
        return video.time_base or NO_TIME_BASE

    def _arrival(self, picture: VideoFrame) -> tuple[float, float | None]:
        """Monotonic seconds when it came here, and Unix seconds when its camera took it."""
        return time.monotonic(), None

    def _is_stale(self, captured_at: float) -> bool:
        return False

    def _why_not(self, device: str) -> str | None:
        return why_not(device)

    def _place(self, pts: int | None, unit: Fraction, captured_at: float) -> int:
        """Strictly increasing media time."""
        before, place = self._spliced.splices, self._spliced.place(pts)
        if before == 0 < self._spliced.splices:
            text = "%s: its times begin anew at %.3f s, as where recordings were joined: they are counted on from there"
            log.warning(text, self._name, float(place * unit), extra={"event": "spliced"})
        return place

    def _flush(self, video: VideoStream) -> Iterator[VideoFrame]:
        with contextlib.suppress(av.error.EOFError, av.error.InvalidDataError):
            yield from video.decode(None)

    @property
    def _name(self) -> str:
        """For messages."""
        return redact(self._url)

    def _opening_error(self, error: Exception) -> SourceError:
        return SourceUnsupported(f"{self._name} cannot be opened as video: {words(error)}")

    def _reading_error(self, error: Exception) -> SourceError:
        return SourceCorrupt(f"{self._name} breaks off: {words(error)}")

    def _ended(self) -> None:
        """The demuxer says that this is the end, and of a recording it is."""
        if self.live:
            raise SourceEnded(f"{self._name} ended the stream")
