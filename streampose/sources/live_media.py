"""Decoding what never ends: network streams and cameras."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from streampose.errors import (
    Disconnected,
    SourceEnded,
    SourceStalled,
    SourceTimeout,
    SourceTruncated,
    SourceUnsupported,
)
from streampose.frame import Frame, Image, Latent, StreamInfo
from streampose.sources.feed import GIVEN, MAX_AGE_S, Arrival, Feed, Mark, Silence
from streampose.sources.hwaccel import SOFTWARE
from streampose.sources.media import NO_TIME_BASE, MediaSource
from streampose.sources.timeline import Timeline
from streampose.sources.track import moving
from streampose.sources.wall import WallClock

__all__ = ["LiveMedia"]

log = logging.getLogger("streampose")

# Pictures without a time, of which FFmpeg numbers 25 a second, however many come; so do its "…_pipe" demuxers.
_NUMBERED = {"mpjpeg", "mjpeg", "image2"}
# Live over HTTP unless they have a size; so are single pictures ("…_pipe").
_EITHER = {"mpegts", "mpeg", "flv"}
# A size that cannot be, which a server says of what never ends.
_ENDLESS = 1 << 40


class LiveMedia(MediaSource):
    """A `MediaSource` that a `Feed` listens to, as long as it is `live`. The subclasses say what an error means.

    Every wait here ends by `interrupt`. A picture that is decoded too late is not even converted: it leaves a gap in
    `Frame.index` like every drop.

    Args:
        url: what PyAV shall open.
        options: of FFmpeg's demuxer.
        container_format: for devices.
        open_timeout_s: until it must be open, and again until the first picture.
        stall_s: the longest time without a picture.
        hwaccel: what decodes.
    """

    live = True

    def __init__(
        self,
        url: str,
        *,
        options: Mapping[str, str],
        container_format: str | None = None,
        open_timeout_s: float,
        stall_s: float,
        hwaccel: str = SOFTWARE,
    ) -> None:
        # FFmpeg's read timeout bounds the life of a thread that nobody waits for any more.
        super().__init__(
            url,
            options=options,
            container_format=container_format,
            timeouts_s=(open_timeout_s, stall_s),
            hwaccel=hwaccel,
        )
        self._open_timeout_s, self._stall_s = open_timeout_s, stall_s
        self._stream = ""
        self._feed: Feed | None = None
        self._given: deque[Mark] = deque(maxlen=GIVEN)
        self._told_delay = False
        self._interrupted = threading.Event()
        self._tells_time = True
        # What has an end is a recording, unless it was live before: then its server may come back with more.
        self._is_finite = self._was_live = False
        self.stale_frames = 0
        """Pictures that came too late to be shown, because the decoder was held up."""

    def open(self, stream: str) -> StreamInfo:
        """Connect, and wait for the first picture.

        Raises:
            SourceError: of the kind that fits.
        """
        self._stream = stream
        self._timeline, self._wall = Timeline(), WallClock()
        self._last_given_at = self._waiting_since = time.monotonic()
        # When the packet came that the decoder had last, and the last one before others were given up.
        self._decoded_at: float | None = None
        self._gap_at = 0.0
        self._dropped, self._keyed = 0, False
        # What a list of HLS with an end says, and what came of it.
        self._promised_s = self._played_s = 0.0
        self._first_place: int | None = None
        info = super().open(stream)
        return info if self._tells_time else replace(info, rate=None)

    def read(self) -> Frame | None:
        """The next frame.

        Raises:
            SourceStalled: bytes came, but no picture, for too long.
            SourceTimeout: nothing came.
            Disconnected: the source went away.
            SourceTruncated: it is a recording, and broke off.
        """
        self._waiting_since = time.monotonic()
        try:
            frame = super().read()
        except Disconnected as error:
            if not self._is_finite or self._interrupted.is_set():
                raise
            raise SourceTruncated(f"a recording broke off: {error}") from error
        self._last_given_at = time.monotonic()
        return frame

    def interrupt(self) -> None:
        """End what blocks in `open` or `read`, with `Disconnected`, until it is closed. From any thread."""
        self._interrupted.set()
        if (feed := self._feed) is not None:
            feed.stop()

    def close(self) -> None:
        """Let go of it, without waiting for the network."""
        feed, self._feed = self._feed, None
        if feed is not None:
            self._container = None  # the feed's to close
        super().close()
        if feed is not None:
            feed.close()
        self._interrupted.clear()

    def _connect(self) -> InputContainer:
        if not self.live:
            recording = self._dial()
            if recording.format.name == "mpjpeg":  # under the name of a picture or a recording
                recording.close()
                raise SourceUnsupported(f"{self._name} is live MJPEG, which has no end: give --live (live=True)")
            return recording
        self._feed = feed = Feed(self._dial, f"feed-{self._stream}", self._given)
        if self._interrupted.is_set():
            feed.stop()
        # The dialling's own timeouts come first, but for a resolver or a driver that hangs.
        container = feed.container(within_s=self._longest_dial_s + 1.0)
        if container is None:
            raise SourceTimeout(f"{self._name} gave no picture within {self._open_timeout_s:g} s")
        self._waiting_since = time.monotonic()
        self._is_finite = _has_end(container)
        if self._is_finite and self._was_live:
            raise SourceEnded(f"{self._name} ended the stream: what is there now has an end")
        self._was_live = not self._is_finite
        self._promised_s = (container.duration or 0) / av.time_base if container.format.name == "hls" else 0.0
        return container

    def _dial(self) -> InputContainer:
        """Open the container; on the feed's thread."""
        return super()._connect()

    @property
    def stall_s(self) -> float:
        """The longest time without a picture."""
        return self._stall_s

    @property
    def _longest_dial_s(self) -> float:
        return self._open_timeout_s

    def _packets(self, container: InputContainer, video: VideoStream) -> Iterator[Packet[VideoStream]]:
        feed = self._feed
        if feed is None:
            yield from super()._packets(container, video)
            return
        video.codec_context.copy_opaque = True
        feed.start(video, paced=self._is_finite)
        paced = self._is_finite or container.format.name == "hls"
        since, packets = self._waiting_since, feed.packets
        while True:
            if self._waiting_since != since:
                since, packets = self._waiting_since, feed.packets
            until = since + self._stall_s
            packet = feed.take(until)
            if packet is Silence.ENDED:
                return
            if isinstance(packet, Silence) or time.monotonic() > until:
                # One alone is what FFmpeg's parser held back, until its own timeout.
                if feed.packets <= packets + 1:
                    raise SourceTimeout(f"{self._name} went silent for {self._stall_s:g} s")
                what, hint = "picture could be made of it", ""
                if not self._keyed:
                    what, hint = "key frame came", ", and pictures begin with one: have the camera send it more often"
                raise SourceStalled(f"{self._name} sends, but no {what} for {self._stall_s:g} s{hint}")
            if (dropped := feed.dropped_packets) != self._dropped:
                self._index += dropped - self._dropped
                self._dropped, self._gap_at = dropped, self._decoded_at or 0.0
            assert isinstance(packet.opaque, Arrival)
            self._decoded_at, self._keyed = packet.opaque.at, self._keyed or packet.is_keyframe
            yield packet
            # Some encoders only show it by what they send. HLS is seconds late anyway.
            if not self._told_delay and video.codec_context.has_b_frames and not paced:
                self._told_delay = True
                text = "%s: B-frames: pictures wait for later ones, which no latency shows; its encoder can do without"
                log.warning(text, self._name, extra={"stream": self._stream, "event": "b-frames"})

    def _arrival(self, picture: VideoFrame) -> tuple[float, float | None]:
        own, now = picture.opaque, self._decoded_at
        if now is None:  # it is a recording
            return time.monotonic(), None
        if not isinstance(own, Arrival):
            return now, None
        # Where pictures are sent out of order, the decoder keeps each until those shown before it have come: nobody can
        # have it sooner, so it is not late. But what it still held when packets were given up would have come by those.
        return self._gap_at if own.at <= self._gap_at else now, self._wall.believed(own.wall_time_s, own.at)

    def _is_stale(self, captured_at: float) -> bool:
        now = time.monotonic()
        # One that is always too slow still shows something.
        if not self.live or now - captured_at < MAX_AGE_S or now - self._last_given_at > MAX_AGE_S:
            return False
        self.stale_frames += 1
        return True

    def _ended(self) -> None:
        if not self._is_finite:
            super()._ended()
            return
        # FFmpeg passes over segments that it cannot have, and comes to the end of the list.
        unplayed_s = self._promised_s - self._played_s
        if self._first_place is not None and unplayed_s > _slack_s(self._promised_s):
            raise SourceTruncated(f"{self._name} broke off: {unplayed_s:.1f} s of its list did not come")

    def _place(self, pts: int | None, unit: Fraction, captured_at: float) -> int:
        if not self.live:
            return super()._place(pts, unit, captured_at)
        place = self._timeline.place(pts if self._tells_time else None, unit, captured_at)
        if self._first_place is None:
            self._first_place = self._last_place = place
        # The last picture is taken to last as long as the one before.
        self._played_s = float((2 * place - self._last_place - self._first_place) * unit)
        self._last_place = place
        return place

    def _chosen(self, videos: Sequence[VideoStream]) -> VideoStream | None:
        # Renditions of HLS, programmes of a transport stream; of a camera's RTSP the first is the main one.
        if not self.live or self._url.startswith("rtsp"):
            return super()._chosen(videos)
        decodable = [video for video in moving(videos) if video.codec_context is not None]
        return max(decodable, key=lambda video: video.width * video.height, default=super()._chosen(videos))

    def _converted(self, picture: VideoFrame) -> Image | Latent | None:
        try:
            return super()._converted(picture)
        except MemoryError:
            if not self.live:
                raise
            return None  # left out: the next one may find some

    def _unit(self, container: InputContainer, video: VideoStream) -> Fraction:
        name = container.format.name
        self._tells_time = not self.live or not (name in _NUMBERED or name.endswith("_pipe"))
        return super()._unit(container, video) if self._tells_time else NO_TIME_BASE


def _has_end(container: InputContainer) -> bool:
    name = container.format.name
    if name in {"hls", "flv"} and not container.duration:  # of a recording it is in the list, or in the header
        return False
    return name == "hls" or ((name in _EITHER or name.endswith("_pipe")) and 0 < container.size < _ENDLESS)


def _slack_s(promised_s: float) -> float:
    """How much of a list of HLS may lack before that means something.

    Its sound may last longer, and old lists round each segment to a whole second.
    """
    tenth_s = promised_s / 10
    return 0.5 + (tenth_s if promised_s.is_integer() else min(10.0, tenth_s))
