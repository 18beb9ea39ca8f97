"""RTSP cameras, HTTP streams, RTMP: live video from a URL."""

from __future__ import annotations

import logging
import os
import socket
import time
from dataclasses import replace
from typing import cast
from urllib.parse import urlsplit
from urllib.request import proxy_bypass

import av
from av.container import InputContainer

from streampose.errors import (
    Disconnected,
    HostNotFound,
    SourceCorrupt,
    SourceError,
    SourceGarbled,
    SourceNotFound,
    SourceRefused,
    SourceStalled,
    SourceTimeout,
    SourceUnauthorized,
    SourceUnsupported,
)
from streampose.frame import StreamInfo
from streampose.redaction import unspaced
from streampose.resolver import look_up
from streampose.sources.address import parts_of
from streampose.sources.hwaccel import SOFTWARE, accelerator, words
from streampose.sources.live_media import LiveMedia
from streampose.sources.rtsp import NoPicture, NotSpoken, RtspContainer
from streampose.sources.seeking import INDEX_BEHIND, index_is_behind
from streampose.sources.transport import UDP_FIRST, transport_options

__all__ = ["NetworkSource"]

log = logging.getLogger("streampose")

# Probing ends early: with GStreamer's server (H.264, H.265, MJPEG; TCP and UDP) the first picture comes after 0.2 s
# instead of 1.0 s. Not "fflags nobuffer": it throws away what was probed, and with it the first key frame, so that the
# first picture comes a whole group of pictures later (2.1 s where one lasts 2 s). "low_delay" changes nothing there: no
# decoder held a picture back.
_QUICK = {"probesize": "500000", "analyzeduration": "100000"}
_PROBE_S, _PROBING = 2.0, 0.4  # or so much of a longer timeout: who gives one has a slow camera
# Of a description of a session, which is a file.
_OF_AN_SDP = "file,rtp,srtp,udp"
# By itself FFmpeg would also open ports here (udp, rtp), wherever a web server's answer says so.
_OF_THE_WEB = "http,https,tls,tcp,crypto,httpproxy,data"
# A name service that cannot be asked yet, or cannot say, is none of these.
_NO_SUCH_NAME = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}
# What runs over TCP, and its port.
_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443, "rtmp": 1935, "rtmps": 443}
# FFmpeg calls it invalid data where nothing came at all: a camera that starts, or whose router is alone there, takes a
# connection and closes it.
_ANSWERS_UNREAD = {"rtsp", "rtsps", "tcp"}
_NO_RTSP = "does not speak RTSP: check port and path"
# Silent openings after which FFmpeg's client has the next one.
_SILENT = 2
# Openings in a row that had the video alone, after which no more is asked for: once may be a server's restart, and
# while somebody has the video alone of a camera that GStreamer shares (1.22), all others are sent away.
_SURELY_ALONE = 2


class NetworkSource(LiveMedia):
    """Live video from a URL: RTSP(S), HTTP(S) including HLS and MJPEG, RTMP(S), UDP, RTP; SRT where FFmpeg has it.

    What a camera sends by RTP alone is told by an SDP file: ``file:`` and its path.

    It does not reconnect by itself: that is `Reconnecting`'s.

    Args:
        url: may carry a user and a password; they appear in no message.
        transport: of RTSP: ``auto`` (over TCP, which goes through firewalls and loses nothing, by a client of our own
            that has each picture of H.264 or H.265 as soon as it has come, and FFmpeg's where a server is not for it),
            or FFmpeg's client over ``tcp`` or ``udp``, whose pictures come one frame interval later.
        open_timeout_s: until the stream must be open.
        stall_s: the longest time without a picture.
        hwaccel: what decodes: ``none`` (software), ``auto``, or a device (``cuda``, ``videotoolbox``, …).

    Raises:
        ConfigError: no such transport, or no such device, or the URL's host or port is none.
    """

    def __init__(
        self,
        url: str,
        *,
        transport: str = "auto",
        open_timeout_s: float = 5.0,
        stall_s: float = 5.0,
        hwaccel: str = SOFTWARE,
    ) -> None:
        options = dict(_QUICK)
        scheme, colon, rest = unspaced(url).partition(":")
        self._scheme = scheme.lower()
        url = f"{self._scheme}{colon}{rest}"  # FFmpeg knows no RTSP://
        over = transport_options(transport)
        if self._scheme == "file":
            options["protocol_whitelist"] = _OF_AN_SDP
        if self._scheme in {"http", "https"}:
            options["extension_picky"] = "0"  # segments of HLS may be called anything
            options["protocol_whitelist"] = _OF_THE_WEB
        if self._scheme in {"rtsp", "rtsps"}:
            options |= over
        parts = urlsplit("") if self._scheme == "file" else parts_of(url)
        self._host, self._port = parts.hostname, parts.port
        if not self._host and self._port and self._scheme in {"udp", "rtp"}:
            self._host = "0.0.0.0"  # whatever comes to this machine
            url = parts._replace(netloc=f"{self._host}:{self._port}").geturl()
        super().__init__(url, options=options, open_timeout_s=open_timeout_s, stall_s=stall_s, hwaccel=hwaccel)
        self._opening_since = 0.0
        self._probes = False
        # Our own client of RTSP, until it turns out that a server is not for it.
        self._own_client = transport == "auto" and self._scheme in {"rtsp", "rtsps"}
        self._silences = self._had_alone = 0
        self._lost_before: int | None = None
        self._told: str | None = None

    def open(self, stream: str) -> StreamInfo:
        """Connect, and wait for the first picture.

        Raises:
            SourceUnauthorized: wrong user or password.
            SourceNotFound: no such stream there.
            SourceUnsupported: it is not video.
            SourceTimeout: no answer in time.
            SourceRefused: nobody listens there.
            HostNotFound: no such host.
            Disconnected: an error of the server's, or the name service cannot say.
        """
        self._opening_since = time.monotonic()
        instead = self._silences == _SILENT
        try:
            info = super().open(stream)
        except SourceError as error:
            # A host that is off: a plain connection finds out sooner that it is back than FFmpeg's does, whose lost
            # first packets are sent again after 1, 3, 7 s.
            self._probes |= isinstance(error, SourceTimeout)
            # It was understood, and yet no picture came of it: next time the other client may try.
            no_picture = SourceStalled | SourceGarbled | SourceCorrupt | SourceUnsupported
            if instead:  # nor did it come to FFmpeg's
                self._silences, self._own_client = 0, True
            elif self._lies_with_camera(error):  # some servers are silent at times, and cameras that boot
                self._silences += 1
                self._own_client = self._silences < _SILENT
            elif isinstance(error, NoPicture) or (self._ours is not None and isinstance(error, no_picture)):
                self._own_client = False
            raise
        self._probes = False
        if instead:  # perhaps the camera has awoken: ours has one more try the next time
            self._silences, self._own_client = _SILENT + 1, True
        if (ours := self._ours) is None:
            return info
        self._silences = 0
        if ours.oddity not in {None, self._told}:  # not at each connection of one that comes and goes
            self._told = ours.oddity
            log.warning("%s %s", self._name, self._told, extra={"stream": stream, "event": "codec"})
        return replace(info, rate=ours.rate)

    def _lies_with_camera(self, error: SourceError) -> bool:
        """Whether another client would have no picture, either, as things are."""
        if isinstance(error, NoPicture):
            return error.camera
        return self._ours is not None and isinstance(error, SourceStalled) and not self._keyed

    @property
    def lost_packets(self) -> int | None:
        """RTP packets that never came, over all connections; `None` = FFmpeg reads, which keeps that to itself."""
        ours = self._ours
        return self._lost_before if ours is None else (self._lost_before or 0) + ours.lost_packets

    def close(self) -> None:
        """Let go of it, without waiting for the network."""
        self._lost_before = self.lost_packets
        super().close()

    @property
    def _ours(self) -> RtspContainer | None:
        """What our own client has opened."""
        container: object = self._container
        return container if isinstance(container, RtspContainer) else None

    @property
    def _longest_dial_s(self) -> float:
        # Ours may ask twice, and looks at a picture, which may take as long as any other.
        return self._open_timeout_s + (self._open_timeout_s / 2 + self._stall_s if self._own_client else 0.0)

    def _dial(self) -> InputContainer:
        if self._scheme == "file" or self._has_proxy():
            return super()._dial()
        until = time.monotonic() + self._open_timeout_s
        try:
            # FFmpeg calls an unknown host an "Input/output error", like much else.
            look_up(self._host, self._port, within_s=self._open_timeout_s)
        except TimeoutError as error:
            raise SourceTimeout(f"{self._name}: {error}") from error
        except (socket.gaierror, ValueError) as error:
            if isinstance(error, socket.gaierror) and error.errno not in _NO_SUCH_NAME:
                raise Disconnected(f"{self._name}: the name service cannot say ({words(error)})") from error
            raise HostNotFound(f"{self._name}: no host {self._host} can be found ({words(error)})") from error
        if self._probes and self._scheme in _PORTS:
            address = (self._host or "", self._port or _PORTS[self._scheme])
            probe_s = max(_PROBE_S, _PROBING * self._open_timeout_s)
            try:
                socket.create_connection(address, timeout=probe_s).close()
            except TimeoutError as error:
                raise SourceTimeout(f"{self._name} did not answer within {probe_s:g} s") from error
        usual = self._options
        if self._own_client:
            try:
                return cast("InputContainer", self._speak(until))  # as far as a live source needs one
            except NotSpoken as why:
                log.debug("%s: FFmpeg's client is used: %s", self._name, why, extra={"stream": self._stream})
                self._own_client = not why.lasting
                if why.over_udp:
                    self._options = usual | UDP_FIRST
        self._timeouts_s = max(0.5, until - time.monotonic()), self._stall_s
        try:
            return super()._dial()
        finally:
            if self._own_client:
                self._options = usual

    def _has_proxy(self) -> bool:
        """Whether FFmpeg asks a proxy, which may know more hosts than we do; this variable is HTTPS's, too."""
        return (
            self._scheme in {"http", "https"}
            and os.environ.get("http_proxy", "").startswith("http://")
            and not proxy_bypass(self._host or "")
        )

    def _speak(self, until: float) -> RtspContainer:
        """Ask for all that is offered, and where that is in vain for the video alone."""
        device = None if self._decodes_on is None else accelerator(self._decodes_on)

        def open_(*, alone: bool) -> RtspContainer:
            left_s, stall_s = max(0.5, until - time.monotonic()), self._stall_s
            return RtspContainer.open(self._url, open_timeout_s=left_s, stall_s=stall_s, hwaccel=device, alone=alone)

        if self._had_alone < _SURELY_ALONE:
            try:
                opened = open_(alone=False)
            except NotSpoken as why:
                if not why.beside:
                    raise
                until = max(until, time.monotonic() + self._open_timeout_s / 2)  # silence has used it up
            else:
                self._had_alone = 0
                return opened
        had, self._had_alone = self._had_alone, 0  # until it is there, whatever comes instead
        opened = open_(alone=True)
        self._had_alone = had + 1
        return opened

    def _opening_error(self, error: Exception) -> SourceError:
        if isinstance(error, av.error.HTTPUnauthorizedError | av.error.HTTPForbiddenError):
            return SourceUnauthorized(f"{self._name} refuses us ({words(error)}): check user and password")
        if isinstance(error, av.error.HTTPNotFoundError):
            return SourceNotFound(f"{self._name} does not exist there (404): check the path of the stream")
        if isinstance(error, av.error.HTTPError):
            return Disconnected(f"{self._name} answered with an error: {words(error)}")
        if isinstance(error, ConnectionRefusedError):
            return SourceRefused(f"{self._name} refused the connection: is the server running, and the port right?")
        # An open that is interrupted by its timeout fails with whatever FFmpeg was at.
        late = time.monotonic() - self._opening_since >= 0.95 * self._open_timeout_s
        if late or isinstance(error, TimeoutError | av.error.ExitError):
            return SourceTimeout(f"{self._name} gave no picture within {self._open_timeout_s:g} s")
        if isinstance(error, av.error.ProtocolNotFoundError):
            return SourceUnsupported(f"{self._name} is of a protocol that this build does not speak")
        if isinstance(error, av.error.InvalidDataError):
            if self._scheme in _ANSWERS_UNREAD:
                what = "sends no video: check the port" if self._scheme == "tcp" else _NO_RTSP
                return Disconnected(f"{self._name} closed the connection without an answer, or {what}")
            if self._scheme in {"rtp", "file"}:
                return SourceUnsupported(
                    f"{self._name} does not tell what comes: give an .sdp file that describes video"
                )
            return SourceUnsupported(f"{self._name} answers, but what it sends is not video: {words(error)}")
        return Disconnected(f"{self._name} broke off while it was opened: {words(error)}")

    def _reading_error(self, error: Exception) -> SourceError:
        if isinstance(error, TimeoutError | av.error.ExitError):
            return SourceTimeout(f"{self._name} went silent for {self._stall_s:g} s")
        if not self.live and index_is_behind(self._container, self._index):
            return SourceUnsupported(f"{self._name} {INDEX_BEHIND} ({words(error)})")
        if isinstance(error, av.error.InvalidDataError):
            return SourceGarbled(f"{self._name} sends what cannot be read: {words(error)}")
        return Disconnected(f"{self._name} was lost: {words(error)}")
