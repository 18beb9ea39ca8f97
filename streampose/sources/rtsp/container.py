"""An RTSP session that looks like one of PyAV's containers to those who read it."""

from __future__ import annotations

import contextlib
import errno
import io
import secrets
import time
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Self, cast

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.container.streams import StreamContainer
from av.format import ContainerFormat
from av.packet import Packet
from av.video.stream import VideoStream

from streampose.errors import Disconnected, SourceTimeout
from streampose.redaction import redact
from streampose.sources.rtsp.description import Track
from streampose.sources.rtsp.gaps import Gaps
from streampose.sources.rtsp.reports import SenderClock
from streampose.sources.rtsp.session import RtspSession
from streampose.sources.rtsp.units import AccessUnit, AccessUnits

__all__ = ["NoPicture", "RtspContainer"]

_WORDS = {"h264": "H.264", "hevc": "H.265"}
# Parameters in a row of another codec than that which is decoded.
_SURELY_ANOTHER = 2


class NoPicture(SourceTimeout):
    """The server was understood, and yet no picture came.

    Args:
        message: in words.
        camera: it is the camera's doing, and others would have none, either: it has ceased to send anything, or sent
            no key frame.
    """

    def __init__(self, message: str, *, camera: bool = False) -> None:
        super().__init__(message)
        self.camera = camera


class RtspContainer:
    """Has the members of `av.container.InputContainer` that a live source needs.

    The stream and its decoder are those of PyAV's demuxer of the bare codec, which is given the first picture; all
    pictures, the first one too, then come from the session. A packet's `opaque` is the Unix time in seconds at which
    the camera took it, where the camera tells.
    """

    duration = None

    def __init__(self, session: RtspSession, track: Track, stall_s: float) -> None:
        self._session, self._track, self._stall_s = session, track, stall_s
        self._clock, self._gaps = SenderClock(track.clock_hz), Gaps()
        self._heard_at = time.monotonic()
        self._first: deque[tuple[AccessUnit, float | None]] = deque(maxlen=1)
        self._units = self._received()
        self._bare: InputContainer | None = None
        self.oddity: str | None = None
        """What whoever sees to the camera should know, in words that go on behind its name."""

    @classmethod
    def open(
        cls, url: str, *, open_timeout_s: float, stall_s: float, hwaccel: HWAccel | None, alone: bool = False
    ) -> Self:
        """Connect, and wait for a picture that shows what is sent.

        Args:
            url: may carry a user and a password.
            open_timeout_s: until it must be connected.
            stall_s: the longest time without a picture, the first one too.
            hwaccel: what decodes.
            alone: ask for nothing beside the video.

        Raises:
            NotSpoken: FFmpeg's own client may understand the server.
            NoPicture: it may get pictures, too.
            SourceUnauthorized: wrong user or password, or none.
            OSError: the connection fails.
            av.error.FFmpegError: the device cannot be opened.
        """
        session = RtspSession(url, alone=alone)
        try:
            made = cls(session, session.open(open_timeout_s), stall_s)
            session.wait(stall_s)
            made._look(hwaccel, redact(url))
        except BaseException:
            session.close()
            raise
        return made

    @property
    def streams(self) -> StreamContainer:
        """The video alone."""
        return self._decoded.streams

    @property
    def format(self) -> ContainerFormat:
        """Of the bare codec."""
        return self._decoded.format

    @property
    def rate(self) -> Fraction | None:
        """Frames a second, where the camera says."""
        return self._track.rate or self._decoded.streams.video[0].codec_context.framerate or None

    @property
    def lost_packets(self) -> int:
        """RTP packets of the video that never came: a server leaves some out where the network is too slow."""
        return self._gaps.lost

    def demux(self, video: VideoStream) -> Iterator[Packet[VideoStream]]:
        """Packets of one picture each, as soon as they are whole, then an empty one.

        Raises:
            OSError: the connection fails.
            Disconnected: what comes is not understood any more.
        """
        assert video.time_base is not None
        ticks, zero = 1 / (self._track.clock_hz * video.time_base), self._first[0][0].rtp_time
        while (received := self._first.popleft() if self._first else next(self._units, None)) is not None:
            unit, wall_time_s = received
            packet = cast("Packet[VideoStream]", Packet(unit.data))
            packet.stream, packet.time_base = video, video.time_base
            packet.pts, packet.is_keyframe = round((unit.rtp_time - zero) * ticks), unit.is_keyframe
            packet.opaque = wall_time_s
            yield packet
        end = cast("Packet[VideoStream]", Packet())
        end.stream = video
        yield end

    def interrupt(self) -> None:
        """Let `demux` come to its end. From any thread."""
        self._session.interrupt()

    def close(self) -> None:
        """End the session; nothing of it may be read any more."""
        self._session.close()
        self._units.close()  # which holds this, as this holds it
        if self._bare is not None:
            self._bare.close()

    @property
    def _decoded(self) -> InputContainer:
        assert self._bare is not None, "it is open"
        return self._bare

    def _look(self, hwaccel: HWAccel | None, name: str) -> None:
        """Open what decodes, by the first picture that shows how."""
        announced, units, keyed = self._track.codec, 0, False
        while True:
            try:
                received = next(self._units, None)
            except TimeoutError as error:
                silent = time.monotonic() - self._heard_at > self._stall_s / 2
                what = "it sends no video" if silent else "no key frame with its parameters (SPS, PPS) came"
                hint = "" if silent else ": have the camera send them more often"
                raise NoPicture(
                    f"{name} is connected, but {what} (within {self._stall_s:g} s){hint}",
                    camera=silent or (units > 0 and not keyed),
                ) from error
            if received is None:
                raise ConnectionResetError(errno.ECONNRESET, "the server closed it before the first picture")
            self._first.append(received)
            units, keyed = units + 1, keyed or received[0].is_keyframe
            try:
                bare = self._opened(received[0], hwaccel)
            except av.error.InvalidDataError:
                continue
            if bare.streams.video and bare.streams.video[0].width:
                break
            bare.close()
        self._bare = bare
        if self._track.codec != announced:
            says, sends = _WORDS[announced], _WORDS[self._track.codec]
            self.oddity = f"announces {says}, but sends {sends}, and is read as that: set its codec anew, or restart it"

    def _opened(self, unit: AccessUnit, hwaccel: HWAccel | None) -> InputContainer:
        rate = {} if self._track.rate is None else {"framerate": str(self._track.rate)}
        data = io.BytesIO(self._track.parameter_sets + unit.data)
        return av.open(data, "r", format=self._track.codec, options=rate, hwaccel=hwaccel)

    def _received(self) -> Generator[tuple[AccessUnit, float | None]]:
        me = secrets.randbits(32)
        units = AccessUnits(self._track.codec, self._track.payload_type)
        with contextlib.closing(self._gaps):
            for is_report, packet in self._session.packets():
                if is_report:
                    if self._clock.push(packet):
                        self._session.report(self._clock.answer(me, self._gaps.sender, self._gaps.report()))
                    if self._clock.said_bye:
                        return
                    continue
                self._heard_at = time.monotonic()
                self._gaps.push(packet)
                for unit in units.push(packet):
                    yield unit, self._clock.wall_time_s(unit.rtp_time)
                    if self._bare is not None:  # of the pictures that are looked at, all have one time
                        self._session.wait(self._stall_s)
                if self._bare is None and units.shown not in {None, self._track.codec}:
                    self._track = replace(self._track, codec=units.shown, parameter_sets=b"")
                    units = AccessUnits(units.shown, self._track.payload_type)
                    yield from ((unit, None) for unit in units.push(packet))
                elif units.others >= _SURELY_ANOTHER:  # no picture will come of it, and a new session can begin anew
                    was, now = _WORDS[self._track.codec], _WORDS[cast("str", units.shown)]
                    raise Disconnected(f"{self._session.name} changed its codec from {was} to {now}")
