"""What arrives by WebRTC, on its way from aiortc's receiver to a source: prompt, bounded, and with its time of arrival.

aiortc 1.x waits with a frame until the next one begins (33 ms), keeps any number of encoded frames for a decoder that
is behind, counts up all packets that a gap of a sender's numbers can have, keeps account of any number of senders, and
does not say when a frame arrived. These are put right here, on the receiver's own parts; this, `ice.py`, `messages.py`
and `resending.py` are the files that know parts of aiortc which are not its public face. Tests fail when they change.
"""

from __future__ import annotations

import math
import queue
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from threading import Event
from typing import Any

from aiortc import RTCRtpReceiver
from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.rtcrtpreceiver import NackGenerator
from aiortc.rtp import RTP_HISTORY_SIZE, RtpPacket

from streampose.web.coded import coded_size
from streampose.web.limits import Limits

__all__ = ["Reception"]

_PRIVATE = "_RTCRtpReceiver__"
# A decoder that is so many frames behind starts again at the next key frame.
_BEHIND = 8
_REMEMBERED = 64
# A frame that comes so much later than others of the last seconds did was held up on the way, mostly in this machine's
# own sockets while it was busy: to decode it would keep it so.
_STALE_S, _STALE_OVER_S = 0.3, 5.0
_ASK_AGAIN_S = 0.5
# Clients may begin with what they had before they were connected.
_RATE_OVER_S = 3.0
# Of RTP (SSRC): three sizes of a video, and what is sent again of each, are six.
_SENDERS = 16


class Reception:
    """Takes over the input of one video receiver; before the connection is made.

    Args:
        receiver: aiortc's.
        limits: how fast frames may come, and how large.
        on_excess: called, on the event loop, when somebody is beyond the limits.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        receiver: RTCRtpReceiver,
        limits: Limits,
        on_excess: Callable[[str], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits, self._on_excess, self._clock = limits, on_excess, clock
        self.skipped = 0
        """Frames that were not decoded: the decoder was behind, or they came too late."""
        self.origin: int | None = None
        """The RTP timestamp of pts 0."""
        self._arrived: OrderedDict[int, float] = OrderedDict()
        self._recent: deque[float] = deque(maxlen=max(2, round(_RATE_OVER_S * limits.frame_rate)))
        self._delays: deque[tuple[float, float]] = deque()
        decoding: Event = getattr(receiver, f"{_PRIVATE}decoder_error")
        parts = {
            "decoder_queue": _Encoded(self, decoding),
            "jitter_buffer": _Prompt(self),
            "nack_generator": _Missing(),
        }
        for name, part in parts.items():
            getattr(receiver, _PRIVATE + name)  # to put one in that is not looked at would be no error
            setattr(receiver, _PRIVATE + name, part)
        self._receive: Callable[..., Awaitable[None]] = receiver._handle_rtp_packet
        self._senders: set[int] = set()
        receiver._handle_rtp_packet = self._received  # type: ignore[method-assign]

    async def _received(self, packet: RtpPacket, arrival_time_ms: int) -> None:
        self._senders.add(packet.ssrc)
        if len(self._senders) > _SENDERS:
            self._on_excess("video of more senders than there are uses for")
        else:
            await self._receive(packet, arrival_time_ms=arrival_time_ms)

    def now(self) -> float:
        """Monotonic seconds."""
        return self._clock()

    def arrival(self, pts: int) -> float:
        """When the frame with this time was complete, by the monotonic clock; now, if it is not known any more."""
        return self._arrived.pop(pts, None) or self._clock()

    def rtp_timestamp(self, pts: int) -> int:
        """The sender's timestamp of a frame, 90 kHz, 32 bits: what it can recognise its own frame by."""
        return ((self.origin or 0) + pts) % (1 << 32)

    def complete(self, timestamp: int) -> None:
        """A frame is complete."""
        if self.origin is None:
            self.origin = timestamp

    def is_stale(self, pts: int) -> bool:
        """Whether a frame that is complete now was held up for long."""
        now = self._clock()
        delay_s = now - pts / 90_000  # and a constant
        self._delays.append((now, delay_s))
        while now - self._delays[0][0] > _STALE_OVER_S:
            self._delays.popleft()
        return delay_s - min(delay for _, delay in self._delays) > _STALE_S

    def admits(self, size_px: tuple[int, int] | None) -> bool:
        """Whether a decoder may be given a picture of this size."""
        if size_px is None or size_px[0] * size_px[1] <= self._limits.frame_px:
            return True
        self._on_excess(f"pictures of {size_px[0]}x{size_px[1]} are too large")
        return False

    def note(self, pts: int) -> None:
        """A frame has come."""
        now = self._clock()
        self._arrived[pts] = now
        while len(self._arrived) > _REMEMBERED:
            self._arrived.popitem(last=False)
        self._recent.append(now)
        if len(self._recent) == self._recent.maxlen and now - self._recent[0] < _RATE_OVER_S:
            self._on_excess(f"more than {self._limits.frame_rate:g} pictures a second")


class _Prompt(JitterBuffer):
    """Gives a frame when its last packet, which is marked, is there."""

    def __init__(self, reception: Reception) -> None:
        super().__init__(capacity=512, is_video=True)
        self._reception = reception

    def _remove_frame(self, sequence_number: int) -> JitterFrame | None:
        frame = self._marked() or super()._remove_frame(sequence_number)
        if frame is not None:
            self._reception.complete(frame.timestamp)
        return frame

    def _marked(self) -> JitterFrame | None:
        packets: list[Any] = []
        origin = self._origin or 0
        for count in range(self.capacity):
            packet = self._packets[(origin + count) % self.capacity]
            if packet is None or (packets and packet.timestamp != packets[0].timestamp):
                return None
            packets.append(packet)
            if packet.marker:
                self.remove(count + 1)
                return JitterFrame(data=b"".join(p._data for p in packets), timestamp=packet.timestamp)
        return None


class _Missing(NackGenerator):
    """Which packets have not come, of the last ones only; aiortc's counts up to 32,767 first, which takes it 12 ms."""

    def add(self, packet: RtpPacket) -> bool:
        if self.max_seq is not None:
            ahead = (packet.sequence_number - self.max_seq) % 65536
            if RTP_HISTORY_SIZE < ahead < 32768:
                self.max_seq = (packet.sequence_number - RTP_HISTORY_SIZE - 1) % 65536
        return super().add(packet)


class _Encoded(queue.Queue[Any]):
    """Frames for the decoder, few of them: when it is behind, all up to the next key frame are left out."""

    def __init__(self, reception: Reception, ask_for_key: Event) -> None:
        super().__init__()
        self._reception, self._ask_for_key = reception, ask_for_key
        self._skipping = False
        self._asked_at = -math.inf

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        if item is None:  # the end: aiortc waits for the decoder's thread
            self._clear()
            super().put(None)
            return
        codec, frame = item
        reception = self._reception
        reception.note(frame.timestamp)
        if not reception.admits(coded_size(codec.name, frame.data)):
            return
        stale = reception.is_stale(frame.timestamp)
        if stale or self.qsize() >= _BEHIND:
            reception.skipped += self._clear()
            self._skipping = True
        if stale or (self._skipping and not _is_key(codec.name, frame.data)):
            reception.skipped += 1
            if not stale:
                self._ask()
            return
        self._skipping = False
        super().put(item)

    def _ask(self) -> None:
        """Have the receiver ask the sender for a key frame, now and then."""
        now = self._reception.now()
        if now - self._asked_at > _ASK_AGAIN_S:
            self._asked_at = now
            self._ask_for_key.set()

    def _clear(self) -> int:
        count = 0
        while True:
            try:
                self.get_nowait()
            except queue.Empty:
                return count
            count += 1


def _is_key(codec: str, data: bytes) -> bool:
    """Whether decoding can begin with this frame."""
    if codec == "VP8":
        return bool(data) and not data[0] & 1
    kinds = {part[0] & 0x1F for part in data.split(b"\x00\x00\x01")[1:] if part}
    return bool(kinds & {5, 7})
