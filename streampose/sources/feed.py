"""The thread that always listens to a live source."""

from __future__ import annotations

import struct
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias, cast

from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from streampose.errors import Disconnected
from streampose.sources.track import packets_of

__all__ = ["Arrival", "Feed", "Mark", "Silence"]

# Behind by this much, a decoder that is too slow, or was held up, goes on from the newest key frame.
MAX_AGE_S = 0.5
# 20 s at 30 fps: without a key frame in sight for so long, what waits is given up.
_MAX_PACKETS = 600
# A segment of HLS that is due later than this belongs to another time, and so does one whose time goes back or ahead by
# more than these (or two steps, of a slow camera): the pacing begins anew.
_LONGEST_WAIT_S = 30.0
_BACK_S, _AHEAD_S = 1.0, 2.0
# A list of HLS is loaded again after a segment's length, mostly a second and more; what is there comes without a wait.
_RELOAD_S = 0.7
GIVEN = 10_800
"""How many packets of HLS to know again: three segments of 30 s, and as much again, at 60 fps; 1.5 MB."""

Mark: TypeAlias = tuple[int | None, int]
"""By which a packet is known again: its time and a sum over it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """When a packet came."""

    at: float
    """Monotonic seconds."""
    wall_time_s: float | None
    """Unix seconds when the camera took it, by its sender reports."""


class Silence(Enum):
    """Why `Feed.take` has no packet to give."""

    LATE = "late"
    ENDED = "ended"


class Feed:
    """Opens, reads and closes one container on a thread of its own, and keeps packets with their time of arrival.

    A demuxer cannot be interrupted, so nothing waits for it: whoever takes packets waits for the thread instead, for as
    long as it likes. One that is told to stop ends when FFmpeg returns, at the latest after its own timeout, and closes
    the container then. The socket is always drained, so no delay can build up in it, and `captured_at` is the time of
    arrival however late a packet is decoded.

    Args:
        connect: opens the container; called on the thread.
        name: of the thread.
        given: packets of HLS that were given out: filled here, and left out when they come again as what the next
            connection begins with, since a server has segments of what was long ago, and that is no new picture.
    """

    def __init__(self, connect: Callable[[], InputContainer], name: str, given: deque[Mark] | None = None) -> None:
        self._connect = connect
        self._given = deque[Mark](maxlen=GIVEN) if given is None else given
        self._packets: deque[tuple[Packet[VideoStream], Arrival]] = deque()
        self._changed = threading.Condition()
        self._video: VideoStream | None = None
        self._container: InputContainer | None = None
        self._error: Exception | None = None
        self._stopped = self._ended = self._finished = False
        self._wants_key = self._paced = False
        # The monotonic moment of media time 0, of a stream that is paced.
        self._origin: float | None = None
        self._last_s = self._step_s = 0.0
        self.dropped_packets = 0
        """Packets that were given up because the decoder was too far behind."""
        self.packets = 0
        """How many have come."""
        threading.Thread(target=self._run, name=f"streampose-{name}", daemon=True).start()

    def container(self, within_s: float) -> InputContainer | None:
        """The container, once it is open; `None` = it is not yet.

        Raises:
            Disconnected: the feed was stopped meanwhile.
            Exception: what opening it raised.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._container or self._error or self._stopped, within_s)
            self._check()
            if self._error is not None:
                raise self._error
            return self._container

    def start(self, video: VideoStream, *, paced: bool = False) -> None:
        """Begin to read this stream of it, perhaps (and HLS always) in its own time."""
        with self._changed:
            self._video, self._paced = video, paced
            self._changed.notify_all()

    def take(self, until: float) -> Packet[VideoStream] | Silence:
        """The next packet; its `opaque` is its `Arrival`.

        Args:
            until: monotonic seconds to wait to at most.

        Raises:
            Disconnected: the feed was stopped.
            Exception: what reading raised, after the last packet.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._packets or self._ended or self._stopped, max(0.0, until - time.monotonic())
            )
            self._check()
            self._skip()
            if self._packets:
                packet, arrival = self._packets.popleft()
                packet.opaque = arrival
                return packet
            if not self._ended:
                return Silence.LATE
            if self._error is not None:
                raise self._error
            return Silence.ENDED

    def stop(self) -> None:
        """End it, without waiting. From any thread; what waits in it returns at once."""
        with self._changed:
            self._stop()

    def close(self) -> None:
        """End it; no packet of it may be in use any more."""
        with self._changed:
            self._stop()
            self._packets.clear()
            self._error = None
            container = None
            if self._finished:  # else the thread closes it
                container, self._container = self._container, None
        if container is not None:
            container.close()

    def _stop(self) -> None:
        self._stopped = True
        self._changed.notify_all()
        if (interrupt := getattr(self._container, "interrupt", None)) is not None:  # FFmpeg's have none
            interrupt()

    def _check(self) -> None:
        if self._stopped:
            raise Disconnected("it was closed meanwhile")

    def _skip(self) -> None:
        """Too far behind: go on from the newest key frame that has come."""
        if not self._packets or time.monotonic() - self._packets[0][1].at < MAX_AGE_S:
            return
        newest = next((i for i in range(len(self._packets) - 1, 0, -1) if self._packets[i][0].is_keyframe), 0)
        for _ in range(newest):
            self._packets.popleft()
        self.dropped_packets += newest

    def _run(self) -> None:
        try:
            container = self._connect()
        except Exception as caught:  # noqa: BLE001 - handed to whoever waits
            with self._changed:
                self._error, self._ended, self._finished = caught, True, True
                self._changed.notify_all()
            return
        with self._changed:
            self._container = container
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._video or self._stopped)
        error: Exception | None = None
        try:
            if self._video is not None and not self._stopped:
                self._read(container, self._video)
        except Exception as caught:  # noqa: BLE001 - the same
            error = caught
        with self._changed:
            self._error, self._ended, self._finished = error, True, True
            # Packets may still be decoded, so the taker closes the container, unless it has left before.
            closing, self._container = self._stopped, None if self._stopped else container
            self._changed.notify_all()
        del error  # its traceback holds this frame
        if closing:
            container.close()

    def _read(self, container: InputContainer, video: VideoStream) -> None:
        segments, lent = container.format.name == "hls", "v4l2" in container.format.name
        paced, live = segments or self._paced, segments and not self._paced
        for packet, mark in self._new(packets_of(container, video), live):
            now = self._due(packet) if paced else time.monotonic()
            arrival = Arrival(at=now, wall_time_s=_wall_time_s(packet))
            if lent:
                packet = _copied(packet)  # noqa: PLW2901 - the driver's goes back to it at once
            with self._changed:
                if self._stopped:
                    return
                self.packets += 1
                if mark is not None:
                    self._given.append(mark)
                self._keep(packet, arrival)
                self._changed.notify_all()

    def _new(
        self, packets: Iterator[Packet[VideoStream]], live: bool
    ) -> Iterator[tuple[Packet[VideoStream], Mark | None]]:
        """Without those that were given out before, as long as they come in bulk: later ones an encoder has sent again.

        The first after a wait is of the bulk, too: FFmpeg's parser held it back.
        """
        before = frozenset(self._given)
        asked_at = time.monotonic()
        for packet in packets:
            mark = (packet.dts, zlib.crc32(packet)) if live and packet.size else None
            known = mark in before
            if time.monotonic() - asked_at > _RELOAD_S:
                before = frozenset()
            if known:
                self._wants_key = True
            else:
                yield packet, mark
            asked_at = time.monotonic()

    def _due(self, packet: Packet[VideoStream]) -> float:
        """Wait until its time: a server of HLS gives whole segments, and what comes in bulk is no live picture."""
        now = time.monotonic()
        if packet.dts is None or not packet.time_base:
            return now
        time_s = float(packet.dts * packet.time_base)
        step_s, usual_s = 0.0 if self._origin is None else time_s - self._last_s, self._step_s
        self._last_s, self._step_s = time_s, max(0.0, step_s)
        if self._origin is not None and not -_BACK_S <= step_s <= max(_AHEAD_S, 2 * usual_s):
            self._origin = max(now, self._origin + time_s - step_s + usual_s) - time_s
        if self._origin is None or abs(self._origin + time_s - now) > _LONGEST_WAIT_S:
            self._origin = now - time_s
        due = self._origin + time_s
        with self._changed:
            self._changed.wait_for(lambda: self._stopped, max(0.0, due - now))
        return max(now, due)

    def _keep(self, packet: Packet[VideoStream], arrival: Arrival) -> None:
        if len(self._packets) >= _MAX_PACKETS:
            self.dropped_packets += len(self._packets)
            self._packets.clear()
            self._wants_key = True
        if self._wants_key and not packet.is_keyframe and packet.size:
            self.dropped_packets += 1
            return
        self._wants_key = False
        self._packets.append((packet, arrival))


def _copied(packet: Packet[VideoStream]) -> Packet[VideoStream]:
    """The same packet in memory of its own.

    FFmpeg's v4l2 lends the driver's buffers, and one that is given back after its device was closed ends the process:
    that happened when a camera was unplugged. A copy of uncompressed 720p takes 0.05 ms.
    """
    if not packet.size:  # the end
        return packet
    copy = cast("Packet[VideoStream]", Packet(bytes(packet)))
    copy.stream, copy.time_base = packet.stream, packet.time_base
    copy.pts, copy.dts, copy.is_keyframe = packet.pts, packet.dts, packet.is_keyframe
    return copy


def _wall_time_s(packet: Packet[VideoStream]) -> float | None:
    """The container's own word, or FFmpeg's AVProducerReferenceTime: microseconds, from the camera's sender reports."""
    if isinstance(packet.opaque, float):
        return packet.opaque
    if not packet.has_sidedata("prft"):
        return None
    return float(struct.unpack_from("q", bytes(packet.get_sidedata("prft")))[0]) / 1e6
